"""The shape of API objects as a graph of frozen values: what a field is called, holds, and how it merges."""

from enum import Enum
from typing import Any, Final

from msgspec import Struct


class Shape(Enum):
    """What a value looks like in JSON, and which Go type upstream decodes it into."""

    STRING = "string"
    BOOLEAN = "boolean"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT64 = "float64"
    BYTES = "bytes"
    QUANTITY = "quantity"
    INT_OR_STRING = "int-or-string"
    TIME = "time"
    MICROTIME = "microtime"
    ANY = "any"
    OBJECT = "object"
    MAP = "map"
    LIST = "list"


_TEXT: Final = frozenset({str})
_WHOLE: Final = frozenset({int})
_NUMBER: Final = frozenset({int, float})

# The Python types that a decoded JSON value of each shape may have; `bool` is not an `int` here.
ACCEPTS: Final[dict[Shape, frozenset[type]]] = {
    Shape.STRING: _TEXT,
    Shape.BOOLEAN: frozenset({bool}),
    Shape.INT32: _WHOLE,
    Shape.INT64: _WHOLE,
    Shape.FLOAT64: _NUMBER,
    Shape.BYTES: _TEXT,
    Shape.QUANTITY: _TEXT | _NUMBER,
    Shape.INT_OR_STRING: _TEXT | _WHOLE,
    Shape.TIME: _TEXT,
    Shape.MICROTIME: _TEXT,
    Shape.ANY: frozenset({str, bool, int, float, dict, list}),
    Shape.OBJECT: frozenset({dict}),
    Shape.MAP: frozenset({dict}),
    Shape.LIST: frozenset({list}),
}
# Shapes for which the Python type alone decides; the others have a syntax or a range as well.
PLAIN: Final = frozenset({Shape.STRING, Shape.BOOLEAN, Shape.FLOAT64, Shape.ANY})


class Type(Struct, frozen=True, eq=False, kw_only=True):
    """One type of the API, built-in or from a CRD; recursive, therefore compared by identity.

    `fields` and `required` belong to OBJECT, `items` to MAP and LIST (never None there).  The merge rules are those of
    the OpenAPI extensions: `keys`, `key_defaults` and `unique` of `x-kubernetes-list-type: map` and `set`, `atomic` of
    either kind, and `merge`, `merge_key` and `retain_keys` of the older patch strategies.  `open` keeps unknown fields;
    `always` are the members that Go writes even when empty, because they are structs and not pointers.
    """

    shape: Shape
    accepts: frozenset[Any]
    plain: bool
    name: str = ""
    fields: dict[str, "Type"] = {}
    required: tuple[str, ...] = ()
    always: tuple[str, ...] = ()
    items: "Type | None" = None
    atomic: bool = False
    unique: bool = False
    keys: tuple[str, ...] = ()
    key_defaults: dict[str, str | int | bool] = {}
    merge: bool = False
    merge_key: str = ""
    retain_keys: bool = False
    open: bool = False


def leaf(shape: Shape) -> Type:
    """The type of a scalar, or of a value whose inside is not described."""
    return Type(shape=shape, accepts=ACCEPTS[shape], plain=shape in PLAIN, atomic=shape is Shape.ANY)


LEAVES: Final[dict[str, Type]] = {
    shape.value: leaf(shape) for shape in Shape if shape not in (Shape.OBJECT, Shape.MAP, Shape.LIST)
}
# `{"type": "object"}` without properties: anything, but only an object.
LEAVES["object"] = Type(shape=Shape.ANY, accepts=ACCEPTS[Shape.OBJECT], plain=True, atomic=True)

# A value nothing is known of, as in a custom resource that preserves unknown fields: maps merge key by key, lists are
# replaced whole (`__untyped_deduced_` of structured-merge-diff).
DEDUCED: Final = Type(shape=Shape.ANY, accepts=ACCEPTS[Shape.ANY], plain=True)


def item_of(type: Type) -> Type:
    """The type of what a list or map holds; undescribed when it is not a container."""
    return type.items if type.items is not None else DEDUCED


def field_of(type: Type, key: str) -> Type:
    """The type of one member of an object or map; undescribed when the schema does not know it."""
    known = type.fields.get(key)
    return known if known is not None else item_of(type)
