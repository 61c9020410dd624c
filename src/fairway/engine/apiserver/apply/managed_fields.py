"""Who owns which field after a create, update or patch (not an apply)."""

from collections.abc import Iterable
from typing import Any

import msgspec

from fairway.engine.apiserver.apply import managers
from fairway.engine.apiserver.apply.fields import Path, outside
from fairway.engine.apiserver.apply.managers import NOT_OWNED, UPDATE, Managed, Owned
from fairway.engine.apiserver.apply.typed import Comparison, KeyMissing, compare
from fairway.engine.apiserver.schema.types import Type
from fairway.engine.apiserver.schema.zero import zero


def updated(
    type: Type,
    old: dict[str, Any] | None,
    new: dict[str, Any],
    manager: str,
    time: str,
    subresource: str = "",
    api_version: str = "",
    reset: Iterable[Path] | None = None,
) -> dict[str, Any]:
    """`new` with the entries that follow from the change `old` → `new` by `manager` at `time` (RFC 3339, seconds).

    `old` is None on create.  `api_version` defaults to the object's own.  `reset` are paths that this request cannot
    set (None: the spec for the status subresource, the status otherwise).  A request may bring its own entries, an
    empty list or one empty entry forgets them all; through a subresource what it brings is ignored.
    """
    version = api_version or str(new.get("apiVersion", ""))
    managed = _known(old, new, subresource)
    bare, before = without_entries(new), without_entries(old) if old is not None else zero(type, new)
    if not managed and old is not None:
        return managers.written(new, managed)  # not tracked: an object whose owners were forgotten
    try:
        change = compare(type, before, bare)
    except KeyMissing:
        kept = managers.entries(old)
        return bare | {"metadata": (bare.get("metadata") or {}) | ({"managedFields": kept} if kept else {})}
    exclude(change, reset_paths(type, subresource) if reset is None else reset)
    return managers.written(new, managers.capped(_after(managed, change, manager, time, subresource, version)))


def _known(old: dict[str, Any] | None, new: dict[str, Any], subresource: str) -> Managed:
    """The entries to start from: those in the request when it brings any, else those of the live object."""
    if not subresource:
        brought = managers.entries(new)
        if brought in ([], [{}]):
            return {}
        try:
            if found := managers.read(new):
                return found
        except (ValueError, KeyError):
            pass  # entries that cannot be read count as not brought
    try:
        return managers.read(old)
    except (ValueError, KeyError):
        return {}


def _after(managed: Managed, change: Comparison, name: str, time: str, subresource: str, version: str) -> Managed:
    """Everybody loses what has changed or gone; the manager of this request gains what it changed."""
    touched = change.added | change.modified
    gone = touched | change.removed
    result: Managed = {}
    for who, what in managed.items():
        left = what.fields - gone
        if left:
            result[who] = msgspec.structs.replace(what, fields=left)
    gained = touched - NOT_OWNED
    if gained:
        me = managers.manager(name, UPDATE, version, subresource)
        mine = result.get(me)
        result[me] = Owned(gained | mine.fields if mine else gained, version, time)
    return result


def without_entries(obj: dict[str, Any]) -> dict[str, Any]:
    """`obj` without `metadata.managedFields`."""
    metadata = obj.get("metadata")
    if not metadata or "managedFields" not in metadata:
        return obj
    return obj | {"metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}


def reset_paths(type: Type, subresource: str) -> tuple[Path, ...]:
    """What the endpoint resets and nobody can therefore come to own through it."""
    if "status" not in type.fields or "spec" not in type.fields:
        return ()
    if subresource == "status":
        return (("f:spec",),)
    return (("f:status",),) if not subresource else ()


def exclude(change: Comparison, paths: Iterable[Path]) -> None:
    """Take the given paths, and what lies below them, out of a comparison."""
    roots = tuple(paths)
    change.added = outside(change.added, roots)
    change.modified = outside(change.modified, roots)
    change.removed = outside(change.removed, roots)
