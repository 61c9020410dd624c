"""proxy-body-size at every HAProxy: bodies that announce their length, and bodies that do not."""

import asyncio
from typing import Any

import pytest

LIMIT = 100_000
CHUNK = b"1000\r\n" + b"x" * 4096 + b"\r\n"


class Counting:
    """A server that counts bodies: `whole` are those that came to their end, `broken` those that did not."""

    def __init__(self) -> None:
        self.whole: list[int] = []
        self.broken: list[int] = []
        self.ended = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> tuple[str, int]:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[:2]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await self._body(reader, head)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _body(self, reader: asyncio.StreamReader, head: bytes) -> None:
        count = 0
        try:
            if b"transfer-encoding" in head:
                while size := int(await reader.readline(), 16):
                    count += len(await reader.readexactly(size + 2)) - 2
                await reader.readline()
            elif b"content-length: " in head:
                count = len(await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0])))
            self.whole.append(count)
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            self.broken.append(count)
            raise
        finally:
            self.ended.set()

    def close(self) -> None:
        self.server.close()
        for writer in self._writers:
            writer.close()


@pytest.fixture
async def counting() -> Any:
    server = Counting()
    yield server
    server.close()
    await asyncio.sleep(0)


async def served(edge: Any, make: Any, counting: Counting) -> None:
    raw = make.ingress("a", ("a.test", "/", "Prefix", "web"), annotations={"proxy-body-size": str(LIMIT)})
    await edge.apply([raw, *make.service("web", await counting.start())])


async def answer_to(edge: Any, *pieces: bytes) -> bytes:
    """What comes back while the pieces are sent; the head of the first answer."""
    reader, writer = await edge.connect()
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return bytes(await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60))
    finally:
        writer.close()


HEAD = b"POST / HTTP/1.1\r\nHost: a.test\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ((HEAD + b"Content-Length: %d\r\n\r\n" % LIMIT, b"x" * LIMIT), 200),
        ((HEAD + b"Content-Length: %d\r\n\r\n" % (LIMIT + 1),), 413),
        ((CHUNKED, *[CHUNK] * 24, b"0\r\n\r\n"), 200),
        ((CHUNKED, *[CHUNK] * 25), 413),
        ((HEAD + b"Upgrade: x\r\nConnection: upgrade\r\nTransfer-Encoding: chunked\r\n\r\n", *[CHUNK] * 25), 413),
        ((b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",), 200),
    ],
    ids=["fits", "announced", "chunked fits", "chunked", "chunked upgrade", "none"],
)
async def test_no_body_is_longer_than_allowed(
    any_edge: Any, make: Any, counting: Counting, pieces: tuple[bytes, ...], status: int
) -> None:
    await served(any_edge, make, counting)
    assert int((await answer_to(any_edge, *pieces)).split()[1]) == status
    if status == 200:
        assert counting.broken == [] and counting.whole[0] <= LIMIT
    else:
        assert counting.whole == []


async def test_the_server_is_told_that_a_body_broke_off(any_edge: Any, make: Any, counting: Counting) -> None:
    await served(any_edge, make, counting)
    await answer_to(any_edge, CHUNKED, *[CHUNK] * 25)
    await asyncio.wait_for(counting.ended.wait(), 60)
    assert counting.whole == [] and len(counting.broken) == 1


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """RFC 9113, 4.1."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


@pytest.mark.parametrize(("size", "most"), [(60_000, 0), (4 * LIMIT, LIMIT)])
async def test_http2_bodies_without_a_length(
    any_edge: Any, make: Any, counting: Counting, size: int, most: int
) -> None:
    """Literal HPACK fields without an index; the window of a stream is 64 KB until the edge widens it."""
    await served(any_edge, make, counting)
    fields = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a.test"))
    block = b"".join(b"\x00" + bytes([len(name)]) + name + bytes([len(text)]) + text for name, text in fields)
    reader, writer = await any_edge.connect()
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, block))
    left, window = size, 65_535
    found = b""
    while not found:
        while left and window:
            piece = min(left, window, 16_384)
            left, window = left - piece, window - piece
            writer.write(frame(0, 1 if not left else 0, 1, b"x" * piece))
        head = await asyncio.wait_for(reader.readexactly(9), 60)
        payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
        if head[3] == 8 and int.from_bytes(head[5:9], "big") == 1:
            window += int.from_bytes(payload, "big")
        elif head[3] in (1, 3, 7):
            found = head[3:4] + payload
    writer.close()
    assert counting.whole == ([] if most else [size])
    if not most:
        assert found[0] == 1 and b"\x88" in found[:3]  # :status 200 of the static table


async def test_a_changed_protocol_has_no_limit(any_edge: Any, make: Any) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n")
        while piece := await reader.read(65536):
            writer.write(piece)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    raw = make.ingress("a", ("a.test", "/", "Prefix", "web"), annotations={"proxy-body-size": "10"})
    await any_edge.apply([raw, *make.service("web", server.sockets[0].getsockname()[:2])])
    reader, writer = await any_edge.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n")
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    for _ in range(3):
        writer.write(b"y" * 50_000)
        assert await asyncio.wait_for(reader.readexactly(50_000), 60) == b"y" * 50_000
    writer.close()
    server.close()
    await asyncio.sleep(0)
