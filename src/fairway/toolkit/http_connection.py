"""One HTTP/1.1 connection of a server: requests in, replies out, one at a time and in order."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, cast

import httptools

from fairway.toolkit.http_incoming import Incoming
from fairway.toolkit.http_messages import (
    Handler,
    Limits,
    Peer,
    Reply,
    Request,
    Response,
    Stream,
    Streamed,
    Upgrade,
    head,
)

Refuse = Callable[[int, str], Response]
"""Makes the answer to a request that breaks a limit or the protocol: (status, message)."""

_DISCARD_SECONDS = 5.0
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class _StreamSink:
    """Frames what a stream writes; chunked unless the client speaks HTTP/1.0."""

    def __init__(self, connection: "Connection", *, chunked: bool, mute: bool) -> None:
        self._connection = connection
        self._chunked = chunked
        self._mute = mute

    @property
    def buffered_bytes(self) -> int:
        transport = self._connection.transport
        return 0 if transport is None else transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        transport = self._connection.transport
        if transport is None or self._mute or not data:
            return
        transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    async def drain(self) -> None:
        await self._connection.drained()

    def abort(self) -> None:
        self._connection.abort()

    def end(self) -> None:
        if self._connection.transport is not None and self._chunked and not self._mute:
            self._connection.transport.write(b"0\r\n\r\n")


class Connection(asyncio.Protocol):
    """The state of one connection. `deadline` is the loop time at which it is given up, None while a request runs."""

    def __init__(
        self,
        listener: str,
        handler: Handler,
        limits: Limits,
        refuse: Refuse,
        closed: Callable[["Connection"], None],
        failed: Callable[[Request, Exception], Response],
        streamed: Streamed | None = None,
    ) -> None:
        self.transport: asyncio.Transport | None = None
        self.deadline: float | None = None
        self._listener = listener
        self._handler = handler
        self._limits = limits
        self._refuse = refuse
        self._closed = closed
        self._failed = failed
        self._streamed = streamed
        self._incoming: Incoming | None = None
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._peer = Peer(listener)
        self._requests: deque[Request] = deque()
        self._busy = False
        self._draining = False
        self._streaming = False
        self._discarding = False
        self._reading_paused = False
        self._paused_since: float | None = None
        self._waiting_for_drain: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._after_upgrade: bytearray | None = None
        self._begin()

    # --- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._peer = _peer(self._listener, self.transport)
        self.deadline = self._loop.time() + self._limits.request_timeout_seconds

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self._requests.clear()
        self.resume_writing()
        if self._incoming is not None:
            self._incoming.fail()
        if self._task is not None:
            self._task.cancel()
        self._closed(self)

    def data_received(self, data: bytes) -> None:
        if self._discarding:
            return
        if self._after_upgrade is not None:
            self._keep_for_upgrade(data)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._on_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._give_up(400, f"malformed HTTP request: {error}")
        else:
            if self._started and not self._complete_head:
                self._header_bytes += len(data)
            if self._header_bytes > self._limits.header_bytes:
                self._give_up(431, f"request header is larger than {self._limits.header_bytes} bytes")

    def pause_writing(self) -> None:
        self._paused_since = self._loop.time()

    def resume_writing(self) -> None:
        self._paused_since = None
        waiting, self._waiting_for_drain = self._waiting_for_drain, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)
        if not self._busy and self._requests:
            self._next()

    # --- the parser's side

    def on_message_begin(self) -> None:
        self._begin()
        self._started = True
        if not self._busy:
            self.deadline = self._loop.time() + self._limits.request_timeout_seconds

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        self._complete_head, self._header_bytes = True, 0
        length = self._headers.get("content-length", "0")
        if self._streamed is not None and not self._busy and not self._requests and self._is_streamed():
            self._begin_streamed()
        elif length.isdecimal() and int(length) > self._limits.body_bytes:
            self._too_large()
        elif self._headers.get("expect", "").lower() == "100-continue" and self.transport is not None:
            self.transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        if self._discarding:
            return
        if self._incoming is not None:
            self._incoming.feed(body)
            return
        self._body += body
        if len(self._body) > self._limits.body_bytes:
            self._too_large()

    def on_message_complete(self) -> None:
        if self._discarding:
            return
        self._started, self._complete_head, self._header_bytes = False, False, 0
        if self._incoming is not None:
            incoming, self._incoming = self._incoming, None
            incoming.end()
            return
        request = self._request()
        self._requests.append(request)
        if not self._busy:
            self._next()
        else:
            self._pause_reading()  # pipelined: read on when the running one is answered

    def _request(self) -> Request:
        path, _, query = self._url.decode("latin-1").partition("?")
        method = self._parser.get_method().decode("ascii")
        request = Request(method, path, query, self._headers, bytes(self._body), self._peer)
        request.keep_alive = self._parser.should_keep_alive()
        request.minor_version = 0 if self._parser.get_http_version() == "1.0" else 1
        return request

    def _is_streamed(self) -> bool:
        assert self._streamed is not None
        path = self._url.decode("latin-1").partition("?")[0]
        return self._streamed(self._parser.get_method().decode("ascii"), path)

    def _begin_streamed(self) -> None:
        """Hand the request over before its body is here."""
        if self._headers.get("expect", "").lower() == "100-continue" and self.transport is not None:
            self.transport.write(_CONTINUE)
        request = self._request()
        stall_seconds = self._limits.request_timeout_seconds
        request.incoming = self._incoming = Incoming(self._pause_reading, self._resume_reading, stall_seconds)
        self._busy, self.deadline = True, None
        self._answer(request)

    # --- one request at a time

    def _begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._header_bytes = 0
        self._complete_head = False
        self._started = False

    def _next(self) -> None:
        """Answer waiting requests until one takes time."""
        while self._requests and not self._busy and self._paused_since is None and self.transport is not None:
            request = self._requests.popleft()
            self._busy, self.deadline = True, None
            self._answer(request)
        if not self._requests:
            self._resume_reading()

    def _pause_reading(self) -> None:
        if self.transport is not None and not self._reading_paused and not self.transport.is_closing():
            self.transport.pause_reading()
            self._reading_paused = True

    def _resume_reading(self) -> None:
        if self.transport is not None and self._reading_paused and not self.transport.is_closing():
            self.transport.resume_reading()
            self._reading_paused = False

    def _answer(self, request: Request) -> None:
        try:
            reply = self._handler(request)
        except Exception as error:  # the server's one broad catch: a handler's defect must not end the connection
            reply = self._failed(request, error)
        if isinstance(reply, Response):
            self._respond(request, reply)
        else:
            self._task = self._loop.create_task(self._answer_later(request, reply))

    async def _answer_later(self, request: Request, reply: Reply | Awaitable[Reply]) -> None:
        try:
            made: Reply
            if isinstance(reply, (Response, Stream, Upgrade)):
                made = reply
            else:
                made = await self._await(request, reply)
            if isinstance(made, Stream):
                await self._stream(request, made)
        finally:
            self._task = None
        if self.transport is None:
            return
        if isinstance(made, Response):
            self._respond(request, made)
        elif isinstance(made, Upgrade):
            self._upgrade(made)
        self._next()

    async def _await(self, request: Request, reply: Awaitable[Reply]) -> Reply:
        try:
            return await reply
        except Exception as error:  # see _answer
            return self._failed(request, error)

    def _respond(self, request: Request, response: Response) -> None:
        if self.transport is None:
            return
        self._mind_the_rest(request)
        bodiless = response.status in (204, 304)
        length = () if bodiless else (("Content-Length", str(len(response.body))),)
        start = head(response.status, (*response.headers, *length, *self._connection_header(request)))
        if request.method == "HEAD" or bodiless or not response.body:
            self.transport.write(start)
        elif len(response.body) < 16384:
            self.transport.write(start + response.body)
        else:
            self.transport.writelines((start, response.body))
        self._finish(request)

    async def _stream(self, request: Request, stream: Stream) -> None:
        if self.transport is None:
            return
        self._mind_the_rest(request)
        chunked = request.minor_version > 0 and stream.length_bytes is None
        framing = (("Transfer-Encoding", "chunked"),) if chunked else ()
        if stream.length_bytes is not None:
            framing = (("Content-Length", str(stream.length_bytes)),)
        elif not chunked:
            request.keep_alive = False
        self.transport.write(head(stream.status, (*stream.headers, *framing, *self._connection_header(request))))
        sink = _StreamSink(self, chunked=chunked, mute=request.method == "HEAD")
        self._streaming = True
        try:
            await stream.run(sink)
        except Exception as error:  # see _answer; the head is out, so only cutting it off tells the client
            self._failed(request, error)
            self.abort()
        else:
            sink.end()
            self._finish(request)
        finally:
            self._streaming = False

    def _mind_the_rest(self, request: Request) -> None:
        """An answer before the end of the body: what still comes is not the next request."""
        if request.incoming is not None and not request.incoming.complete:
            request.keep_alive = False

    def _connection_header(self, request: Request) -> tuple[tuple[str, str], ...]:
        if self._draining or not request.keep_alive:
            return (("Connection", "close"),)
        return () if request.minor_version else (("Connection", "keep-alive"),)

    def _finish(self, request: Request) -> None:
        self._busy = False
        if self.transport is None:
            return
        if request.incoming is not None and not request.incoming.complete:
            self._discard()
        elif self._draining or not request.keep_alive:
            self.transport.close()
        elif self._after_upgrade is not None and not self._requests:
            self._decline_upgrade()
        else:
            self.deadline = self._loop.time() + self._limits.idle_timeout_seconds

    # --- upgrades

    def _on_upgrade(self, rest: bytes) -> None:
        """The parser stops behind a request that asks for another protocol; what follows waits for the handler."""
        if self._busy or self._requests:
            self._after_upgrade = bytearray(rest)
        else:
            self._parser = httptools.HttpRequestParser(self)
            if rest:
                self.data_received(rest)

    def _keep_for_upgrade(self, data: bytes) -> None:
        assert self._after_upgrade is not None
        self._after_upgrade += data
        if len(self._after_upgrade) > self._limits.header_bytes:
            self._pause_reading()

    def _decline_upgrade(self) -> None:
        """The handler answered in HTTP: go on reading requests."""
        rest, self._after_upgrade = bytes(self._after_upgrade or b""), None
        self._parser = httptools.HttpRequestParser(self)
        self._begin()
        self.deadline = self._loop.time() + self._limits.idle_timeout_seconds
        self._resume_reading()
        if rest:
            self.data_received(rest)

    def _upgrade(self, upgrade: Upgrade) -> None:
        assert self.transport is not None
        transport, rest = self.transport, bytes(self._after_upgrade or b"")
        transport.write(head(101, (*upgrade.headers, ("Connection", "Upgrade"))))
        protocol = upgrade.protocol()
        self._resume_reading()
        self.transport = None
        self._closed(self)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if rest:
            protocol.data_received(rest)

    # --- ends

    def _too_large(self) -> None:
        self._give_up(413, f"Request entity too large: limit is {self._limits.body_bytes}")

    def _give_up(self, status: int, message: str) -> None:
        """Answer and close. What the client still sends is thrown away, else a reset could eat the answer."""
        if self._discarding or self.transport is None:
            return
        self._discarding = True
        self._requests.clear()
        if self._busy:
            self.abort()
            return
        response = self._refuse(status, message)
        extra = (("Content-Length", str(len(response.body))), ("Connection", "close"))
        self.transport.write(head(status, (*response.headers, *extra)) + response.body)
        self._discard()

    def _discard(self) -> None:
        """Answered; what the client still sends is thrown away for a while, then the connection is closed."""
        assert self.transport is not None
        self._discarding = True
        self._incoming = None
        self._resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.deadline = self._loop.time() + _DISCARD_SECONDS

    async def drained(self) -> None:
        """Wait until the write buffer is small again or the connection is gone."""
        if self._paused_since is None or self.transport is None:
            return
        if self._waiting_for_drain is None:
            self._waiting_for_drain = self._loop.create_future()
        await self._waiting_for_drain

    def abort(self) -> None:
        """Drop the connection at once."""
        if self.transport is not None:
            self.transport.abort()

    def drain(self) -> None:
        """Take no further request; end a stream at once, and close as soon as a running request is answered."""
        self._draining = True
        self._requests.clear()
        if self._streaming and self._task is not None:
            self._task.cancel()
        if self.transport is not None and (self._streaming or not self._busy):
            self.transport.close()

    def expire(self, now: float) -> None:
        """Give up when the deadline is over, or when nobody reads the answer."""
        if self.transport is None:
            return
        paused = self._paused_since
        if paused is not None and not self._busy and now - paused > self._limits.write_timeout_seconds:
            self.abort()
        elif self.deadline is not None and now > self.deadline:
            self._expire_reading()

    def _expire_reading(self) -> None:
        assert self.transport is not None
        if self._discarding:
            self.abort()
        elif self._started:
            self._give_up(408, "the request did not arrive in time")
        else:
            self.transport.close()


def _peer(listener: str, transport: asyncio.Transport) -> Peer:
    name: Any = transport.get_extra_info("peername")
    address = f"{name[0]}:{name[1]}" if isinstance(name, tuple) else ""
    certificate: Any = transport.get_extra_info("peercert")
    if not certificate:
        return Peer(listener, address)
    return Peer(listener, address, tuple(pair for group in certificate["subject"] for pair in group))
