"""Connections that stop speaking HTTP: take one over as a server, ask for one as a client, join two of them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import httptools
import msgspec

from fairway.toolkit.hangup import hung_up
from fairway.toolkit.http_messages import Headers, Response, Upgrade

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Run = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_BUFFER_BYTES = 64 * 1024
_PIECE_BYTES = 64 * 1024
_MOST_HEAD_BYTES = 64 * 1024
_MOST_BODY_BYTES = 1024 * 1024
_LINGER_SECONDS = 3.0


class Switched(msgspec.Struct, frozen=True):
    """The other side answered 101: from now on the streams carry what was asked for."""

    headers: Headers
    streams: Streams


class UpgradeFailed(Exception):
    """The other side did not answer as an HTTP server does."""


def upgrade(run: Run, headers: Headers) -> Upgrade:
    """Answer 101 and let `run` have the connection; it is closed when `run` returns."""
    return Upgrade(lambda: _Taken(run), headers)


class _Taken(asyncio.StreamReaderProtocol):
    """A connection in the hands of a coroutine; what that raises goes to the loop's exception handler."""

    def __init__(self, run: Run) -> None:
        self._reader = asyncio.StreamReader(limit=_BUFFER_BYTES)
        super().__init__(self._reader)
        self._run = run
        self._running: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        loop = asyncio.get_running_loop()
        writer = asyncio.StreamWriter(cast(asyncio.WriteTransport, transport), self, self._reader, loop)
        self._running = loop.create_task(self._main(writer))
        self._running.add_done_callback(self._done)

    async def _main(self, writer: asyncio.StreamWriter) -> None:
        try:
            await self._run(self._reader, writer)
        finally:
            writer.close()

    def _done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            task.get_loop().call_exception_handler({"message": "an upgraded connection failed", "exception": error})


class _Answer:
    """What the parser finds in the head of an answer, and its body if it is an ordinary one."""

    def __init__(self) -> None:
        self.headers: list[tuple[str, str]] = []
        self.body = bytearray()
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


async def ask(streams: Streams, method: str, target: str, headers: Headers) -> Switched | Response:
    """Ask for an upgrade; the ordinary answer when the other side declines. Raises UpgradeFailed, OSError."""
    reader, writer = streams
    lines = [f"{method} {target} HTTP/1.1\r\n", *(f"{name}: {value}\r\n" for name, value in headers), "\r\n"]
    writer.write("".join(lines).encode("latin-1"))
    await writer.drain()
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise UpgradeFailed("no answer") from error
    answer = _Answer()
    parser = httptools.HttpResponseParser(answer)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        return Switched(tuple(answer.headers), streams)
    except httptools.HttpParserError as error:
        raise UpgradeFailed(f"malformed answer: {error}") from error
    if parser.get_status_code() == 101:
        return Switched(tuple(answer.headers), streams)
    await _read_body(reader, parser, answer)
    return Response(parser.get_status_code(), bytes(answer.body), tuple(answer.headers))


async def _read_body(reader: asyncio.StreamReader, parser: httptools.HttpResponseParser, answer: _Answer) -> None:
    try:
        while not answer.complete and len(answer.body) < _MOST_BODY_BYTES:
            data = await reader.read(_PIECE_BYTES)
            if not data:
                return
            parser.feed_data(data)
    except httptools.HttpParserError as error:
        raise UpgradeFailed(f"malformed answer: {error}") from error


async def join(client: Streams, server: Streams) -> None:
    """Copy both ways, never holding more than a buffer's worth, until either side ends; then close both.

    What the server sent before its end still reaches the client; what a client sent before it went away is dropped.
    """
    tasks = [
        asyncio.create_task(_copy(client[0], server[1])),
        asyncio.create_task(_copy(server[0], client[1])),
        asyncio.create_task(hung_up(client[1].get_extra_info("socket").fileno())),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[1] in done and not tasks[2].done():
            tasks[0].cancel()
            await asyncio.gather(tasks[0], return_exceptions=True)
            await _linger(client[0])
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _, writer in (client, server):
            writer.close()


async def _linger(reader: asyncio.StreamReader) -> None:
    """Let the client close first: to close with its bytes unread is a reset, which eats what it has not read yet."""
    try:
        async with asyncio.timeout(_LINGER_SECONDS):
            while await reader.read(_PIECE_BYTES):
                pass
    except (OSError, TimeoutError):
        return


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_PIECE_BYTES):
            writer.write(data)
            await writer.drain()
    except (OSError, RuntimeError):
        return  # either side is gone; uvloop says RuntimeError for a transport that has closed
