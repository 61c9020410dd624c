"""A structural schema as the type that server-side apply merges by: the same type as that of built-in kinds."""

from typing import Final

from fairway.engine.apiserver.schema.custom.node import UNSET, Node
from fairway.engine.apiserver.schema.types import ACCEPTS, DEDUCED, LEAVES, Shape, Type

_LEAVES: Final = {
    "string": LEAVES["string"],
    "boolean": LEAVES["boolean"],
    "integer": LEAVES["int64"],
    "number": LEAVES["float64"],
}


def merge_type(node: Node, metadata: Type) -> Type:
    """The type of a whole object; `metadata` is the type of ObjectMeta."""
    fields = {name: _type(field, metadata) for name, field in node.fields.items()}
    return _object(node, {**fields, **_meta(metadata)})


def _meta(metadata: Type) -> dict[str, Type]:
    return {"apiVersion": LEAVES["string"], "kind": LEAVES["string"], "metadata": metadata}


def _type(node: Node, metadata: Type) -> Type:
    if node.int_or_string:
        return LEAVES["int-or-string"]
    if node.type == "array":
        return _list(node, metadata)
    if node.embedded:
        return _object(
            node, {**{name: _type(field, metadata) for name, field in node.fields.items()}, **_meta(metadata)}
        )
    if node.type == "object":
        if node.values is not None and not node.fields:
            return _container(Shape.MAP, _type(node.values, metadata), atomic=node.map_type == "atomic")
        if node.fields:
            return _object(node, {name: _type(field, metadata) for name, field in node.fields.items()})
        return LEAVES["object"] if node.map_type == "atomic" else DEDUCED
    return _LEAVES.get(node.type, DEDUCED)


def _object(node: Node, fields: dict[str, Type]) -> Type:
    return Type(
        shape=Shape.OBJECT,
        accepts=ACCEPTS[Shape.OBJECT],
        plain=False,
        fields=fields,
        atomic=node.map_type == "atomic",
        open=node.preserve,
    )


def _list(node: Node, metadata: Type) -> Type:
    items = _type(node.items, metadata) if node.items is not None else DEDUCED
    keys = node.list_keys if node.list_type == "map" else ()
    known = node.items.fields if node.items is not None else {}
    defaults = {key: known[key].default for key in keys if key in known and known[key].default is not UNSET}
    return Type(
        shape=Shape.LIST,
        accepts=ACCEPTS[Shape.LIST],
        plain=False,
        items=items,
        atomic=node.list_type not in ("set", "map"),
        unique=node.list_type == "set",
        keys=keys,
        key_defaults=defaults,
    )


def _container(shape: Shape, items: Type, *, atomic: bool) -> Type:
    return Type(shape=shape, accepts=ACCEPTS[shape], plain=False, items=items, atomic=atomic)
