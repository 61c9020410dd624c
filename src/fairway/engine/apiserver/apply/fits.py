"""Whether an applied configuration fits its type, in the words of structured-merge-diff."""

from typing import Any

from fairway.engine.apiserver.apply.fields import Path, text
from fairway.engine.apiserver.apply.typed import KeyMissing, element
from fairway.engine.apiserver.schema.types import Shape, Type, item_of

_NUMERIC = (Shape.INT32, Shape.INT64, Shape.FLOAT64)
_TEXTUAL = (Shape.STRING, Shape.BYTES, Shape.TIME, Shape.MICROTIME)


def refusals(type: Type, value: Any) -> list[str]:
    """Every reason why `value` cannot be applied; empty when it fits."""
    found: list[str] = []
    _check(type, value, (), found)
    return found


def _check(type: Type, value: Any, path: Path, found: list[str]) -> None:
    if value is None:
        return
    if value.__class__ not in type.accepts:
        found.append(_at(path, _expected(type, value)))
    elif type.shape is Shape.OBJECT:
        _check_members(type, value, path, found)
    elif type.shape is Shape.MAP:
        for key, item in value.items():
            _check(item_of(type), item, (*path, f"f:{key}"), found)
    elif type.shape is Shape.LIST:
        _check_elements(type, value, path, found)


def _check_members(type: Type, value: dict[str, Any], path: Path, found: list[str]) -> None:
    for key, item in value.items():
        field = type.fields.get(key)
        if field is not None:
            _check(field, item, (*path, f"f:{key}"), found)
        elif not type.open:
            found.append(_at((*path, f"f:{key}"), "field not declared in schema"))


def _check_elements(type: Type, value: list[Any], path: Path, found: list[str]) -> None:
    seen: set[str] = set()
    for index, item in enumerate(value):
        if type.atomic:
            name = f"i:{index}"
        else:
            try:
                name = element(type, item, path, index)
            except KeyMissing as missing:
                found.append(_at(path, str(missing)))
                continue
            if name in seen:
                found.append(_at(path, f"duplicate entries for key {text((name,))}"))
            seen.add(name)
        _check(item_of(type), item, (*path, name), found)


def _expected(type: Type, value: Any) -> str:
    if type.shape in _NUMERIC:
        return f"expected numeric (int or float), got {_go_type(value)}"
    word = {Shape.BOOLEAN: "boolean", Shape.LIST: "list"}.get(type.shape, "map")
    if type.shape in _TEXTUAL:
        word = "string"
    if word in ("map", "list"):
        return f"expected {word}, got &{{{_go_text(value)}}}"
    return f"expected {word}, got &value.valueUnstructured{{Value:{_go_literal(value)}}}"


def _at(path: Path, message: str) -> str:
    return f"{text(path)}: {message}" if path else message


def _go_type(value: Any) -> str:
    return {str: "string", bool: "bool", list: "[]interface {}", dict: "map[string]interface {}"}.get(
        value.__class__, "float64"
    )


def _go_text(value: Any) -> str:
    return str(value)


def _go_literal(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()
