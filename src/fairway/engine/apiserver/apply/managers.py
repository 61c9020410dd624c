"""The entries of `metadata.managedFields`: reading, writing, ordering and limiting them."""

import datetime
from typing import Any, Final

from msgspec import Struct

from fairway.engine.apiserver.apply.fields import Fields, decode, encode

APPLY: Final = "Apply"
UPDATE: Final = "Update"
ANCIENT: Final = "ancient-changes"
UPDATERS_MAX: Final = 10

# Fields that belong to nobody: the server or the request's address sets them.
NOT_OWNED: Final[Fields] = {
    ("f:apiVersion",),
    ("f:kind",),
    ("f:metadata",),
    *(
        ("f:metadata", f"f:{name}")
        for name in (
            "clusterName",
            "creationTimestamp",
            "generation",
            "managedFields",
            "name",
            "namespace",
            "resourceVersion",
            "selfLink",
            "uid",
        )
    ),
}


class Manager(Struct, frozen=True):
    """Who owns fields: the identity of an entry.  An applier keeps its identity across API versions."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    def text(self) -> str:
        """As conflicts print it: `"kubectl-edit" with subresource "status" using apps/v1`."""
        quoted = f'"{self.name}"' + (f' with subresource "{self.subresource}"' if self.subresource else "")
        return f"{quoted} using {self.api_version}" if self.operation == UPDATE else quoted


class Owned(Struct, frozen=True):
    """What a manager owns, in which version it said so, and when it last changed something ("" when unknown)."""

    fields: Fields
    api_version: str
    time: str = ""


Managed = dict[Manager, Owned]


def manager(name: str, operation: str, api_version: str, subresource: str) -> Manager:
    """The identity under which an operation owns fields."""
    return Manager(name, operation, "" if operation == APPLY else api_version, subresource)


def read(obj: dict[str, Any] | None) -> Managed:
    """The entries of an object.  Raises ValueError when one is not understood."""
    found: Managed = {}
    for entry in entries(obj) or ():
        operation, version = entry.get("operation"), entry.get("apiVersion", "")
        if operation not in (APPLY, UPDATE):
            raise ValueError(f'invalid operation of managedFields: "{operation}"')
        identity = manager(entry.get("manager", ""), operation, version, entry.get("subresource", ""))
        found[identity] = Owned(decode(entry.get("fieldsV1") or {}), version, entry.get("time") or "")
    return found


def entries(obj: dict[str, Any] | None) -> list[dict[str, Any]] | None:
    """The raw entries of an object, None when it has no such field."""
    found: list[dict[str, Any]] | None = ((obj or {}).get("metadata") or {}).get("managedFields")
    return found


def written(obj: dict[str, Any], managed: Managed) -> dict[str, Any]:
    """`obj` with these entries and no others; shares everything else."""
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key != "managedFields"}
    if managed:
        metadata["managedFields"] = [_entry(who, what) for who, what in sorted(managed.items(), key=_order)]
    return obj | {"metadata": metadata}


def _entry(who: Manager, what: Owned) -> dict[str, Any]:
    entry: dict[str, Any] = {"manager": who.name, "operation": who.operation, "apiVersion": what.api_version}
    if what.time:
        entry["time"] = what.time
    entry["fieldsType"] = "FieldsV1"
    entry["fieldsV1"] = encode(what.fields)
    if who.subresource:
        entry["subresource"] = who.subresource
    return entry


def _order(item: tuple[Manager, Owned]) -> tuple[str, float, str, str, str]:
    who, what = item
    return who.operation, seconds(what.time), who.name, what.api_version, who.subresource


def seconds(time: str) -> float:
    """An entry's time as seconds since 1970; 0 when it has none that can be read."""
    try:
        return datetime.datetime.fromisoformat(time).timestamp() if time else 0.0
    except ValueError:
        return 0.0


def capped(managed: Managed) -> Managed:
    """At most `UPDATERS_MAX` updaters: the oldest of each version are put together as `ancient-changes`."""
    updaters = [who for who in managed if who.operation == UPDATE]
    if len(updaters) <= UPDATERS_MAX:
        return managed
    updaters.sort(key=lambda who: (seconds(managed[who].time), who.name, who.api_version, who.subresource))
    result = dict(managed)
    first_of: dict[str, Manager] = {}
    count = len(updaters)
    for who in updaters:
        if count <= UPDATERS_MAX:
            break
        version = result[who].api_version
        bucket = Manager(ANCIENT, UPDATE, version)
        if version not in first_of:
            first_of[version] = who
            continue
        if bucket not in result:
            result[bucket] = result.pop(first_of[version])
        mine = result.pop(who)
        result[bucket] = Owned(mine.fields | result[bucket].fields, version, mine.time)
        count -= 1
    return result
