"""Filling what is absent in place: the words that every default is written with."""

from collections.abc import Mapping

from fairway.engine.apiserver.resources.kind import Object


def fill(holder: Object, key: str, value: object) -> None:
    """Set what is absent, null or an empty text."""
    if holder.get(key) in (None, ""):
        holder[key] = value


def fill_numbers(holder: Object, numbers: Mapping[str, int]) -> None:
    """Set the counts that are absent or null; zero stays zero."""
    for key, value in numbers.items():
        if holder.get(key) is None:
            holder[key] = value


def child(holder: Object, key: str) -> Object:
    """The object at `key`, made empty where it is absent or null."""
    inner = holder.get(key)
    if inner is None:
        inner = holder[key] = {}
    inside: Object = inner
    return inside
