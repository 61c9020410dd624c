"""The part of an object's metadata that belongs to the server."""

import copy

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.registry.kinds import subject_of
from fairway.engine.apiserver.resources import Cause, Kind
from fairway.engine.apiserver.resources.kind import carry
from fairway.engine.apiserver.store import Key
from fairway.engine.apiserver.store.entries import Object

_SERVER_KEYS = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink")


def start(kind: Kind, namespace: str, metadata: Object) -> None:
    """Before a create: nothing of an earlier life counts, and the namespace is the URL's. Raises ApiError."""
    if metadata.get("resourceVersion"):
        raise errors.bad_request("resourceVersion should not be set on objects to be created")
    for key in ("resourceVersion", *_SERVER_KEYS):
        metadata.pop(key, None)
    _check_namespace(namespace, metadata)
    if kind.namespaced:
        metadata["namespace"] = namespace


def keep(kind: Kind, key: Key, new: Object, old: Object) -> None:
    """Before an update: same object, same version (if the client names one). Raises ApiError."""
    name = new.get("name") or key.name
    if name != key.name:
        raise errors.bad_request(f"the name of the object ({name}) does not match the name on the URL ({key.name})")
    _check_namespace(key.namespace, new)
    subject = subject_of(kind, key.name)
    version = str(new.get("resourceVersion") or "")
    if version and not version.isdecimal():
        why = f'Invalid value: "{version}": must be a number'
        raise errors.invalid(subject, [Cause("FieldValueInvalid", why, "metadata.resourceVersion")])
    if version not in ("", "0", old["resourceVersion"]):
        raise errors.modified(subject)
    if new.get("uid") and new["uid"] != old["uid"]:
        why = f"Precondition failed: UID in precondition: {new['uid']}, UID in object meta: {old['uid']}"
        raise errors.conflict(subject, why)
    new["name"] = key.name
    for field in ("resourceVersion", *_SERVER_KEYS):
        carry(new, old, field)
    if key.namespace:
        new["namespace"] = key.namespace


def unchanged(new: Object, old: Object) -> bool:
    """Whether storing `new` would change nothing but the time at which somebody is said to have changed nothing."""
    if new == old:
        return True
    entries, known = new["metadata"].get("managedFields") or [], old["metadata"].get("managedFields") or []
    if _timeless(entries) != _timeless(known):
        return False
    return _without_entries(new) == _without_entries(old)


def _check_namespace(namespace: str, metadata: Object) -> None:
    if (metadata.get("namespace") or namespace) != namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def _timeless(entries: list[Object]) -> list[Object]:
    return [{key: value for key, value in entry.items() if key != "time"} for entry in entries]


def _without_entries(obj: Object) -> Object:
    bare = copy.copy(obj)
    bare["metadata"] = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    return bare
