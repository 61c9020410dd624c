"""SPDY/3.1 frames without I/O: bytes in, events out, and back (draft-mbelshe-httpbis-spdy-00, section 2).

Data is handed on as it arrives. Flow control windows are not kept, as the peers that still speak SPDY keep none.
"""

import struct
import zlib
from collections.abc import Mapping

import msgspec

PROTOCOL_ERROR, INVALID_STREAM, REFUSED_STREAM, CANCEL, INTERNAL_ERROR = 1, 2, 3, 5, 6
"""Why a stream is reset."""

_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _PING, _GOAWAY, _HEADERS = 1, 2, 3, 6, 7, 8
_VERSION = 3
_FIN = 0x01
_ID = 0x7FFFFFFF
_HEAD_BYTES = 8
_MOST_CONTROL_BYTES = 64 * 1024
_MOST_HEADER_BYTES = 256 * 1024
_MOST_DATA_BYTES = (1 << 24) - 1

_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status"
)
_MORE_WORDS = ("200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin")
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative "
    "Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 "
    "Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec "
    "00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,"
    "application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset="
    "iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = (
    b"".join(struct.pack(">I", len(word)) + word.encode() for word in (*_WORDS.split(), *_MORE_WORDS)) + _TAIL.encode()
)
"""What both sides' header compression starts with; its Adler-32 is 0xe3c6a7c2."""


class SpdyError(Exception):
    """The other side broke the protocol; the connection is of no use any more."""


class Opened(msgspec.Struct, frozen=True):
    """SYN_STREAM: the other side opened a stream; `fin` says that it will send nothing on it."""

    stream: int
    headers: Mapping[str, str]
    fin: bool


class Replied(msgspec.Struct, frozen=True):
    """SYN_REPLY: the other side accepted a stream of ours."""

    stream: int
    headers: Mapping[str, str]
    fin: bool


class Data(msgspec.Struct, frozen=True):
    """Bytes of a stream; `fin` says that they are its last."""

    stream: int
    data: bytes
    fin: bool


class Reset(msgspec.Struct, frozen=True):
    """RST_STREAM: the stream is over in both directions."""

    stream: int
    status: int


class Pinged(msgspec.Struct, frozen=True):
    """PING: to be sent back as it is when the other side began it."""

    id: int


class GoneAway(msgspec.Struct, frozen=True):
    """GOAWAY: the other side takes no new streams."""

    last_stream: int


Event = Opened | Replied | Data | Reset | Pinged | GoneAway


class Decoder:
    """Frames of one direction of one connection; frames that mean nothing to us are left out."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._stream = 0
        """The stream whose data frame is being read; 0 between frames."""
        self._left = 0
        self._fin = False

    def feed(self, data: bytes) -> list[Event]:
        """What `data` completes or adds. Raises SpdyError."""
        self._buffer += data
        events: list[Event] = []
        while self._advance(events):
            pass
        return events

    def _advance(self, events: list[Event]) -> bool:
        if self._stream:
            return self._read_data(events)
        if len(self._buffer) < _HEAD_BYTES:
            return False
        first, second = struct.unpack_from(">II", self._buffer)
        flags, length = second >> 24, second & 0xFFFFFF
        if not first & 0x80000000:
            return self._begin_data(first & _ID, length, bool(flags & _FIN), events)
        if (first >> 16) & 0x7FFF != _VERSION:
            raise SpdyError(f"the frame is of SPDY version {(first >> 16) & 0x7FFF}, not {_VERSION}")
        if length > _MOST_CONTROL_BYTES:
            raise SpdyError(f"a control frame of {length} bytes is too long")
        if len(self._buffer) < _HEAD_BYTES + length:
            return False
        body = bytes(self._buffer[_HEAD_BYTES : _HEAD_BYTES + length])
        del self._buffer[: _HEAD_BYTES + length]
        event = self._control(first & 0xFFFF, bool(flags & _FIN), body)
        if event is not None:
            events.append(event)
        return True

    def _begin_data(self, stream: int, length: int, fin: bool, events: list[Event]) -> bool:
        if not stream:
            raise SpdyError("data for stream 0")
        del self._buffer[:_HEAD_BYTES]
        if length:
            self._stream, self._left, self._fin = stream, length, fin
        else:
            events.append(Data(stream, b"", fin))
        return True

    def _read_data(self, events: list[Event]) -> bool:
        if not self._buffer:
            return False
        data = bytes(self._buffer[: self._left])
        del self._buffer[: len(data)]
        self._left -= len(data)
        events.append(Data(self._stream, data, self._fin and not self._left))
        if not self._left:
            self._stream = 0
        return True

    def _control(self, kind: int, fin: bool, body: bytes) -> Event | None:
        try:
            match kind:
                case 1:
                    (stream,) = struct.unpack_from(">I", body)
                    return Opened(_valid(stream), self._headers(body[10:]), fin)
                case 2:
                    (stream,) = struct.unpack_from(">I", body)
                    return Replied(_valid(stream), self._headers(body[4:]), fin)
                case 3:
                    stream, status = struct.unpack_from(">II", body)
                    return Reset(_valid(stream), status)
                case 6:
                    return Pinged(struct.unpack_from(">I", body)[0])
                case 7:
                    return GoneAway(struct.unpack_from(">I", body)[0] & _ID)
                case 8:
                    self._headers(body[4:])  # nobody reads them, but they are part of the compression
        except struct.error as error:
            raise SpdyError(f"a control frame of type {kind} is too short") from error
        return None

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._inflate.decompress(block, _MOST_HEADER_BYTES)
        except zlib.error as error:
            raise SpdyError(f"a header block cannot be decompressed: {error}") from error
        if self._inflate.unconsumed_tail:
            raise SpdyError("a header block is too long")
        return _pairs(plain)


def _valid(stream: int) -> int:
    if not stream & _ID:
        raise SpdyError("a control frame is about stream 0")
    return stream & _ID


def _pairs(plain: bytes) -> dict[str, str]:
    """Names in lower case; several values of one name are separated by NUL bytes, as in the block."""
    (count,) = struct.unpack_from(">I", plain)
    at, headers = 4, {}
    for _ in range(count):
        name, at = _text(plain, at)
        headers[name.lower()], at = _text(plain, at)
    return headers


def _text(plain: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">I", plain, at)
    end = at + 4 + length
    if end > len(plain):
        raise SpdyError("a header block is cut off")
    return plain[at + 4 : end].decode("latin-1"), end


class Encoder:
    """Makes the frames of one direction of one connection; their order of making must be their order of sending."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def open(self, stream: int, headers: Mapping[str, str], *, fin: bool = False) -> bytes:
        """SYN_STREAM; clients use odd numbers, servers even ones, each in ascending order."""
        return _frame(_SYN_STREAM, struct.pack(">IIH", stream, 0, 0) + self._block(headers), fin)

    def reply(self, stream: int, headers: Mapping[str, str] | None = None, *, fin: bool = False) -> bytes:
        """SYN_REPLY."""
        return _frame(_SYN_REPLY, struct.pack(">I", stream) + self._block(headers or {}), fin)

    def _block(self, headers: Mapping[str, str]) -> bytes:
        parts = [struct.pack(">I", len(headers))]
        for name, value in headers.items():
            for text in (name.lower().encode("latin-1"), value.encode("latin-1")):
                parts += (struct.pack(">I", len(text)), text)
        return self._deflate.compress(b"".join(parts)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    @staticmethod
    def data(stream: int, data: bytes, *, fin: bool = False) -> bytes:
        """A data frame; `data` must be shorter than 16 MiB."""
        if len(data) > _MOST_DATA_BYTES:
            raise ValueError("too much data for one frame")
        return struct.pack(">II", stream, (_FIN if fin else 0) << 24 | len(data)) + data

    @staticmethod
    def reset(stream: int, status: int) -> bytes:
        """RST_STREAM."""
        return _frame(_RST_STREAM, struct.pack(">II", stream, status))

    @staticmethod
    def ping(id: int) -> bytes:
        """PING."""
        return _frame(_PING, struct.pack(">I", id))

    @staticmethod
    def go_away(last_stream: int) -> bytes:
        """GOAWAY, status OK."""
        return _frame(_GOAWAY, struct.pack(">II", last_stream, 0))


def _frame(kind: int, body: bytes, fin: bool = False) -> bytes:
    return struct.pack(">HHI", 0x8000 | _VERSION, kind, (_FIN if fin else 0) << 24 | len(body)) + body
