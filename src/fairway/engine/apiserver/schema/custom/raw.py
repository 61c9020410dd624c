"""Whether a schema document is made of the right JSON types, before anything reads it.

The type of JSONSchemaProps cannot say this: `items` and `additionalProperties` may hold more than one shape.
"""

from collections.abc import Iterator
from typing import Any, Final

from fairway.engine.apiserver.schema.check import Cause
from fairway.engine.apiserver.schema.custom import causes

_TEXTS: Final = ("type", "format", "pattern", "description", "title", "x-kubernetes-list-type", "x-kubernetes-map-type")
_FLAGS: Final = (
    "nullable",
    "uniqueItems",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
)
_NUMBERS: Final = ("minimum", "maximum", "multipleOf")
_COUNTS: Final = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_TEXT_LISTS: Final = ("required", "x-kubernetes-list-map-keys")
_SCHEMA_LISTS: Final = ("allOf", "anyOf", "oneOf")
_DEPTH_MAX: Final = 100


def shape_faults(raw: Any, path: str, depth: int = 0) -> Iterator[Cause]:
    """Every member that is not of its type."""
    if not isinstance(raw, dict):
        yield causes.wrong_type(path, type(raw).__name__, "must be an object")
        return
    if depth > _DEPTH_MAX:
        yield causes.forbidden(path, "the schema is nested too deeply")
        return
    for key, value in raw.items():
        if value is not None and not _fits(key, value):
            yield causes.wrong_type(f"{path}.{key}", type(value).__name__, "is not of this field's type")
            return
    yield from _below(raw, path, depth)


def _fits(key: str, value: Any) -> bool:
    if key in _TEXTS:
        return isinstance(value, str)
    if key in _FLAGS:
        return isinstance(value, bool)
    if key in _NUMBERS:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if key in _COUNTS:
        return isinstance(value, int) and not isinstance(value, bool)
    if key in _TEXT_LISTS:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if key in _SCHEMA_LISTS or key == "enum":
        return isinstance(value, list)
    if key == "additionalProperties":
        return isinstance(value, bool | dict)
    if key == "items":
        return isinstance(value, dict | list)
    if key == "x-kubernetes-validations":
        return isinstance(value, list) and all(_is_rule(item) for item in value)
    return not (key in ("properties", "not") and not isinstance(value, dict))


def _is_rule(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    texts = ("rule", "message", "messageExpression", "reason", "fieldPath")
    return all(isinstance(value.get(key) or "", str) for key in texts)


def _below(raw: dict[str, Any], path: str, depth: int) -> Iterator[Cause]:
    for name, field in (raw.get("properties") or {}).items():
        yield from shape_faults(field, f"{path}.properties[{name}]", depth + 1)
    for key in ("items", "additionalProperties", "not"):
        if isinstance(raw.get(key), dict):
            yield from shape_faults(raw[key], f"{path}.{key}", depth + 1)
    for key in _SCHEMA_LISTS:
        for index, inner in enumerate(raw.get(key) or ()):
            yield from shape_faults(inner, f"{path}.{key}[{index}]", depth + 1)
