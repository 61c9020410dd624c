"""Causes of refusal in upstream's words, for values and for schemas."""

import json
from collections.abc import Iterable
from typing import Any, Final

from fairway.engine.apiserver.schema.check import REQUIRED, WRONG_TYPE, Cause

INVALID: Final = "FieldValueInvalid"
UNSUPPORTED: Final = "FieldValueNotSupported"
FORBIDDEN: Final = "FieldValueForbidden"
DUPLICATE: Final = "FieldValueDuplicate"
TOO_LONG: Final = "FieldValueTooLong"
TOO_MANY: Final = "FieldValueTooMany"
NOWHERE: Final = "<nil>"


def invalid(path: str, value: Any, detail: str) -> Cause:
    return Cause(INVALID, f"Invalid value: {shown(value)}: {detail}", path)


def wrong_type(path: str, value: Any, detail: str) -> Cause:
    return Cause(WRONG_TYPE, f"Invalid value: {shown(value)}: {detail}", path)


def required(path: str, detail: str = "") -> Cause:
    return Cause(REQUIRED, f"Required value: {detail}" if detail else "Required value", path)


def unsupported(path: str, value: Any, options: Iterable[Any]) -> Cause:
    listed = ", ".join(json.dumps(option if isinstance(option, str) else shown(option)) for option in options)
    return Cause(UNSUPPORTED, f"Unsupported value: {shown(value)}: supported values: {listed}", path)


def forbidden(path: str, detail: str = "") -> Cause:
    return Cause(FORBIDDEN, f"Forbidden: {detail}" if detail else "Forbidden", path)


def duplicate(path: str, value: Any) -> Cause:
    return Cause(DUPLICATE, f"Duplicate value: {shown(value)}", path)


def too_long(path: str, limit: int) -> Cause:
    return Cause(TOO_LONG, f"Too long: may not be more than {limit} bytes", path)


def too_many(path: str, count: int, limit: int) -> Cause:
    return Cause(TOO_MANY, f"Too many: {count}: must have at most {limit} items", path)


def shown(value: Any) -> str:
    """A value as a field error prints it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
