"""WebSocket frames without I/O: bytes in, pieces of messages out, and back (RFC 6455).

Data is handed on as it arrives, not when its frame is complete, so a huge message costs no memory.
"""

import base64
import hashlib
import struct

import msgspec

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

NORMAL, GOING_AWAY, PROTOCOL_ERROR, BAD_DATA, TOO_BIG, FAILED = 1000, 1001, 1002, 1007, 1009, 1011
"""Why a connection is closed."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MOST_CONTROL_BYTES = 125
_KNOWN = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})


class WebSocketError(Exception):
    """The other side broke the protocol; `code` is what to close the connection with."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Piece(msgspec.Struct, frozen=True):
    """A part of a TEXT or BINARY message, or a whole CLOSE, PING or PONG."""

    opcode: int
    data: bytes
    first: bool = True
    last: bool = True


def accept_key(key: str) -> str:
    """The Sec-WebSocket-Accept that answers a Sec-WebSocket-Key."""
    return base64.b64encode(hashlib.sha1(key.encode("latin-1") + _GUID, usedforsecurity=False).digest()).decode()


def encode(opcode: int, data: bytes, *, mask: bytes = b"", last: bool = True) -> bytes:
    """One frame; clients must give a `mask` of four random bytes, servers none."""
    length, bit = len(data), 0x80 if mask else 0
    if length < 126:
        head = bytes((opcode | (0x80 if last else 0), length | bit))
    elif length < 1 << 16:
        head = struct.pack(">BBH", opcode | (0x80 if last else 0), 126 | bit, length)
    else:
        head = struct.pack(">BBQ", opcode | (0x80 if last else 0), 127 | bit, length)
    return head + mask + (_masked(data, mask) if mask else data)


def encode_close(code: int, reason: str = "") -> bytes:
    """A server's close frame."""
    return encode(CLOSE, struct.pack(">H", code) + reason.encode()[: _MOST_CONTROL_BYTES - 2])


class Decoder:
    """Frames of one direction; `masked` for what clients send."""

    def __init__(self, *, masked: bool = True) -> None:
        self._masked = masked
        self._buffer = bytearray()
        self._left = -1
        """Payload bytes of the present frame that have not come yet; -1 before its head is complete."""
        self._opcode = CONTINUATION
        self._final = False
        self._mask = b""
        self._message = CONTINUATION
        """What continuation frames go on with."""
        self._started = False

    def feed(self, data: bytes) -> list[Piece]:
        """What `data` completes or adds. Raises WebSocketError; the decoder is then of no use any more."""
        self._buffer += data
        pieces: list[Piece] = []
        while self._advance(pieces):
            pass
        return pieces

    def _advance(self, pieces: list[Piece]) -> bool:
        if self._left < 0:
            if not self._read_head():
                return False
        elif not self._buffer and self._left:
            return False
        return self._read_control(pieces) if self._opcode >= CLOSE else self._read_data(pieces)

    def _read_head(self) -> bool:
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        opcode, length, final = buffer[0] & 0x0F, buffer[1] & 0x7F, bool(buffer[0] & 0x80)
        if buffer[0] & 0x70 or opcode not in _KNOWN:
            raise WebSocketError(PROTOCOL_ERROR, "a frame has reserved bits or an unknown opcode")
        if bool(buffer[1] & 0x80) != self._masked:
            raise WebSocketError(PROTOCOL_ERROR, "clients must mask their frames, servers must not")
        wide = {126: 2, 127: 8}.get(length, 0)
        size = 2 + wide + (4 if self._masked else 0)
        if len(buffer) < size:
            return False
        if wide:
            length = int.from_bytes(buffer[2 : 2 + wide], "big")
        self._check(opcode, length, final)
        self._mask = bytes(buffer[2 + wide : size])
        self._opcode, self._final, self._left = opcode, final, length
        del buffer[:size]
        return True

    def _check(self, opcode: int, length: int, final: bool) -> None:
        if opcode >= CLOSE:
            if length > _MOST_CONTROL_BYTES or not final:
                raise WebSocketError(PROTOCOL_ERROR, "a control frame is too long or fragmented")
        elif length >= 1 << 63:
            raise WebSocketError(TOO_BIG, "a frame is too long")
        elif (opcode == CONTINUATION) != (self._message != CONTINUATION):
            raise WebSocketError(PROTOCOL_ERROR, "a message begins inside another one, or goes on without a beginning")
        elif opcode != CONTINUATION:
            self._message, self._started = opcode, False

    def _read_control(self, pieces: list[Piece]) -> bool:
        if len(self._buffer) < self._left:
            return False
        pieces.append(Piece(self._opcode, self._take()))
        self._left = -1
        return True

    def _read_data(self, pieces: list[Piece]) -> bool:
        data = self._take()
        ended = self._left == 0
        last = ended and self._final
        if data or last:
            pieces.append(Piece(self._message, data, not self._started, last))
            self._started = True
        if last:
            self._message = CONTINUATION
        if ended:
            self._left = -1
        return ended

    def _take(self) -> bytes:
        """What is there of the present frame, unmasked."""
        data = bytes(self._buffer[: self._left])
        del self._buffer[: len(data)]
        self._left -= len(data)
        if not self._masked:
            return data
        plain, turn = _masked(data, self._mask), len(data) % 4
        self._mask = self._mask[turn:] + self._mask[:turn]
        return plain


def _masked(data: bytes, mask: bytes) -> bytes:
    """XOR with the repeated mask, as one big number: thousands of times faster than byte by byte."""
    size = len(data)
    pattern = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(pattern, "little")).to_bytes(size, "little")
