"""Whether a pod may go to a node: labels it needs (`nodeSelector`, node affinity) and taints it puts up with."""

from collections.abc import Iterable, Mapping
from typing import Any

from fairway.kube.api.config import Node, Taint
from fairway.kube.api.pods import PodSpec, Toleration

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def wants(spec: PodSpec, node: Node) -> bool:
    """Whether the labels are right: `nodeSelector` and required node affinity must both hold."""
    labels = node.metadata.labels
    if not spec.node_selector.items() <= dict(labels).items():
        return False
    needed = ((spec.affinity or {}).get("nodeAffinity") or {}).get(_REQUIRED)
    if needed is None:
        return True
    return any(matches_term(term, node) for term in needed.get("nodeSelectorTerms") or ())


def untolerated(taints: Iterable[Taint], tolerations: Iterable[Toleration], *effects: str) -> Taint | None:
    """The first taint with one of these effects that none of the tolerations covers."""
    known = tuple(tolerations)
    return next(
        (taint for taint in taints if taint.effect in effects and not any(tolerates(item, taint) for item in known)),
        None,
    )


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """core/v1 Toleration.ToleratesTaint."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    return toleration.operator == "Exists" or toleration.value == taint.value


def matches_term(term: Mapping[str, Any], node: Node) -> bool:
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
