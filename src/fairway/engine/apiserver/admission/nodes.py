"""A kubelet changes its own node and the pods on it, nothing else (the NodeRestriction plugin)."""

from typing import Any

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.admission.review import CREATE, DELETE, UPDATE, Review
from fairway.engine.apiserver.authorization.nodes import node_of

Object = dict[str, Any]

_MIRROR = "kubernetes.io/config.mirror"
_LEASES = "coordination.k8s.io/leases"
_LEASE_NAMESPACE = "kube-node-lease"
_OWN_LABELS = frozenset(
    {
        "kubernetes.io/hostname",
        "kubernetes.io/arch",
        "kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    }
)
_OWN_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
_RESERVED_DOMAINS = ("kubernetes.io", "k8s.io")


def admit(review: Review) -> None:
    """Raises ApiError 403."""
    if not review.user.name.startswith("system:node:"):
        return
    node = node_of(review.user)
    if not node:
        return
    match review.key.resource, review.subresource:
        case "pods", "":
            _pod(review, node)
        case "pods", "status":
            _pod_status(review, node)
        case "pods", "eviction":
            _own_pod(review, node, "evict")
        case "nodes", _:
            _node(review, node)
        case "serviceaccounts", "token":
            _token(review, node)
        case (("coordination.k8s.io/leases" | "storage.k8s.io/csinodes"), _):
            _named_as(review, node)


def _refuse(review: Review, why: str) -> errors.ApiError:
    return errors.forbidden(review.subject, why)


def _node_name(pod: Object | None) -> str:
    return str(((pod or {}).get("spec") or {}).get("nodeName") or "")


def _pod(review: Review, node: str) -> None:
    if review.operation == CREATE and review.obj is not None:
        if _MIRROR not in (review.obj["metadata"].get("annotations") or {}):
            why = f'pod does not have "{_MIRROR}" annotation, node "{node}" can only create mirror pods'
            raise _refuse(review, why)
        if _node_name(review.obj) != node:
            raise _refuse(review, f'node "{node}" can only create pods with spec.nodeName set to itself')
    elif review.operation == DELETE:
        _own_pod(review, node, "delete")
    elif review.operation == UPDATE:
        raise _refuse(review, f'unexpected operation "UPDATE", node "{node}" can only create and delete mirror pods')


def _own_pod(review: Review, node: str, verb: str) -> None:
    if _node_name(review.old) != node:
        raise _refuse(review, f'node "{node}" can only {verb} pods with spec.nodeName set to itself')


def _pod_status(review: Review, node: str) -> None:
    if _node_name(review.old) != node:
        why = f'node "{node}" can only update pod status for pods with spec.nodeName set to itself'
        raise _refuse(review, why)
    if _labels(review.old) != _labels(review.obj):
        raise _refuse(review, f'node "{node}" cannot update labels through pod status')


def _node(review: Review, node: str) -> None:
    name = review.key.name
    if name != node:
        raise _refuse(review, f'node "{node}" is not allowed to modify node "{name}"')
    if review.operation == CREATE:
        _new_node(review, node)
    elif review.operation == UPDATE:
        _changed_node(review, node)


def _new_node(review: Review, node: str) -> None:
    forbidden = sorted(label for label in _labels(review.obj) if _is_forbidden(label))
    if forbidden:
        raise _refuse(review, f'node "{node}" is not allowed to set the following labels: {", ".join(forbidden)}')


def _changed_node(review: Review, node: str) -> None:
    new, old = review.obj or {}, review.old or {}
    if (new.get("spec") or {}).get("taints") != (old.get("spec") or {}).get("taints"):
        raise _refuse(review, f'node "{node}" is not allowed to modify taints')
    if new["metadata"].get("ownerReferences") != old["metadata"].get("ownerReferences"):
        raise _refuse(review, f'node "{node}" is not allowed to modify ownerReferences')
    before, after = _labels(old), _labels(new)
    changed = {label for label in (*before, *after) if before.get(label) != after.get(label)}
    forbidden = sorted(label for label in changed if _is_forbidden(label))
    if forbidden:
        raise _refuse(review, f"is not allowed to modify labels: {', '.join(forbidden)}")


def _token(review: Review, node: str) -> None:
    """A node asks only for tokens of pods that run on it."""
    reference = ((review.obj or {}).get("spec") or {}).get("boundObjectRef") or {}
    if not reference:
        raise _refuse(review, "node requested token not bound to a pod")
    if reference.get("apiVersion") != "v1" or reference.get("kind") != "Pod" or not reference.get("name"):
        raise _refuse(review, "node requested token not bound to a pod")
    if not reference.get("uid"):
        raise _refuse(review, "node requested token with a pod binding without a uid")
    if _node_name(review.old) != node:
        raise _refuse(review, "node requested token bound to a pod scheduled on a different node")


def _named_as(review: Review, node: str) -> None:
    if review.key.resource == _LEASES and review.key.namespace != _LEASE_NAMESPACE:
        raise _refuse(review, f'can only access leases in the "{_LEASE_NAMESPACE}" system namespace')
    if review.key.name != node:
        what = "node lease" if review.key.resource == _LEASES else "CSINode"
        raise _refuse(review, f"can only access {what} with the same name as the requesting node")


def _labels(obj: Object | None) -> dict[str, str]:
    return ((obj or {}).get("metadata") or {}).get("labels") or {}


def _is_forbidden(label: str) -> bool:
    """Kubernetes' own labels, but for those that a kubelet sets."""
    domain = label.partition("/")[0] if "/" in label else ""
    if _within(domain, ("node-restriction.kubernetes.io",)):
        return True
    return _within(domain, _RESERVED_DOMAINS) and label not in _OWN_LABELS and not _within(domain, _OWN_DOMAINS)


def _within(domain: str, parents: tuple[str, ...]) -> bool:
    return any(domain == parent or domain.endswith(f".{parent}") for parent in parents)
