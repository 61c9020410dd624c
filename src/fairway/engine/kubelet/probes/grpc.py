"""gRPC checks: `grpc.health.v1.Health/Check` answers SERVING.

One request needs little of HTTP/2: the preface, one HEADERS and one DATA frame out, and the first DATA frame of the
answer back. Header blocks of the answer are skipped, so no HPACK decoder is needed (RFC 9113, gRPC over HTTP/2,
health.proto).
"""

import asyncio
import struct

from fairway.engine.kubelet.probes.result import Result, reason_of

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _END_HEADERS, _ACK, _PADDED = 1, 4, 1, 8
_SERVING = 1
_NAMES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_FRAME_BYTES_MAX = 1 << 20


async def check(host: str, port: int, service: str, *, version: str, timeout_seconds: float) -> Result:
    """Ask once.  Source: upstream `pkg/probe/grpc`."""
    try:
        async with asyncio.timeout(timeout_seconds):
            status = await _ask(host, port, service, version)
    except TimeoutError:
        return Result(False, f'timeout: failed to connect service "{host}:{port}" within {timeout_seconds:g}s')
    except OSError as error:
        return Result(False, f'error: failed to connect service "{host}:{port}": {reason_of(error)}')
    except (asyncio.IncompleteReadError, ValueError) as error:
        return Result(False, f"error: this server does not implement the grpc health protocol ({error})")
    if status == _SERVING:
        return Result(True)
    return Result(False, f'service unhealthy (responded with "{_NAMES.get(status, status)}")')


async def _ask(host: str, port: int, service: str, version: str) -> int:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(_request(f"{host}:{port}", service, version))
        return await _answer(reader, writer)
    finally:
        writer.close()


def _request(authority: str, service: str, version: str) -> bytes:
    name = service.encode()
    message = (b"\x0a" + _varint(len(name)) + name) if name else b""
    headers = _header_block(
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("user-agent", f"kube-probe/{version}"),
    )
    body = struct.pack(">BI", 0, len(message)) + message
    frames = _frame(_SETTINGS, 0, 0, b"") + _frame(_HEADERS, _END_HEADERS, 1, headers)
    return _PREFACE + frames + _frame(_DATA, _END_STREAM, 1, body)


def _header_block(*headers: tuple[str, str]) -> bytes:
    """Literal header fields without indexing and without Huffman coding (RFC 7541, section 6.2.2)."""
    return b"".join(b"\x00" + _text(name) + _text(value) for name, value in headers)


def _text(text: str) -> bytes:
    """A string literal; lengths of 127 and more take the continuation bytes of section 5.1."""
    raw = text.encode("ascii")
    return (bytes([len(raw)]) if len(raw) < 127 else b"\x7f" + _varint(len(raw) - 127)) + raw


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    made.append(number)
    return bytes(made)


def _frame(type: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", type, flags, stream) + payload


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """The serving status in the first message of the answer."""
    message = b""
    while True:
        head = await reader.readexactly(9)
        length = int.from_bytes(head[:3], "big")
        if length > _FRAME_BYTES_MAX:
            raise ValueError("the answer is not HTTP/2")
        payload = await reader.readexactly(length)
        kind, flags = head[3], head[4]
        if kind == _SETTINGS and not flags & _ACK:
            writer.write(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            writer.write(_frame(_PING, _ACK, 0, payload))
        elif kind in (_RST_STREAM, _GOAWAY):
            raise ValueError("the server refused the request")
        elif kind == _DATA:
            message += payload[1 : len(payload) - payload[0]] if flags & _PADDED else payload
            if len(message) >= 5 and len(message) >= 5 + int.from_bytes(message[1:5], "big"):
                return _serving_status(message[5:])
        if kind in (_DATA, _HEADERS) and flags & _END_STREAM:
            raise ValueError("no answer to Check")


def _serving_status(message: bytes) -> int:
    """Field 1 of HealthCheckResponse; absent is 0."""
    return message[1] if len(message) >= 2 and message[0] == 0x08 else 0
