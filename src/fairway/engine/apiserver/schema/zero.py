"""The object that Go starts from: what a new object is compared with to see what its creator has set."""

from typing import Any, Final

from fairway.engine.apiserver.schema.types import Shape, Type

_EMPTY: Final[dict[Shape, Any]] = {
    Shape.INT32: 0,
    Shape.INT64: 0,
    Shape.FLOAT64: 0,
    Shape.BOOLEAN: False,
    Shape.QUANTITY: "0",
}


def zero(type: Type, like: dict[str, Any]) -> dict[str, Any]:
    """An empty object of the kind of `like`: its version and kind, and every member that Go always writes, empty."""
    return {key: like[key] for key in ("apiVersion", "kind") if key in like} | empty(type)


def empty(type: Type) -> dict[str, Any]:
    """The members that Go always writes in an object of this type: structs with theirs inside, 0, and null lists."""
    return {name: _empty(type.fields[name]) for name in type.always}


def _empty(type: Type) -> Any:
    return empty(type) if type.shape is Shape.OBJECT else _EMPTY.get(type.shape)


def complete(type: Type, value: dict[str, Any]) -> dict[str, Any]:
    """`value` with the members that Go always writes, such as a container's `resources: {}`, but without null lists.

    Parts that are whole are shared.
    """
    result = value
    for name, field in type.fields.items():
        current = value.get(name)
        if current is None:
            if name in type.always and field.items is None:
                whole = complete(field, {}) if field.shape is Shape.OBJECT else _EMPTY.get(field.shape)
                result = (dict(value) if result is value else result) | {name: whole}
        elif not field.plain:
            whole = _complete(field, current)
            if whole is not current:
                result = (dict(value) if result is value else result) | {name: whole}
    return result


def _complete(type: Type, value: Any) -> Any:
    if type.fields and isinstance(value, dict):
        return complete(type, value)
    if type.items is None or type.items.plain:
        return value
    if isinstance(value, dict):
        values = {key: _complete(type.items, item) for key, item in value.items()}
        return value if all(values[key] is item for key, item in value.items()) else values
    if isinstance(value, list):
        items = [_complete(type.items, item) for item in value]
        return value if all(new is old for new, old in zip(items, value, strict=True)) else items
    return value
