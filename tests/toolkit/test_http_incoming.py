"""Request bodies that the handler reads while they arrive."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from fairway.toolkit.http_incoming import BodyLost
from fairway.toolkit.http_messages import Handler, Limits, Request, Response, Sink, Stream
from fairway.toolkit.http_server import HttpServer
from fairway.toolkit.logs import Log

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
LIMITS = Limits(body_bytes=1000, request_timeout_seconds=60)


@asynccontextmanager
async def serving(path: Path, handler: Handler, limits: Limits = LIMITS) -> AsyncIterator[Streams]:
    server = HttpServer(
        handler, Log("test", io.StringIO()), limits=limits, streamed=lambda method, _: method == "PATCH"
    )
    await server.listen_unix(path, name="local")
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        yield reader, writer
    finally:
        writer.close()
        await server.stop(0.1)


async def count(request: Request) -> Response:
    size_bytes = 0
    try:
        async for piece in request.pieces():
            size_bytes += len(piece)
    except BodyLost as error:
        return Response(408, str(error).encode())
    return Response(200, f"{request.method} {size_bytes}".encode())


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


async def test_larger_than_the_limit_and_the_connection_goes_on(tmp_path: Path) -> None:
    async with serving(tmp_path / "s", count) as (reader, writer):
        for _ in range(2):
            writer.write(b"PATCH / HTTP/1.1\r\nContent-Length: 8000000\r\n\r\n")
            for _ in range(8):
                writer.write(b"x" * 1_000_000)
                await writer.drain()
            assert await answer(reader) == (200, b"PATCH 8000000")
        writer.write(b"PATCH / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        assert await answer(reader) == (200, b"PATCH 5")
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc")
        assert await answer(reader) == (200, b"POST 3")
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n")
        assert (await answer(reader))[0] == 413


async def test_requests_in_one_packet(tmp_path: Path) -> None:
    async with serving(tmp_path / "s", count) as (reader, writer):
        writer.write(
            b"PATCH /1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcPATCH /2 HTTP/1.1\r\nContent-Length: 2\r\n\r\nde"
        )
        writer.write(b"PATCH /3 HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        assert [await answer(reader) for _ in range(3)] == [(200, b"PATCH 3"), (200, b"PATCH 2"), (200, b"PATCH 0")]


async def test_continue_is_said_before_the_body(tmp_path: Path) -> None:
    async with serving(tmp_path / "s", count) as (reader, writer):
        writer.write(b"PATCH / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert await answer(reader) == (200, b"PATCH 2")


async def test_an_early_answer_closes_the_connection(tmp_path: Path) -> None:
    async def refuse(request: Request) -> Response:
        return Response(403, b"no")

    async with serving(tmp_path / "s", refuse) as (reader, writer):
        writer.write(b"PATCH / HTTP/1.1\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 100_000)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 403") and b"Connection: close" in head
        assert await asyncio.wait_for(reader.read(), 60) == b"no"


@pytest.mark.parametrize("how", ["stalls", "vanishes"])
async def test_a_body_that_never_ends(tmp_path: Path, how: str) -> None:
    lost = asyncio.Event()

    async def read(request: Request) -> Response:
        try:
            return await count(request)
        finally:
            lost.set()

    limits = msgspec.structs.replace(LIMITS, request_timeout_seconds=0.2 if how == "stalls" else 60)
    async with serving(tmp_path / "s", read, limits) as (reader, writer):
        writer.write(b"PATCH / HTTP/1.1\r\nContent-Length: 50\r\n\r\nabc")
        if how == "stalls":
            assert (await answer(reader))[0] == 408
        else:
            await writer.drain()
            writer.transport.abort()
        await asyncio.wait_for(lost.wait(), 60)


async def test_an_answer_of_known_length_is_not_chunked(tmp_path: Path) -> None:
    async def send(request: Request) -> Stream:
        async def run(sink: Sink) -> None:
            sink.write(b"hello ")
            await sink.drain()
            sink.write(b"world")

        return Stream(200, run, length_bytes=11)

    async with serving(tmp_path / "s", send) as (reader, writer):
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert await answer(reader) == (200, b"hello world")
        writer.write(b"HEAD / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Content-Length: 11" in head
        assert await answer(reader) == (200, b"hello world")
