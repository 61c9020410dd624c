"""The HTTP server: framing, limits, streams, upgrades and draining over real sockets."""

import asyncio
import io
import socket
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest

from fairway.toolkit.http_messages import Handler, Limits, Reply, Request, Response, Sink, Stream, Upgrade, head
from fairway.toolkit.http_server import HttpServer
from fairway.toolkit.logs import Log

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Bench:
    """A server on a Unix socket and connections to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = io.StringIO()
        self.server: HttpServer | None = None
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, handler: Handler, limits: Limits | None = None) -> None:
        self.server = HttpServer(handler, Log("test", self.log), limits=limits)
        await self.server.listen_unix(self.path, name="local")

    async def connect(self) -> Streams:
        streams = await asyncio.open_unix_connection(str(self.path))
        self.writers.append(streams[1])
        return streams

    async def ask(self, raw: bytes) -> bytes:
        """Send bytes, read until the server closes."""
        reader, writer = await self.connect()
        writer.write(raw)
        return await asyncio.wait_for(reader.read(), 60)

    async def close(self) -> None:
        for writer in self.writers:
            writer.close()
        if self.server is not None:
            await self.server.stop(0.1)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path / "s")
    yield made
    await made.close()


def echo(request: Request) -> Reply:
    return Response(200, f"{request.method} {request.path}?{request.query} {len(request.body)}".encode())


async def later(request: Request) -> Reply:
    await asyncio.sleep(0)
    return echo(request)


def get(path: str, *lines: str, close: bool = True) -> bytes:
    ends = ["Connection: close"] if close else []
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *lines, *ends, "", ""]).encode()


@pytest.mark.parametrize("handler", [echo, later], ids=["immediate", "awaited"])
async def test_answers_pipelined_requests_in_order(bench: Bench, handler: Handler) -> None:
    await bench.serve(handler)
    answer = await bench.ask(get("/a?x=1", close=False) + get("/b", close=False) + get("/c"))
    bodies = [part for part in answer.split(b"\r\n") if part.startswith(b"GET")]
    assert b"".join(bodies).count(b"GET") == 3
    assert answer.index(b"/a?x=1") < answer.index(b"/b?") < answer.index(b"/c?")


async def test_reads_chunked_bodies(bench: Bench) -> None:
    await bench.serve(echo)
    raw = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert (await bench.ask(raw)).endswith(b"POST /? 5")


async def test_a_head_request_gets_no_body(bench: Bench) -> None:
    await bench.serve(echo)
    answer = await bench.ask(b"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n")
    assert b"Content-Length: 9" in answer


async def test_http_1_0_closes_unless_asked(bench: Bench) -> None:
    await bench.serve(echo)
    answer = await bench.ask(b"GET / HTTP/1.0\r\n\r\n")
    assert b"Connection: close" in answer


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        pytest.param(b"nonsense\r\n\r\n", b"400 Bad Request", id="malformed"),
        pytest.param(b"GET / HTTP/1.1\r\nA: " + b"x" * 2000, b"431 Request Header Fields Too Large", id="header"),
        pytest.param(b"PUT / HTTP/1.1\r\nContent-Length: 5000\r\n\r\n", b"413 ", id="announced body"),
        pytest.param(
            b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + b"x" * 2000 + b"\r\n", b"413 ", id="chunks"
        ),
    ],
)
async def test_refuses_what_breaks_a_limit(bench: Bench, raw: bytes, status: bytes) -> None:
    await bench.serve(echo, Limits(header_bytes=1000, body_bytes=1000))
    answer = await bench.ask(raw)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"Connection: close" in answer


async def test_gives_up_on_a_request_that_never_ends(bench: Bench) -> None:
    await bench.serve(echo, Limits(request_timeout_seconds=0.05))
    assert (await bench.ask(b"GET / HTTP/1.1\r\nHost")).startswith(b"HTTP/1.1 408")


async def test_closes_idle_connections(bench: Bench) -> None:
    await bench.serve(echo, Limits(idle_timeout_seconds=0.05))
    assert (await bench.ask(get("/", close=False))).startswith(b"HTTP/1.1 200")


async def test_says_continue_to_who_waits(bench: Bench) -> None:
    await bench.serve(echo)
    reader, writer = await bench.connect()
    writer.write(b"PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"ab")
    assert (await reader.read()).endswith(b"PUT /? 2")


async def test_a_defect_in_a_handler_is_500_and_logged(bench: Bench) -> None:
    def broken(request: Request) -> Reply:
        raise KeyError("oops")

    await bench.serve(broken)
    answer = await bench.ask(get("/", close=False) + get("/"))
    assert answer.count(b"500 Internal Server Error") == 2
    assert "KeyError" in bench.log.getvalue()


async def test_streams_in_chunks_and_goes_on_with_the_connection(bench: Bench) -> None:
    async def run(sink: Sink) -> None:
        sink.write(b"one")
        await sink.drain()
        sink.write(b"two!")

    await bench.serve(lambda request: Stream(200, run) if request.path == "/s" else echo(request))
    answer = await bench.ask(get("/s", close=False) + get("/after"))
    assert b"3\r\none\r\n4\r\ntwo!\r\n0\r\n\r\nHTTP/1.1 200" in answer


async def test_a_stream_is_cancelled_when_the_client_goes(bench: Bench) -> None:
    ended = asyncio.Event()

    async def run(sink: Sink) -> None:
        sink.write(b"x")
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    await bench.serve(lambda request: Stream(200, run))
    reader, writer = await bench.connect()
    writer.write(get("/", close=False))
    await reader.readuntil(b"x\r\n")
    writer.close()
    await asyncio.wait_for(ended.wait(), 60)


async def test_a_stream_waits_for_a_slow_reader(bench: Bench) -> None:
    produced = 0

    async def run(sink: Sink) -> None:
        nonlocal produced
        for _ in range(100):
            sink.write(b"x" * 100_000)
            produced += 1
            await sink.drain()

    await bench.serve(lambda request: Stream(200, run))
    reader, writer = await bench.connect()
    writer.write(get("/"))
    await reader.readuntil(b"\r\n\r\n")
    assert produced < 100
    assert len(await reader.read()) > 10_000_000
    assert produced == 100


class Upper(asyncio.Protocol):
    """A protocol after an upgrade: sends back capitals."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data.upper())


@pytest.mark.parametrize("wait", [False, True], ids=["immediate", "awaited"])
async def test_an_upgrade_hands_over_the_transport_and_early_bytes(bench: Bench, wait: bool) -> None:
    async def accept(request: Request) -> Reply:
        await asyncio.sleep(0)
        return Upgrade(Upper, (("Upgrade", "shout"),))

    def handler(request: Request) -> Reply | Awaitable[Reply]:
        return accept(request) if wait else Upgrade(Upper, (("Upgrade", "shout"),))

    await bench.serve(handler)
    reader, writer = await bench.connect()
    writer.write(get("/", "Connection: Upgrade", "Upgrade: shout", close=False) + b"early")
    started = await reader.readuntil(b"\r\n\r\n")
    assert started.startswith(b"HTTP/1.1 101 Switching Protocols")
    assert await reader.readexactly(5) == b"EARLY"
    writer.write(b"later")
    assert await reader.readexactly(5) == b"LATER"


@pytest.mark.parametrize("handler", [echo, later], ids=["immediate", "awaited"])
async def test_an_unwanted_upgrade_is_answered_in_http(bench: Bench, handler: Handler) -> None:
    await bench.serve(handler)
    answer = await bench.ask(get("/", "Connection: Upgrade", "Upgrade: h2c", close=False) + get("/next"))
    assert answer.count(b"HTTP/1.1 200") == 2


async def test_stop_lets_a_running_request_end(bench: Bench) -> None:
    entered, finish = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> Reply:
        entered.set()
        await finish.wait()
        return echo(request)

    await bench.serve(slow)
    asking = asyncio.create_task(bench.ask(get("/slow", close=False)))
    await entered.wait()
    assert bench.server is not None
    stopping = asyncio.create_task(bench.server.stop(60))
    await asyncio.sleep(0)
    finish.set()
    answer = await asking
    await stopping
    assert answer.endswith(b"GET /slow? 0")
    assert b"Connection: close" in answer
    assert not bench.path.exists()


async def test_serves_on_a_socket_that_was_opened_before(bench: Bench) -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    bench.server = HttpServer(echo, Log("test", bench.log))
    await bench.server.listen(sock, name="tcp")
    reader, writer = await asyncio.open_connection(*sock.getsockname())
    bench.writers.append(writer)
    writer.write(get("/"))
    assert b"200 OK" in await reader.read()


def test_header_values_cannot_break_lines() -> None:
    text = head(200, (("A", "b\r\nSet-Cookie: x"),))
    assert b"\r\nSet-Cookie" not in text
