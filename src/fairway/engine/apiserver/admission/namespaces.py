"""Nothing is created in a namespace that is missing or on its way out; some namespaces stay (NamespaceLifecycle)."""

import msgspec

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.admission.review import CREATE, DELETE, Review
from fairway.engine.apiserver.errors import Subject
from fairway.engine.apiserver.store import Key

_RESOURCE = "namespaces"
_IMMORTAL = frozenset({"default", "kube-system", "kube-public"})


class _Cause(msgspec.Struct, frozen=True):
    reason: str
    message: str
    field: str


def admit(review: Review) -> None:
    """Raises ApiError."""
    if review.key.resource == _RESOURCE:
        if review.operation == DELETE and review.key.name in _IMMORTAL:
            raise errors.forbidden(review.subject, "this namespace may not be deleted")
    elif review.operation == CREATE and review.key.namespace:
        _check(review)


def _check(review: Review) -> None:
    name = review.key.namespace
    entry = review.store.latest(Key(_RESOURCE, "", name))
    if entry is None:
        raise errors.not_found(Subject("", _RESOURCE, name, "Namespace"))
    if b'"deletionTimestamp"' not in entry.data or not entry.object()["metadata"].get("deletionTimestamp"):
        return
    cause = _Cause("NamespaceTerminating", f"namespace {name} is being terminated", "metadata.namespace")
    why = f"unable to create new content in namespace {name} because it is being terminated"
    raise errors.forbidden(review.subject, why, [cause])
