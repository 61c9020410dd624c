"""Find keys that occur twice in one JSON object, which fast decoders silently merge."""

import json
from typing import Any


class _Object(list[tuple[str, Any]]):
    """A JSON object as the pairs in which it was written, so that it differs from an array."""


def duplicates(body: bytes) -> tuple[str, ...]:
    """The path of each key that is written again in the same object, such as `spec.containers[0].image`, in order.

    Raises ValueError when the body is not JSON or nested too deeply.
    """
    seen_twice = False

    def merged(pairs: list[tuple[str, Any]]) -> None:
        nonlocal seen_twice
        if len(pairs) > 1 and len({key for key, _ in pairs}) < len(pairs):
            seen_twice = True

    try:
        json.loads(body, object_pairs_hook=merged)
        if not seen_twice:
            return ()
        found: dict[str, None] = {}
        _collect(json.loads(body, object_pairs_hook=_Object), "", found)
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None
    return tuple(found)


def _collect(value: Any, path: str, found: dict[str, None]) -> None:
    if isinstance(value, _Object):
        seen: set[str] = set()
        for key, item in value:
            inner = f"{path}.{key}" if path else key
            if key in seen:
                found[inner] = None
            seen.add(key)
            _collect(item, inner, found)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _collect(item, f"{path}[{index}]", found)
