"""A small HTTP/1.1 client: pooled connections, streaming answers, any way of connecting."""

import asyncio
import ssl
import zlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httptools

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connector = Callable[[], Awaitable[Streams]]
"""Opens one connection to the one place an `HttpClient` talks to. Raises OSError."""
Dialer = Callable[[str, int, ssl.SSLContext | None], Awaitable[Streams]]
"""Opens a connection to any host and port, with TLS when a context is given. Raises OSError."""
Headers = Iterable[tuple[str, str]]

_PIECE_BYTES = 256 * 1024
_LINE_BYTES_MAX = 64 * 1024 * 1024
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})


class HttpError(Exception):
    """A request that got no complete answer."""


class Unreachable(HttpError):
    """No connection could be opened, or it broke before the answer was complete."""


class Timeout(HttpError):
    """No answer within the time limit."""


class ProtocolError(HttpError):
    """The other side does not speak HTTP/1.1 as it should."""


class _Stale(Exception):
    """A pooled connection turned out to be closed before one byte of the answer."""


class _Head:
    """What the parser has seen of one answer."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.pieces: deque[bytes] = deque()
        self.has_head = False
        self.complete = False
        self.status = 0
        self.keep_alive = False
        self.parser = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()
        self.has_head = self.status >= 200 or self.status == 101
        if not self.has_head:
            self.headers = {}
        self.keep_alive = self.parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self.pieces.append(body)

    def on_message_complete(self) -> None:
        self.complete = self.has_head

    @property
    def ends_with_connection(self) -> bool:
        """No length was announced: the end of the connection is the end of the body."""
        return "content-length" not in self.headers and "chunked" not in self.headers.get("transfer-encoding", "")


class _Connection:
    """One open connection; used by one request at a time."""

    def __init__(self, streams: Streams) -> None:
        self.reader, self.writer = streams
        self.used = False

    def usable(self) -> bool:
        return not (self.reader.at_eof() or self.reader.exception() or self.writer.is_closing())

    def close(self) -> None:
        self.writer.close()

    async def send(self, message: bytes) -> None:
        """Write a whole request.  Raises Unreachable."""
        try:
            self.writer.write(message)
            await self.writer.drain()
        except (OSError, RuntimeError) as error:
            # uvloop raises RuntimeError for a transport that closed since it was last looked at.
            raise Unreachable(f"connection lost: {error}") from error

    async def pump(self, head: _Head) -> None:
        """Feed the parser with what arrives next; sets `head.complete` when the answer ends."""
        try:
            data = await self.reader.read(_PIECE_BYTES)
        except OSError as error:
            raise Unreachable(f"connection lost: {error}") from error
        if data:
            try:
                head.parser.feed_data(data)
            except httptools.HttpParserUpgrade:
                head.complete, head.keep_alive = True, False
            except httptools.HttpParserError as error:
                raise ProtocolError(f"malformed answer: {error}") from error
        elif head.has_head and head.ends_with_connection:
            head.complete, head.keep_alive = True, False
        else:
            raise Unreachable("connection closed before the answer was complete")


class Response:
    """One answer; its body streams. Read it to the end or close it, else its connection stays taken."""

    def __init__(
        self,
        head: _Head,
        connection: _Connection,
        release: Callable[[_Connection, bool], None],
        timeout_seconds: float | None,
    ) -> None:
        self.status = head.status
        self.headers: Mapping[str, str] = head.headers
        self._head = head
        self._connection: _Connection | None = connection
        self._release = release
        self._timeout_seconds = timeout_seconds
        gzip = head.headers.get("content-encoding", "").lower() in ("gzip", "x-gzip")
        self._inflate = zlib.decompressobj(31) if gzip else None
        self._settle()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def read(self) -> bytes:
        """The whole (rest of the) body; the request's time limit applies once more. Raises HttpError."""
        if self._connection is None:
            return b"".join([self._decode(piece) for piece in self._drain()])
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return b"".join([piece async for piece in self.iter_bytes()])
        except TimeoutError:
            raise Timeout("the body did not arrive in time") from None

    async def iter_bytes(self) -> AsyncIterator[bytes]:
        """Pieces of the body as they arrive, without a time limit. Raises HttpError."""
        try:
            while True:
                for piece in self._drain():
                    if decoded := self._decode(piece):
                        yield decoded
                if self._connection is None:
                    return
                await self._connection.pump(self._head)
                self._settle()
        finally:
            self._finish(reusable=False)

    async def iter_lines(self) -> AsyncIterator[bytes]:
        """Lines of the body as they arrive, without their line ends. Raises HttpError."""
        rest = b""
        pieces = self.iter_bytes()
        try:
            async for piece in pieces:
                *lines, last = piece.split(b"\n")
                if lines:
                    lines[0] = rest + lines[0]
                    rest = last
                else:
                    rest += last
                if len(rest) > _LINE_BYTES_MAX:
                    raise ProtocolError("a line of the answer is longer than 64 MiB")
                for line in lines:
                    yield line.removesuffix(b"\r")
        finally:
            self._finish(reusable=False)
        if rest:
            yield rest

    async def aclose(self) -> None:
        """Give up the rest of the body; closes the connection unless the body was complete."""
        self._finish(reusable=False)

    def _drain(self) -> Iterable[bytes]:
        while self._head.pieces:
            yield self._head.pieces.popleft()

    def _decode(self, piece: bytes) -> bytes:
        if self._inflate is None:
            return piece
        plain = b""
        try:
            while piece:
                if self._inflate.eof:
                    self._inflate = zlib.decompressobj(31)
                plain += self._inflate.decompress(piece)
                piece = self._inflate.unused_data
        except zlib.error as error:
            raise ProtocolError(f"the answer is not the gzip it claims to be: {error}") from error
        return plain

    def _settle(self) -> None:
        if self._head.complete:
            self._finish(reusable=self._head.keep_alive)

    def _finish(self, *, reusable: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._release(connection, reusable)


class HttpClient:
    """Requests to one place over at most `max_connections` connections at a time.

    Lasting streams (watches, logs) should be `dedicated`: they get a connection of their own beyond that number.
    """

    def __init__(
        self, connector: Connector, *, host_header: str, max_connections: int = 16, default_headers: Headers = ()
    ) -> None:
        self._connector = connector
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._slots = asyncio.Semaphore(max_connections)
        self._closed = False
        self._common = _lines((("Host", host_header), *default_headers))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def request(
        self,
        method: str,
        target: str,
        *,
        headers: Headers = (),
        body: bytes | None = None,
        timeout_seconds: float | None = 30,
        dedicated: bool = False,
    ) -> Response:
        """Send one request and return when the head of the answer is there.

        `target` is the path with its query, already percent-encoded. `timeout_seconds` covers waiting for a free
        connection, connecting and the head. A pooled connection that the other side had closed is replaced once;
        a request that may change something is sent again only if nothing of it was sent before.
        Raises Unreachable, Timeout, ProtocolError; ValueError for line breaks in target or headers.
        """
        message = self._message(method, target, headers, body)
        try:
            async with asyncio.timeout(timeout_seconds):
                if not dedicated:
                    await self._slots.acquire()
                try:
                    return await self._attempt(method, message, timeout_seconds, dedicated)
                except BaseException:
                    if not dedicated:
                        self._slots.release()
                    raise
        except TimeoutError:
            raise Timeout(f"{method} {target.partition('?')[0]}: no answer within {timeout_seconds} s") from None

    async def aclose(self) -> None:
        """Close every connection, also those of unfinished answers."""
        self._closed = True
        for connection in [*self._open, *self._idle]:
            connection.close()
        self._open.clear()
        self._idle.clear()
        await asyncio.sleep(0)

    def _message(self, method: str, target: str, headers: Headers, body: bytes | None) -> bytes:
        if any(char <= " " or char == "\x7f" for char in target):
            raise ValueError("the request target contains blanks or control characters")
        length = () if body is None else (("Content-Length", str(len(body))),)
        start = f"{method} {target} HTTP/1.1\r\n".encode("ascii")
        return start + self._common + _lines((*headers, *length)) + b"\r\n" + (body or b"")

    async def _attempt(self, method: str, message: bytes, timeout_seconds: float | None, dedicated: bool) -> Response:
        release = self._release_dedicated if dedicated else self._release
        try:
            connection = None if dedicated else self._pooled()
            head, connection = await self._exchange(method, message, connection)
        except _Stale:
            head, connection = await self._exchange(method, message, None)
        return Response(head, connection, release, timeout_seconds)

    def _pooled(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable():
                return connection
            connection.close()
        return None

    async def _exchange(self, method: str, message: bytes, connection: _Connection | None) -> tuple[_Head, _Connection]:
        connection = connection or await self._connect()
        self._open.add(connection)
        head, reused, connection.used = _Head(), connection.used, True
        try:
            await connection.send(message)
            while not head.has_head:
                await connection.pump(head)
        except Unreachable as error:
            self._discard(connection)
            if reused and not head.status and method in _REPEATABLE:
                raise _Stale from error
            raise
        except BaseException:
            self._discard(connection)
            raise
        if method == "HEAD":
            head.complete = True
        return head, connection

    async def _connect(self) -> _Connection:
        if self._closed:
            raise Unreachable("the client is closed")
        try:
            return _Connection(await self._connector())
        except OSError as error:
            raise Unreachable(str(error)) from error

    def _discard(self, connection: _Connection) -> None:
        self._open.discard(connection)
        connection.close()

    def _release(self, connection: _Connection, reusable: bool) -> None:
        self._slots.release()
        if reusable and not self._closed:
            self._open.discard(connection)
            self._idle.append(connection)
        else:
            self._discard(connection)

    def _release_dedicated(self, connection: _Connection, reusable: bool) -> None:
        self._discard(connection)


def unix_connector(path: Path | str) -> Connector:
    """Connections to a Unix socket."""

    async def connect() -> Streams:
        return await asyncio.open_unix_connection(str(path))

    return connect


def tcp_connector(host: str, port: int, ssl_context: ssl.SSLContext | None = None) -> Connector:
    """Connections to a TCP port, with TLS when a context is given."""
    return dialing_connector(dial, host, port, ssl_context)


def dialing_connector(dialer: Dialer, host: str, port: int, ssl_context: ssl.SSLContext | None = None) -> Connector:
    """Connections to one place through a dialer."""

    async def connect() -> Streams:
        return await dialer(host, port, ssl_context)

    return connect


async def dial(host: str, port: int, ssl_context: ssl.SSLContext | None = None) -> Streams:
    """The plain dialer: resolve the name here and connect. Raises OSError (ssl.SSLError is one)."""
    server_hostname = host if ssl_context else None
    return await asyncio.open_connection(host, port, ssl=ssl_context, server_hostname=server_hostname)


def _lines(headers: Sequence[tuple[str, str]]) -> bytes:
    for name, value in headers:
        if any(char in name + value for char in "\r\n\0"):
            raise ValueError(f"header {name!r} contains a line break")
    return "".join([f"{name}: {value}\r\n" for name, value in headers]).encode("latin-1")
