"""Which fields of a live object are no longer as its Release wrote them.

The API keeps who wrote a field last (KEP-555, `managedFields`): when somebody else changes a field that was applied, it
leaves the applier's set. So nothing is compared by value, and defaults, units and other controllers' fields cannot
look like a change.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fairway.delivery.kinds.resources import FIELD_MANAGER
from fairway.delivery.releases.objects import LiveMeta, Manifest

_PATHS_MAX = 8
_TOP = ("spec", "data", "metadata")


def changed(manifest: Manifest, metadata: LiveMeta) -> tuple[str, ...]:
    """Paths such as `spec.replicas` that somebody else changed; the first few."""
    mine = next(
        (
            entry.fields_v1
            for entry in metadata.managed_fields
            if entry.manager == FIELD_MANAGER and entry.operation == "Apply" and not entry.subresource
        ),
        None,
    )
    if mine is None:
        return ()
    found: list[str] = []
    for top in _TOP:
        part = manifest.get(top)
        if top == "metadata":
            part = {key: part[key] for key in ("labels", "annotations") if key in part} if part else None
        if part:
            found += _lost(part, mine.get(f"f:{top}"), top)
    return tuple(found[:_PATHS_MAX])


def text(found: Iterable[tuple[str, tuple[str, ...]]]) -> str:
    """What differs, of objects by name."""
    return "; ".join(f"{name}: {', '.join(paths)}" for name, paths in found)


def _lost(wanted: Any, fields: Mapping[str, Any] | None, path: str) -> Iterator[str]:
    if fields is None:
        yield path
        return
    if not any(key != "." for key in fields):
        return  # owned as a whole
    if isinstance(wanted, Mapping):
        for key, value in wanted.items():
            if value is not None:
                yield from _lost(value, fields.get(f"f:{key}"), f"{path}.{key}")
    elif isinstance(wanted, list | tuple):
        yield from _lost_items(wanted, fields, path)


def _lost_items(wanted: Iterable[Any], fields: Mapping[str, Any], path: str) -> Iterator[str]:
    keyed = [(json.loads(key[2:]), below) for key, below in fields.items() if key.startswith("k:")]
    if not keyed:
        return  # a set of plain values: those are compared by nobody
    for number, item in enumerate(wanted):
        if isinstance(item, Mapping):
            below = next((entry for keys, entry in keyed if _is(item, keys)), None)
            yield from _lost(item, below, f"{path}[{item.get('name', number)}]")


def _is(item: Mapping[str, Any], keys: Mapping[str, Any]) -> bool:
    """Keys that the item leaves out have their default (a port's protocol)."""
    return all(item.get(key, value) == value for key, value in keys.items())
