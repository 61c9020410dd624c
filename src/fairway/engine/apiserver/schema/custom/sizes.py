"""How large a value can be: by its schema, or else by what fits into one request (KEP-2876)."""

from typing import Final

from msgspec import Struct

from fairway.engine.apiserver.schema.custom.node import Raw

REQUEST_BYTES: Final = 3 * 1024 * 1024
_BYTES_PER_CHARACTER: Final = 4  # lengths count code points
_FORMATS: Final = {"date": 10, "date-time": 31, "datetime": 31, "duration": 32}
_LEAST: Final = {"string": 2, "array": 2, "object": 2, "boolean": 4, "date": 12, "date-time": 22, "duration": 4}


class Sized(Struct, frozen=True):
    """A value that rules see: at most `size` bytes of text, or elements; 1 for what has no size.

    `schema` is what it was declared as; a list that a rule makes has an `element` instead.
    """

    size: int = 1
    kind: str = ""
    schema: Raw | None = None
    element: "Sized | None" = None


def sized(schema: Raw | None) -> Sized:
    """A value of a schema; without one it may be anything."""
    kind = str((schema or {}).get("type") or "")
    if schema is None or (not kind and not schema.get("x-kubernetes-int-or-string")):
        return Sized(REQUEST_BYTES - 2, "any")
    if schema.get("x-kubernetes-int-or-string"):
        return Sized(_text(schema), "text", schema)
    if kind == "string":
        return Sized(_text(schema), "text", schema)
    if kind == "array":
        items = schema.get("items")
        return Sized(_count(schema.get("maxItems"), least_bytes(items) + 1), "list", schema)
    values = schema.get("additionalProperties")
    if kind == "object" and values is not None and values is not False:
        inner = values if isinstance(values, dict) else None
        return Sized(_count(schema.get("maxProperties"), least_bytes(inner) + 6), "map", schema)
    return Sized(1, kind, schema)


def least_bytes(schema: Raw | None) -> int:
    """How short its shortest value is in JSON."""
    if schema is None:
        return 1
    if schema.get("enum"):
        return min(len(str(value)) for value in schema["enum"]) + 2
    kind = str(schema.get("type") or "")
    found = _LEAST.get(str(schema.get("format") or ""), 0) if kind == "string" else 0
    found = found or _LEAST.get(kind, 1)
    fields = schema.get("properties") or {}
    for name in schema.get("required") or ():
        if name in fields and fields[name].get("default") is None:
            found += len(name) + 4 + least_bytes(fields[name])
    return found


def cardinality(schema: Raw) -> int:
    """How many values of this schema fit into one request."""
    return REQUEST_BYTES // (least_bytes(schema) + 1)


def _text(schema: Raw) -> int:
    if schema.get("maxLength") is not None:
        return max(int(schema["maxLength"]), 0) * _BYTES_PER_CHARACTER
    if schema.get("enum"):
        return max(len(str(value)) for value in schema["enum"])
    return _FORMATS.get(str(schema.get("format") or ""), REQUEST_BYTES - 2)


def _count(most: int | None, bytes_each: int) -> int:
    return (REQUEST_BYTES - 2) // bytes_each if most is None else max(int(most), 0)
