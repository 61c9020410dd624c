"""An HTTP/1.1 server on raw asyncio: TLS with the client's certificate, Unix sockets, streams, upgrades, draining."""

import asyncio
import os
import socket
import ssl
import stat
import traceback
from functools import partial
from pathlib import Path

from fairway.toolkit.http_connection import Connection, Refuse
from fairway.toolkit.http_messages import Handler, Limits, Request, Response, Streamed, refusal
from fairway.toolkit.logs import Log

_SWEEP_SECONDS = 1.0
_HANDSHAKE_SECONDS = 10.0
_BACKLOG = 1024


class HttpServer:
    """Any number of listeners in front of one handler.

    A handler that raises is logged with its traceback and answered with 500; everything else a handler wants to say
    it says with a `Response`. `refuse` makes the answers to requests that never reach the handler. Requests that
    `streamed` picks reach it before their body, which then has no limit but the handler's own.
    """

    def __init__(
        self,
        handler: Handler,
        log: Log,
        *,
        limits: Limits | None = None,
        refuse: Refuse = refusal,
        streamed: Streamed | None = None,
    ) -> None:
        self._handler = handler
        self._log = log
        self._limits = limits or Limits()
        self._refuse = refuse
        self._streamed = streamed
        self._servers: list[asyncio.AbstractServer] = []
        self._paths: list[Path] = []
        self._connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._connections)

    async def listen(self, sock: socket.socket, *, name: str, tls: ssl.SSLContext | None = None) -> None:
        """Serve on a socket that is bound already; requests carry `name` as their listener."""
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        handshake = _HANDSHAKE_SECONDS if tls else None
        make = partial(self._connect, name)
        if sock.family == socket.AF_UNIX:
            server = await loop.create_unix_server(make, sock=sock, ssl=tls, backlog=_BACKLOG)
        else:
            server = await loop.create_server(
                make, sock=sock, ssl=tls, backlog=_BACKLOG, ssl_handshake_timeout=handshake
            )
        self._servers.append(server)
        if self._sweeper is None:
            self._sweep()

    async def listen_unix(self, path: Path, *, name: str, mode: int = 0o600) -> None:
        """Serve on a Unix socket; a socket that a dead process left at `path` is replaced. Raises OSError."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
                path.unlink()
            sock.bind(str(path))
            os.chmod(path, mode)
        except OSError:
            sock.close()
            raise
        self._paths.append(path)
        await self.listen(sock, name=name)

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """Accept no more, let running requests end within `grace_seconds`, then drop what is left."""
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.drain()
        await self._wait_empty(grace_seconds)
        for connection in list(self._connections):
            connection.abort()
        await self._wait_empty(1.0)
        if self._sweeper is not None:
            self._sweeper.cancel()
        for path in self._paths:
            path.unlink(missing_ok=True)

    def _connect(self, name: str) -> Connection:
        limits, closed, failed = self._limits, self._closed, self._failed
        connection = Connection(name, self._handler, limits, self._refuse, closed, failed, self._streamed)
        self._connections.add(connection)
        return connection

    async def _wait_empty(self, seconds: float) -> None:
        self._empty.clear()
        if not self._connections:
            return
        try:
            await asyncio.wait_for(self._empty.wait(), seconds)
        except TimeoutError:
            return

    def _closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    def _failed(self, request: Request, error: Exception) -> Response:
        trace = "".join(traceback.format_exception(error))
        self._log.error("failed to answer", method=request.method, path=request.path, trace=trace)
        return self._refuse(500, "Internal Server Error")

    def _sweep(self) -> None:
        """One timer for all connections: deadlines need no precision, and a timer per request would cost."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self._connections):
            connection.expire(now)
        self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep)


def server_tls(certificate: Path, key: Path, client_ca: Path | None = None) -> ssl.SSLContext:
    """TLS 1.2 or newer; with `client_ca` a client may show a certificate, which then must be signed by it.

    Raises OSError (ssl.SSLError is one) when a file is missing or unreadable.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context
