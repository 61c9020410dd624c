"""Causes in the words of upstream's field errors (apimachinery, util/validation/field)."""

import json
from collections.abc import Iterable

from fairway.engine.apiserver.resources.kind import Cause

IMMUTABLE = "field is immutable"
NOT_NEGATIVE = "must be greater than or equal to 0"


def invalid(field: str, value: object, detail: str) -> Cause:
    """The value is malformed, or breaks a rule."""
    return Cause("FieldValueInvalid", f"Invalid value: {_shown(value)}: {detail}", field)


def invalid_each(field: str, value: object, details: Iterable[str]) -> list[Cause]:
    """One cause per thing that is wrong with a value."""
    return [invalid(field, value, detail) for detail in details]


def required(field: str, detail: str = "") -> Cause:
    """The value is missing or empty."""
    return Cause("FieldValueRequired", _with("Required value", detail), field)


def duplicate(field: str, value: object) -> Cause:
    """The value is there twice."""
    return Cause("FieldValueDuplicate", f"Duplicate value: {_shown(value)}", field)


def not_found(field: str, value: object) -> Cause:
    """The value names something that is not there."""
    return Cause("FieldValueNotFound", f"Not found: {_shown(value)}", field)


def unsupported(field: str, value: object, options: Iterable[str]) -> Cause:
    """The value is none of the few that exist."""
    listed = ", ".join(json.dumps(option) for option in options)
    return Cause("FieldValueNotSupported", f"Unsupported value: {_shown(value)}: supported values: {listed}", field)


def forbidden(field: str, detail: str) -> Cause:
    """The value would be fine elsewhere or at another time."""
    return Cause("FieldValueForbidden", _with("Forbidden", detail), field)


def too_long(field: str, bytes_max: int) -> Cause:
    """The value is larger than allowed, so it is not shown."""
    return Cause("FieldValueTooLong", f"Too long: may not be more than {bytes_max} bytes", field)


def too_many(field: str, count: int, count_max: int) -> Cause:
    """The list is longer than allowed."""
    return Cause("FieldValueTooMany", f"Too many: {count}: must have at most {count_max} items", field)


def negative(field: str, value: int | None) -> list[Cause]:
    """A cause when a number that counts something is below zero."""
    return [invalid(field, value, NOT_NEGATIVE)] if value is not None and value < 0 else []


def one_of(field: str, value: str | None, options: tuple[str, ...], *, needed: bool = True) -> list[Cause]:
    """A cause when a value is missing (if needed) or none of the options."""
    if not value:
        return [required(field)] if needed else []
    return [] if value in options else [unsupported(field, value, options)]


def immutable(field: str, new: object, old: object) -> list[Cause]:
    """A cause when a value that never changes did."""
    return [] if new == old else [invalid(field, new, IMMUTABLE)]


def _with(says: str, detail: str) -> str:
    return f"{says}: {detail}" if detail else says


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
