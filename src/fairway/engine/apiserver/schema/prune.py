"""A body as a typed server would keep it: no unknown fields, no nulls, quantities and times in their canonical form."""

from collections.abc import Callable
from typing import Any, Final

from fairway.engine.apiserver.schema.canonical import canonical
from fairway.engine.apiserver.schema.types import Shape, Type, item_of


def prune(type: Type, value: Any) -> Any:
    """`value` without fields that the type does not know and without nulls, its scalars canonical.

    Parts that stay as they were are shared, not copied.
    """
    if type.plain or value.__class__ not in type.accepts:
        return value
    if type.shape is Shape.OBJECT:
        return _members(type, value)
    if type.shape is Shape.MAP:
        return _values(item_of(type), value)
    if type.shape is Shape.LIST:
        return _elements(item_of(type), value)
    return canonical(type.shape, value)


def _members(type: Type, value: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    same = True
    for key, item in value.items():
        field = type.fields.get(key)
        if item is None or (field is None and not type.open):
            same = False
            continue
        pruned = item if field is None or field.plain else prune(field, item)
        same = same and pruned is item
        kept[key] = pruned
    return value if same else kept


def _values(items: Type, value: dict[str, Any]) -> dict[str, Any]:
    if items.plain and None not in value.values():
        return value
    kept = {key: _element(items, item) for key, item in value.items()}
    return value if all(kept[key] is item for key, item in value.items()) else kept


def _elements(items: Type, value: list[Any]) -> list[Any]:
    if items.plain and None not in value:
        return value
    kept = [_element(items, item) for item in value]
    return value if all(new is old for new, old in zip(kept, value, strict=True)) else kept


def _element(items: Type, value: Any) -> Any:
    return prune(items, value) if value is not None else _ZERO.get(items.shape, dict)()


_ZERO: Final[dict[Shape, Callable[[], Any]]] = {
    Shape.STRING: str,
    Shape.BYTES: str,
    Shape.BOOLEAN: bool,
    Shape.INT32: int,
    Shape.INT64: int,
    Shape.FLOAT64: float,
    Shape.LIST: list,
    Shape.QUANTITY: lambda: "0",
    Shape.INT_OR_STRING: int,
    Shape.TIME: lambda: None,
    Shape.MICROTIME: lambda: None,
    Shape.ANY: lambda: None,
}
