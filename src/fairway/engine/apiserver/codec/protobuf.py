"""Request bodies in protobuf (`application/vnd.kubernetes.protobuf`) to the objects that the same bodies in JSON hold.

client-go since 0.32 and controller-runtime send them and do not fall back to JSON.  The envelope is `k8s\\0` and a
`runtime.Unknown`.  Zero values that Go always writes are dropped where its JSON would drop them.
"""

import base64
import datetime
import struct
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import Struct

from fairway.engine.apiserver.codec.wire import WIRE, Code, Field, Message

MEDIA_TYPE: Final = "application/vnd.kubernetes.protobuf"
MAGIC: Final = b"k8s\x00"
DEPTH_MAX: Final = 100

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
# What a map entry means whose value is not written.
_ABSENT: Final[dict[Code, Any]] = {Code.BOOL: False, Code.INT: 0, Code.DOUBLE: 0.0, Code.QUANTITY: "0"}


class Decoded(Struct, frozen=True):
    """An object, and how many fields were skipped because their numbers are not in the table."""

    object: dict[str, Any]
    skipped: int


def decode(body: bytes) -> dict[str, Any]:
    """The object in a body.  Raises ValueError, with a sentence for the client, when it cannot be read."""
    return read(body).object


def read(body: bytes) -> Decoded:
    """The object in a body and the count of unknown fields.  Raises ValueError."""
    if body[:4] != MAGIC:
        raise ValueError("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    api_version, kind, raw = _envelope(body[4:])
    if not kind:
        raise ValueError("Object 'Kind' is missing in the protobuf message")
    name = WIRE.kind(api_version, kind)
    if not name:
        raise ValueError(f'no kind "{kind}" is registered for version "{api_version}" in protobuf')
    reader = _Reader()
    content = reader.message(WIRE.message(name), raw, 0)
    return Decoded({"kind": kind, "apiVersion": api_version} | content, reader.skipped)


def _envelope(data: bytes) -> tuple[str, str, bytes]:
    """The API version, the kind and the bytes of the object in a `runtime.Unknown`."""
    api_version = kind = ""
    raw = b""
    for number, value in _fields(data):
        if number == 1:
            meta = dict(_fields(_chunk(value)))
            api_version, kind = _string(meta.get(1, b"")), _string(meta.get(2, b""))
        elif number == 2:
            raw = _chunk(value)
        elif number == 3 and value:
            raise ValueError(f"the encoding {_string(value)!r} of a protobuf body is not supported")
    return api_version, kind, raw


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Each field of a message: its number, and an int (varint), a float (fixed64) or bytes.  Raises ValueError."""
    at, end = 0, len(data)
    while at < end:
        tag = data[at]
        if tag < 128:
            at += 1
        else:
            tag, at = _varint(data, at)
        number, form = tag >> 3, tag & 7
        if form == _BYTES:
            length, at = _varint(data, at)
            if at + length > end:
                raise ValueError("unexpected EOF in a protobuf message")
            yield number, data[at : at + length]
            at += length
        elif form == _VARINT:
            value, at = _varint(data, at)
            yield number, value
        elif form in (_FIXED64, _FIXED32):
            width = 8 if form == _FIXED64 else 4
            if at + width > end:
                raise ValueError("unexpected EOF in a protobuf message")
            yield number, struct.unpack_from("<d" if width == 8 else "<f", data, at)[0]
            at += width
        else:
            raise ValueError(f"proto: illegal wireType {form}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    try:
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, at
            shift += 7
            if shift > 63:
                raise ValueError("proto: integer overflow")
    except IndexError:
        raise ValueError("unexpected EOF in a protobuf message") from None


class _Reader:
    """One walk through a body; counts what it does not know."""

    def __init__(self) -> None:
        self.skipped = 0

    def message(self, message: Message, data: bytes, depth: int) -> dict[str, Any]:
        if depth > DEPTH_MAX:
            raise ValueError("a protobuf message is nested too deeply")
        result: dict[str, Any] = {}
        for number, raw in _fields(data):
            field = message.get(number)
            if field is None:
                self.skipped += 1
            elif field.map:
                key, value = self._map_entry(field, _chunk(raw), depth)
                result.setdefault(field.name, {})[key] = value
            elif field.repeated:
                self._append(result.setdefault(field.name, []), field, raw, depth)
            else:
                self._put(result, field, raw, depth)
        return result

    def _put(self, result: dict[str, Any], field: Field, raw: Any, depth: int) -> None:
        value = self._value(field, raw, depth)
        if field.inline:
            result.update(value)
        elif field.code is Code.MESSAGE and field.name in result:
            result[field.name] = result[field.name] | value  # a message in two parts is one
        elif value is not None and (value or field.keep_zero or field.code is Code.MESSAGE):
            result[field.name] = value

    def _append(self, values: list[Any], field: Field, raw: Any, depth: int) -> None:
        if field.code is Code.INT and isinstance(raw, bytes):
            at = 0
            while at < len(raw):  # packed
                number, at = _varint(raw, at)
                values.append(_signed(number))
        else:
            values.append(self._value(field, raw, depth))

    def _map_entry(self, field: Field, data: bytes, depth: int) -> tuple[str, Any]:
        parts = dict(_fields(data))
        key = _string(parts.get(1, b""))
        if 2 in parts or field.code not in _ABSENT:
            return key, self._value(field, parts.get(2, b""), depth)
        return key, _ABSENT[field.code]

    def _value(self, field: Field, raw: Any, depth: int) -> Any:
        code = field.code
        if code is Code.STRING:
            return _string(raw)
        if code is Code.MESSAGE:
            return self.message(WIRE.message(field.message), _chunk(raw), depth + 1)
        if code is Code.INT:
            return _signed(_number(raw))
        if code is Code.BOOL:
            return bool(_number(raw))
        if code is Code.ALTERNATIVE:
            return self._alternative(field, _chunk(raw), depth)
        return _double(raw) if code is Code.DOUBLE else _scalar(code, _chunk(raw))

    def _alternative(self, field: Field, data: bytes, depth: int) -> Any:
        """A message that in JSON is whichever of its fields is set: `JSONSchemaPropsOrBool` and its like."""
        found = self.message(WIRE.message(field.message), data, depth + 1)
        chosen = [found[name] for name in ("schema", "property", "jSONSchemas") if name in found]
        return chosen[0] if chosen else found.get("allows")


def _scalar(code: Code, data: bytes) -> Any:
    """A message that is a scalar in JSON."""
    if code is Code.BYTES:
        return base64.b64encode(data).decode()
    if code is Code.RAW:
        raw = dict(_fields(data)).get(1, b"")
        return _json(_chunk(raw)) if raw else None
    if code is Code.ITEMS:
        return [_string(value) for number, value in _fields(data) if number == 1]
    parts = dict(_fields(data))
    if code is Code.QUANTITY:
        return _string(parts.get(1, b"")) or "0"
    if code is Code.INT_OR_STRING:
        return _string(parts.get(3, b"")) if parts.get(1) else _signed(_number(parts.get(2, 0)))
    return _time(code, parts)


def _json(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"JSON inside a protobuf message: {error}") from None


def _time(code: Code, parts: dict[int, Any]) -> str | None:
    """Seconds and nanoseconds as RFC 3339; none for Go's zero time."""
    seconds, nanos = _signed(_number(parts.get(1, 0))), _signed(_number(parts.get(2, 0)))
    if not parts:
        return None
    try:
        moment = _EPOCH + datetime.timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError(f"the time {seconds} is out of range") from None
    text = moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    return f"{text}.{nanos // 1000:06d}Z" if code is Code.MICROTIME else f"{text}Z"


def _string(raw: Any) -> str:
    return _chunk(raw).decode()  # UnicodeDecodeError is a ValueError


def _chunk(raw: Any) -> bytes:
    if not isinstance(raw, bytes):
        raise ValueError("proto: wrong wireType for a field of bytes")
    return raw


def _number(raw: Any) -> int:
    if not isinstance(raw, int):
        raise ValueError("proto: wrong wireType for an integer field")
    return raw


def _double(raw: Any) -> float:
    if not isinstance(raw, float):
        raise ValueError("proto: wrong wireType for a double field")
    return raw


def _signed(value: int) -> int:
    """A varint as Go's int64: two's complement, not zigzag."""
    return value - (1 << 64) if value >> 63 else value
