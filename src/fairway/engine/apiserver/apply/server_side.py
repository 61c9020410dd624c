"""Server-side apply: merge what a manager wants, drop what it no longer wants, refuse what others own.

KEP-555; the algorithm is that of structured-merge-diff's updater and of apimachinery's field managers.  Not done:
conversion between API versions of a kind, whose owned paths are taken to be the same in each.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from fairway.engine.apiserver.apply import managers
from fairway.engine.apiserver.apply.errors import Conflict, ConflictCause, PatchError
from fairway.engine.apiserver.apply.fields import Fields, Path, outside, text
from fairway.engine.apiserver.apply.fits import refusals
from fairway.engine.apiserver.apply.managed_fields import exclude, reset_paths, without_entries
from fairway.engine.apiserver.apply.managers import APPLY, NOT_OWNED, UPDATE, Managed, Manager, Owned
from fairway.engine.apiserver.apply.merging import merged, named, tree, without, without_nulls
from fairway.engine.apiserver.apply.typed import KeyMissing, compare, fields_set
from fairway.engine.apiserver.schema.types import Type
from fairway.engine.apiserver.schema.zero import zero

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
# What owned the object before its first apply, when nobody had been recorded.
BEFORE_FIRST_APPLY: Final = "before-first-apply"


def apply(
    type: Type,
    live: dict[str, Any] | None,
    applied: dict[str, Any],
    manager: str,
    force: bool,
    time: str,
    subresource: str = "",
    reset: Iterable[Path] | None = None,
) -> dict[str, Any]:
    """The object after `manager` has applied `applied` at `time` (RFC 3339, seconds); `live` is None when it is new.

    Defaults are not set here.  Raises Conflict when other managers own a field that would change and `force` is off,
    PatchError (400 or 500, as upstream) for a configuration that does not fit the type.
    """
    _refuse(type, applied)
    roots = tuple(reset_paths(type, subresource) if reset is None else reset)
    wish = _Wish(type, applied, Manager(manager, APPLY, "", subresource), time, roots)
    before = zero(type, applied) if live is None else without_entries(live)
    try:
        known = _known(wish, live, before)
    except ValueError as error:
        raise PatchError(f"failed to decode managed fields: {error}", 500) from None
    except KeyMissing as missing:
        raise PatchError(f"failed to create typed live object: {text(missing.path)}: {missing}", 500) from None
    try:
        result, managed = _applied(wish, before, known, force)
    except KeyMissing as missing:
        message = f"failed to create typed live object: {text(missing.path)}: {missing}"
        raise PatchError(message, 500) from None
    except _Conflicts as conflicts:
        allowed = _inherited(type, before, applied) if manager == "kubectl" else set()
        left = [(who, path) for who, path in conflicts.found if path not in allowed]
        if left:
            raise _conflict(left) from None
        result, managed = _applied(wish, before, known, True)
    result = _annotated(result, applied) if manager == "kubectl" else result
    return managers.written(result, managers.capped(managed))


class _Wish(msgspec.Struct, frozen=True):
    """One apply request."""

    type: Type
    applied: dict[str, Any]
    who: Manager
    time: str
    reset: tuple[Path, ...]

    @property
    def version(self) -> str:
        """The API version that the configuration is written in."""
        return str(self.applied.get("apiVersion", ""))


class _Conflicts(Exception):
    def __init__(self, found: list[tuple[Manager, Path]]) -> None:
        super().__init__(found)
        self.found = found


def _refuse(type: Type, applied: dict[str, Any]) -> None:
    """Raise for a configuration that brings managed fields or does not fit its type."""
    metadata = applied.get("metadata") or {}
    if metadata.get("managedFields") is not None:
        raise PatchError("metadata.managedFields must be nil")
    faults = refusals(type, applied)
    if faults:
        kind = str(applied.get("kind", ""))
        where = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
        version = str(applied.get("apiVersion", ""))
        message = faults[0] if len(faults) == 1 else "\n  ".join(("errors:", *faults))
        raise PatchError(f"failed to create typed patch object ({where}; {version}, Kind={kind}): {message}", 500)


def _known(wish: _Wish, live: dict[str, Any] | None, before: dict[str, Any]) -> Managed:
    """The live entries; an object that nobody has owned so far was owned by whoever came before.  Raises ValueError."""
    managed = managers.read(live)
    if managed or live is None:
        return managed
    change = compare(wish.type, zero(wish.type, before), before)
    exclude(change, wish.reset)
    gained = (change.added | change.modified) - NOT_OWNED
    first = Manager(BEFORE_FIRST_APPLY, UPDATE, wish.version, wish.who.subresource)
    return {first: Owned(gained, wish.version, wish.time)} if gained else {}


def _applied(wish: _Wish, before: dict[str, Any], known: Managed, force: bool) -> tuple[dict[str, Any], Managed]:
    """The merged object and its owners.  Raises _Conflicts unless forced."""
    wanted = outside(fields_set(wish.type, wish.applied), wish.reset)
    last = known.get(wish.who)
    managed = known | {wish.who: Owned(wanted, wish.version, last.time if last else "")}
    result = merged(wish.type, before, wish.applied)
    if last and not last.fields <= wanted:
        result = _pruned(wish.type, result, managed, last.fields)
    managed = _settled(wish, before, result, managed, force)
    own = managed.pop(wish.who, None)
    if own and own.fields - NOT_OWNED:
        # Upstream does not write a time when the object stays as it was.
        time = own.time if result == before else wish.time
        managed[wish.who] = Owned(own.fields - NOT_OWNED, wish.version, time)
    return without_nulls(result), managed


def _settled(wish: _Wish, before: Any, after: Any, managed: Managed, force: bool) -> Managed:
    """The others lose what this apply changed or removed.  Raises _Conflicts when they owned it and force is off."""
    change = compare(wish.type, before, after)
    exclude(change, wish.reset)
    touched = (change.added | change.modified) - _nothing_new(wish.type, change.added, after)
    conflicts = {who: what.fields & touched for who, what in managed.items() if who != wish.who}
    if not force and any(conflicts.values()):
        raise _Conflicts([(who, path) for who, paths in conflicts.items() for path in sorted(paths)])
    result: Managed = {}
    for who, what in managed.items():
        left = what.fields if who == wish.who else what.fields - touched - change.removed
        if left:
            result[who] = msgspec.structs.replace(what, fields=left)
    return result


def _nothing_new(type: Type, added: Fields, after: dict[str, Any]) -> Fields:
    """Nulls where nothing was: `creationTimestamp: null`, as Go writes templates, changes nothing for its co-owners."""
    solid = without_nulls(after)
    return added & compare(type, solid, after).added if added and solid is not after else set()


def _pruned(type: Type, value: dict[str, Any], managed: Managed, last: Fields) -> dict[str, Any]:
    """`value` without what the manager owned alone and no longer applies."""
    owned = named(type, set().union(*(what.fields for what in managed.values())))
    last = named(type, last)
    everything = named(type, fields_set(type, value))
    bare = without(type, value, tree(last))
    # What somebody still owns comes back, but not what nobody owns below a removed item …
    kept = without(type, value, tree(everything - named(type, fields_set(type, bare)) - owned))
    # … except where it was not the manager's to remove.
    gone = (everything - named(type, fields_set(type, kept))) & last
    result: dict[str, Any] = without(type, value, tree(gone))
    return result


def _inherited(type: Type, live: dict[str, Any], applied: dict[str, Any]) -> Fields:
    """What `kubectl apply` on the client side had set and is still so: kubectl may take it over without a conflict."""
    annotation = ((live.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED)
    try:
        last = msgspec.json.decode(annotation) if annotation else None
        if not isinstance(last, dict) or last.get("apiVersion") != applied.get("apiVersion"):
            return set()
        change = compare(type, last, live)
        return fields_set(type, last) - change.modified - change.added - change.removed
    except (msgspec.DecodeError, KeyMissing):
        return set()


def _annotated(result: dict[str, Any], applied: dict[str, Any]) -> dict[str, Any]:
    """Keep the annotation of client-side apply in step, where there is one, so that people can go back to it."""
    metadata = result.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    if LAST_APPLIED not in annotations:
        return result
    body = _last_applied(applied)
    if len(body) > 262_144:  # annotations may not be larger in total
        return result
    return result | {"metadata": metadata | {"annotations": annotations | {LAST_APPLIED: body}}}


def _last_applied(applied: dict[str, Any]) -> str:
    """The configuration as the annotation holds it: keys in order, without the annotation itself, as Go encodes it."""
    metadata = dict(applied.get("metadata") or {})
    if "annotations" in metadata:
        kept = {key: value for key, value in (metadata["annotations"] or {}).items() if key != LAST_APPLIED}
        metadata["annotations"] = kept
    body = msgspec.json.encode(applied | {"metadata": metadata}, order="sorted").decode()
    for character, escape in (("&", "\\u0026"), ("<", "\\u003c"), (">", "\\u003e")):
        body = body.replace(character, escape)
    return body + "\n"


def _conflict(found: list[tuple[Manager, Path]]) -> Conflict:
    causes = tuple(
        ConflictCause("FieldManagerConflict", f"conflict with {who.text()}", text(path)) for who, path in found
    )
    if len(found) == 1:
        who, path = found[0]
        return Conflict(f"Apply failed with 1 conflict: conflict with {who.text()}: {text(path)}", causes)
    lines: list[str] = []
    by_manager: dict[str, list[str]] = {}
    for who, path in found:
        by_manager.setdefault(who.text(), []).append(f"- {text(path)}")
    for name in sorted(by_manager):
        lines += [f"conflicts with {name}:", *by_manager[name]]
    return Conflict(f"Apply failed with {len(found)} conflicts: " + "\n".join(lines), causes)
