"""Scalars with a syntax or a range, and the words in which Go's decoder refuses a value."""

import base64
import binascii
import json
import re
from typing import Any, Final

from fairway.engine.apiserver.schema.types import Shape, Type, item_of

_LIMIT: Final = {Shape.INT32: 1 << 31, Shape.INT64: 1 << 63}
_QUANTITY: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?")
_QUANTITY_FAULT: Final = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_TIME: Final = re.compile(
    r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:[.,]\d+)?"
    r"(?:Z|[+-](?:[01]\d|2[0-4]):[0-5]\d)"
)
_GO_NAMES: Final = {
    Shape.STRING: "string",
    Shape.BOOLEAN: "bool",
    Shape.INT32: "int32",
    Shape.INT64: "int64",
    Shape.FLOAT64: "float64",
    Shape.BYTES: "[]uint8",
    Shape.QUANTITY: "resource.Quantity",
    Shape.INT_OR_STRING: "int32",
    Shape.TIME: "string",
    Shape.MICROTIME: "string",
    Shape.ANY: "map[string]interface {}",
}


def well_formed(shape: Shape, value: Any) -> bool:
    """Whether a value of the right Python type has the syntax and range of its shape."""
    limit = _LIMIT.get(shape)
    if limit is not None:
        return bool(-limit <= value < limit)
    if shape is Shape.QUANTITY:
        return value.__class__ is not str or _QUANTITY.fullmatch(value) is not None
    if shape is Shape.INT_OR_STRING:
        return value.__class__ is str or -(1 << 31) <= value < 1 << 31
    if shape is Shape.BYTES:
        return _base64_fault(value) is None
    if shape is Shape.TIME or shape is Shape.MICROTIME:
        return _TIME.fullmatch(value) is not None
    return True


def fault(type: Type, value: Any, struct: str, path: str) -> str:
    """Why Go's decoder refuses `value` for the field at `path` of `struct`, in its words."""
    if value.__class__ in type.accepts:
        if type.shape is Shape.QUANTITY:
            return _QUANTITY_FAULT
        if type.shape is Shape.BYTES:
            return f"illegal base64 data at input byte {_base64_fault(value)}"
        if type.shape in (Shape.TIME, Shape.MICROTIME):
            return _time_fault(type.shape, value)
    if type.shape is Shape.QUANTITY:
        return _QUANTITY_FAULT
    if type.shape in (Shape.TIME, Shape.MICROTIME):
        return f"json: cannot unmarshal {json_name(type, value)} into Go value of type string"
    where = f"struct field {struct}.{path}" if struct else "value"
    return f"json: cannot unmarshal {json_name(type, value)} into Go {where} of type {go_name(type)}"


def json_name(type: Type, value: Any) -> str:
    """How Go's decoder names what it met; a number that does not fit is printed with its digits."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        whole = type.shape in (Shape.INT32, Shape.INT64, Shape.INT_OR_STRING)
        return f"number {json.dumps(value)}" if whole else "number"
    return {str: "string", list: "array", dict: "object"}[value.__class__]


def go_name(type: Type) -> str:
    """The Go type that upstream decodes a field of this type into."""
    if type.shape is Shape.LIST:
        return f"[]{go_name(item_of(type))}"
    if type.shape is Shape.MAP:
        return f"map[string]{go_name(item_of(type))}"
    if type.name:
        package, _, name = type.name.rpartition(".")
        return f"{package.rpartition('.')[2]}.{name}"
    return _GO_NAMES[type.shape]


def _base64_fault(text: str) -> int | None:
    """The offset of the first byte that is not standard base64, or None; line ends are allowed as in Go."""
    try:
        base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
    except (binascii.Error, ValueError):
        wrong = re.search(r"[^A-Za-z0-9+/\r\n]", text)
        return wrong.start() if wrong else len(text)
    return None


def _time_fault(shape: Shape, text: str) -> str:
    layout = "2006-01-02T15:04:05Z07:00" if shape is Shape.TIME else "2006-01-02T15:04:05.000000Z07:00"
    return f'parsing time "{text}" as "{layout}": cannot parse "{text}" as "2006"'
