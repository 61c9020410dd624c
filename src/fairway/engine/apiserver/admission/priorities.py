"""A pod's priority is that of its class (the Priority plugin; documentation "Pod Priority and Preemption")."""

from typing import Any

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.admission.review import CREATE, DELETE, Review
from fairway.engine.apiserver.store import Key

Object = dict[str, Any]

_PODS = "pods"
_CLASSES = "scheduling.k8s.io/priorityclasses"
_POLICY = "PreemptLowerPriority"
_COMPUTED = "must not be provided in pod spec; priority admission controller computed"


def admit(review: Review) -> None:
    """Give a new pod the numbers of its class, and let one class at most be everybody's. Raises ApiError 403."""
    if review.obj is None or review.subresource or review.operation == DELETE:
        return
    if review.key.resource == _CLASSES:
        _check_default(review, review.obj)
    elif review.key.resource == _PODS and review.operation == CREATE:
        _prioritize(review, review.obj.setdefault("spec", {}))


def _prioritize(review: Review, spec: Object) -> None:
    chosen = _named(review, spec["priorityClassName"]) if spec.get("priorityClassName") else _default(review)
    if chosen is not None:
        spec["priorityClassName"] = chosen["metadata"]["name"]
    value = int((chosen or {}).get("value") or 0)
    policy = str((chosen or {}).get("preemptionPolicy") or _POLICY)
    given = spec.get("priority")
    if given is not None and given != value:
        why = f"the integer value of priority ({given}) {_COMPUTED} {value} from the given PriorityClass name"
        raise errors.forbidden(review.subject, why)
    said = spec.get("preemptionPolicy")
    if said is not None and said != policy and chosen is not None:
        why = f"the string value of PreemptionPolicy ({said}) {_COMPUTED} {policy} from the given PriorityClass name"
        raise errors.forbidden(review.subject, why)
    spec["priority"], spec["preemptionPolicy"] = value, said or policy


def _named(review: Review, name: str) -> Object:
    entry = review.store.latest(Key(_CLASSES, "", name))
    if entry is None:
        raise errors.forbidden(review.subject, f"no PriorityClass with name {name} was found")
    return entry.object()


def _default(review: Review) -> Object | None:
    """Of several (they may be left from an older version) the lowest."""
    defaults = [entry.object() for entry in review.store.select(_CLASSES) if entry.object().get("globalDefault")]
    return min(defaults, key=lambda each: int(each.get("value") or 0), default=None)


def _check_default(review: Review, new: Object) -> None:
    if not new.get("globalDefault"):
        return
    known = _default(review)
    if known is not None and known["metadata"]["name"] != review.key.name:
        name = known["metadata"]["name"]
        why = f"PriorityClass {name} is already marked as default. Only one default can exist"
        raise errors.forbidden(review.subject, why)
