"""What makes one object of another, as a JSON patch (RFC 6902)."""

from collections.abc import Iterator, Mapping
from typing import Any

Operation = dict[str, Any]


def difference(before: Any, after: Any, path: str = "") -> Iterator[Operation]:
    """Lists of the same length are compared item by item, others are replaced as a whole."""
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        yield from _of_maps(before, after, path)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from difference(one, other, f"{path}/{number}")
    else:
        yield {"op": "replace", "path": path, "value": after}


def _of_maps(before: Mapping[str, Any], after: Mapping[str, Any], path: str) -> Iterator[Operation]:
    for key in before:
        if key not in after:
            yield {"op": "remove", "path": f"{path}/{_escaped(key)}"}
    for key, value in after.items():
        below = f"{path}/{_escaped(key)}"
        if key in before:
            yield from difference(before[key], value, below)
        else:
            yield {"op": "add", "path": below, "value": value}


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
