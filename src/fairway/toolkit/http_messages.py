"""What an HTTP server's handler gets and gives: requests, whole answers, streams and upgrades."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol

import msgspec

from fairway.toolkit.http_incoming import Incoming

Headers = tuple[tuple[str, str], ...]

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_LINE_BREAKS = str.maketrans("\r\n\0", "   ")


class Peer(msgspec.Struct, frozen=True):
    """Who is at the other end: the name of the listener it came through, its address, its certificate's subject.

    `subject` holds (attribute, value) pairs in the certificate's order; None when no verified certificate was shown.
    """

    listener: str
    address: str = ""
    subject: tuple[tuple[str, str], ...] | None = None


class Request:
    """One request with its whole body, or with `incoming` when the server was told to let handlers read this one.

    Header names are lower case; repeated headers are joined with commas.
    """

    __slots__ = ("body", "headers", "incoming", "keep_alive", "method", "minor_version", "path", "peer", "query")

    def __init__(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        peer: Peer | None = None,
    ) -> None:
        self.method = method
        self.path = path
        """As sent, still percent-encoded."""
        self.query = query
        self.headers = headers
        self.body = body
        self.peer = peer or Peer("")
        self.keep_alive = True
        self.minor_version = 1
        self.incoming: Incoming | None = None

    def header(self, name: str) -> str:
        """The value of a header (name in lower case), or an empty string."""
        return self.headers.get(name, "")

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body piece by piece, whether it is here already or still arrives. Raises BodyLost."""
        if self.body:
            yield self.body
        if self.incoming is not None:
            async for piece in self.incoming.pieces():
                yield piece


class Sink(Protocol):
    """Where a stream writes. `write` never waits; `drain` waits until the peer has taken enough."""

    @property
    def buffered_bytes(self) -> int:
        """Written, but not yet taken by the peer's machine."""
        ...

    def write(self, data: bytes) -> None:
        """Queue bytes; silently dropped once the connection is gone."""
        ...

    async def drain(self) -> None:
        """Wait until the buffer is small again."""
        ...

    def abort(self) -> None:
        """Drop the connection and what is buffered."""
        ...


class Response(msgspec.Struct, frozen=True):
    """A whole answer."""

    status: int
    body: bytes = b""
    headers: Headers = ()


class Stream(msgspec.Struct, frozen=True):
    """An answer that is written while it happens; `run` is cancelled when the client goes away.

    With `length_bytes` it must write just so many; otherwise it is sent in chunks.
    """

    status: int
    run: Callable[[Sink], Awaitable[None]]
    headers: Headers = ()
    length_bytes: int | None = None


class Upgrade(msgspec.Struct, frozen=True):
    """`101 Switching Protocols`, then the transport belongs to the protocol made by `protocol`."""

    protocol: Callable[[], asyncio.Protocol]
    headers: Headers = ()


Reply = Response | Stream | Upgrade
Streamed = Callable[[str, str], bool]
"""Whether the handler reads the body of a request (method, path) itself, while it arrives."""
Handler = Callable[[Request], Reply | Awaitable[Reply]]
"""Answers one request; an immediate reply costs no task."""


class Limits(msgspec.Struct, frozen=True):
    """What one connection may take."""

    header_bytes: int = 64 * 1024
    body_bytes: int = 3 * 1024 * 1024
    request_timeout_seconds: float = 60.0
    """From a request's first byte to its last; from the opening of a connection to its first request."""
    idle_timeout_seconds: float = 120.0
    write_timeout_seconds: float = 60.0
    """How long a whole answer may wait for a peer that does not read."""


def refusal(status: int, message: str) -> Response:
    """The plain text answer to a request that could not be read."""
    return Response(status, f"{message}\n".encode(), (("Content-Type", "text/plain; charset=utf-8"),))


def head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """Status line and headers, with the date and the final empty line; line breaks in values become blanks."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\nDate: {_date()}\r\n"]
    lines += [f"{name}: {value.translate(_LINE_BREAKS)}\r\n" for name, value in headers]
    lines.append("\r\n")
    return "".join(lines).encode("latin-1", "replace")


def _date() -> str:
    return _date_of(int(time.time()))


_dates: dict[int, str] = {}


def _date_of(second: int) -> str:
    """The text is made once per second, not once per answer."""
    if second not in _dates:
        _dates.clear()
        _dates[second] = formatdate(second, usegmt=True)
    return _dates[second]
