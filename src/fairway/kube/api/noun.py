"""The base of every noun, and the one way from raw JSON to a frozen value."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec


class Noun(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A value with Kubernetes' camelCase names; unknown fields are dropped, absent ones take the default."""


T = TypeVar("T")


def decode(noun: type[T], raw: Mapping[str, Any]) -> T:
    """Convert raw JSON to a noun.

    Null means absent, as in Kubernetes' own decoder.  Raises msgspec.ValidationError with the path of a field that has
    the wrong type.
    """
    try:
        return msgspec.convert(raw, noun)
    except msgspec.ValidationError:
        return msgspec.convert(without_nulls(raw), noun)


def without_nulls(value: Any) -> Any:
    """The same JSON without members that are null."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def encode(noun: Noun) -> dict[str, Any]:
    """The raw JSON of a noun; fields that have their default are left out."""
    raw: dict[str, Any] = msgspec.to_builtins(noun)
    return raw
