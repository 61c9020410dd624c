"""Whether a node is one that a pod wants, by labels (`nodeSelector` and required node affinity)."""

from collections.abc import Mapping
from typing import Any

from fairway.kube.api.config import Node
from fairway.kube.api.pods import Pod

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def wants(pod: Pod, node: Node) -> bool:
    """Both must hold."""
    labels = node.metadata.labels
    if not pod.spec.node_selector.items() <= dict(labels).items():
        return False
    needed = ((pod.spec.affinity or {}).get("nodeAffinity") or {}).get(_REQUIRED)
    if needed is None:
        return True
    return any(_term(term, node) for term in needed.get("nodeSelectorTerms") or ())


def _term(term: Mapping[str, Any], node: Node) -> bool:
    """All requirements of one term; a term without any matches nothing."""
    by_label, by_field = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not by_label and not by_field:
        return False
    fields = {"metadata.name": node.metadata.name}
    return all(_holds(item, node.metadata.labels) for item in by_label) and all(
        _holds(item, fields) for item in by_field
    )


def _holds(requirement: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(requirement.get("key", "")), requirement.get("values") or ()
    match requirement.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            return _compares(operator, value, values)
    return False


def _compares(operator: str, value: str | None, values: Any) -> bool:
    try:
        has, bound = int(value or ""), int(values[0])
    except (ValueError, IndexError):
        return False
    return has > bound if operator == "Gt" else has < bound
