"""The protobuf messages of the Kubernetes API: field numbers, JSON names and how to read each field."""

from enum import Enum
from importlib.resources import files
from typing import Any, Final

import msgspec
from msgspec import Struct

_REPEATED, _MAP, _INLINE, _KEEP_ZERO = 1, 2, 4, 8


class Code(Enum):
    """What a field holds on the wire, and so what it becomes in JSON."""

    STRING = "string"
    BOOL = "bool"
    INT = "int"
    DOUBLE = "double"
    BYTES = "bytes"
    MESSAGE = "message"
    QUANTITY = "quantity"
    INT_OR_STRING = "int-or-string"
    TIME = "time"
    MICROTIME = "microtime"
    RAW = "raw"
    ITEMS = "items"
    ALTERNATIVE = "alternative"


class Field(Struct, frozen=True):
    """One field of a message.

    `inline`: its members belong to the message around it.  `keep_zero`: an empty value was set on purpose, because the
    field is a pointer in Go, or is written in JSON even when empty.
    """

    name: str
    code: Code
    message: str
    repeated: bool
    map: bool
    inline: bool
    keep_zero: bool


Message = dict[int, Field]


class Wire:
    """All messages; the fields of one are built when it is first asked for."""

    def __init__(self, table: dict[str, Any]) -> None:
        self._table = table
        self._built: dict[str, Message] = {}

    def message(self, name: str) -> Message:
        """The fields of a message by number.  Raises KeyError when it is not known."""
        known = self._built.get(name)
        if known is None:
            known = self._built[name] = {entry[0]: _field(entry) for entry in self._table[name]}
        return known

    def names(self) -> tuple[str, ...]:
        """The name of every message."""
        return tuple(self._table)

    def kind(self, api_version: str, kind: str) -> str:
        """The message of a kind, "" when there is none; options such as DeleteOptions belong to every group."""
        group, _, version = api_version.rpartition("/")
        name = f"{group.partition('.')[0] or 'core'}.{version}.{kind}"
        if name in self._table:
            return name
        name = f"meta.v1.{kind}"
        return name if name in self._table else ""


def _field(entry: Any) -> Field:
    _, name, code, message, flags = entry
    return Field(
        name=name,
        code=Code(code),
        message=message,
        repeated=bool(flags & _REPEATED),
        map=bool(flags & _MAP),
        inline=bool(flags & _INLINE),
        keep_zero=bool(flags & _KEEP_ZERO),
    )


def load() -> Wire:
    """The table packed with the program (`wire.msgpack`, made by tools/compile_wire.py)."""
    packed = files("fairway.engine.apiserver.codec").joinpath("wire.msgpack").read_bytes()
    return Wire(msgspec.msgpack.decode(packed))


WIRE: Final = load()
