"""Sockets of the host for a cluster that has none: made outside, handed in by SCM_RIGHTS.

One request is one message `{"id", "verb", "host", "port"}` on a SOCK_SEQPACKET pair; the answer carries the same id
and either a socket or an error. `connect` gives a connected TCP socket, `datagram` a connected UDP one, `listen` a
listener, `bind` a UDP socket with an address of its own. Those two kinds are kept here, so that an engine that starts
again gets the same ones, until `release` and `unbind`; `held` and `bound` name them. `base` assembles the base image
whose name stands for the host and gives a stream of what that says. `addresses` tells which ones the host has.
"""

import asyncio
import os
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from fairway.toolkit import fds

_MESSAGE_BYTES_MAX = 1 << 17
_CONNECT_SECONDS = 20.0


class Request(msgspec.Struct, frozen=True):
    """What the inside asks for."""

    id: int
    verb: str
    host: str
    port: int


class Answer(msgspec.Struct, frozen=True):
    """What the outside says; without an error a socket comes with it."""

    id: int
    errno: int = 0
    error: str = ""
    held: tuple[tuple[str, int], ...] = ()


def listener(host: str, port: int) -> socket.socket:
    """A listening TCP socket.  Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(4096)
    except OSError:
        sock.close()
        raise
    return sock


def receiver(host: str, port: int) -> socket.socket:
    """A UDP socket bound to an address.  Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def local_addresses(trie: str) -> tuple[str, ...]:
    """The IPv4 addresses of a machine but for loopback, from the text of its /proc/net/fib_trie."""
    found: dict[str, None] = {}
    address = ""
    for line in trie.splitlines():
        words = line.split()
        if words[:1] == ["|--"]:
            address = words[1]
        elif words == ["/32", "host", "LOCAL"] and not address.startswith("127."):
            found[address] = None
    return tuple(found)


def _addresses() -> tuple[tuple[str, int], ...]:
    try:
        trie = Path("/proc/net/fib_trie").read_text()
    except OSError:
        return ()  # a kernel without it; nothing else tells all addresses without a privilege
    return tuple((address, 0) for address in local_addresses(trie))


class _Kept:
    """The sockets of one kind that are kept for the inside, by address."""

    def __init__(self, make: Callable[[str, int], socket.socket]) -> None:
        self._make = make
        self._sockets: dict[tuple[str, int], socket.socket] = {}
        self._changing = threading.Lock()

    def copy(self, host: str, port: int) -> socket.socket:
        """A copy of the one socket of that address.  Raises OSError."""
        with self._changing:
            if (host, port) not in self._sockets:
                self._sockets[host, port] = self._make(host, port)
            return self._sockets[host, port].dup()

    def close(self, host: str, port: int) -> None:
        with self._changing:
            if kept := self._sockets.pop((host, port), None):
                kept.close()

    def close_all(self) -> None:
        with self._changing:
            for kept in self._sockets.values():
                kept.close()
            self._sockets.clear()

    def names(self) -> tuple[tuple[str, int], ...]:
        with self._changing:
            return tuple(self._sockets)


class BrokerServer:
    """The outer end; runs in the launcher, one short-lived thread per request, since name look-ups block."""

    def __init__(self, channel: socket.socket, base: Callable[[str], socket.socket] | None = None) -> None:
        self.channel = channel
        self._base = base
        self._listeners = _Kept(listener)
        self._receivers = _Kept(receiver)

    def serve_one(self) -> bool:
        """Take one request; False when the inside is gone."""
        payload, extra = fds.receive(self.channel, _MESSAGE_BYTES_MAX)
        for fd in extra:
            os.close(fd)
        if not payload:
            self._listeners.close_all()
            self._receivers.close_all()
            return False
        threading.Thread(target=self._answer, args=(payload,), daemon=True).start()
        return True

    def _answer(self, payload: bytes) -> None:
        request = msgspec.json.decode(payload, type=Request)
        if request.verb == "addresses":
            fds.send(self.channel, msgspec.json.encode(Answer(request.id, held=_addresses())))
            return
        if request.verb in ("release", "held", "unbind", "bound"):
            kept = self._listeners if request.verb in ("release", "held") else self._receivers
            if request.verb in ("release", "unbind"):
                kept.close(request.host, request.port)
            fds.send(self.channel, msgspec.json.encode(Answer(request.id, held=kept.names())))
            return
        try:
            sock = self._make(request)
        except OSError as error:
            answer = Answer(request.id, error.errno or 1, error.strerror or str(error))
            fds.send(self.channel, msgspec.json.encode(answer))
            return
        with sock:
            fds.send(self.channel, msgspec.json.encode(Answer(request.id)), (sock.fileno(),))

    def _make(self, request: Request) -> socket.socket:
        match request.verb:
            case "connect":
                return socket.create_connection((request.host, request.port), timeout=_CONNECT_SECONDS)
            case "listen":
                return self._listeners.copy(request.host, request.port)
            case "bind":
                return self._receivers.copy(request.host, request.port)
            case "base" if self._base is not None:
                return self._base(request.host)
            case "datagram":
                family = socket.AF_INET6 if ":" in request.host else socket.AF_INET
                sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                sock.connect((request.host, request.port))
                return sock
            case verb:
                raise OSError(22, f"unknown verb {verb}")


class Broker:
    """The inner end; runs in the engine's event loop."""

    def __init__(self, channel: socket.socket) -> None:
        channel.setblocking(False)
        self._channel = channel
        # Answers to a process that held this descriptor before carry ids from before: start somewhere else.
        self._next_id = int.from_bytes(os.urandom(4), "big") << 16
        self._waiting: dict[int, asyncio.Future[tuple[Answer, socket.socket | None]]] = {}
        asyncio.get_running_loop().add_reader(channel.fileno(), self._readable)

    async def connect(self, host: str, port: int) -> socket.socket:
        """A TCP connection from the host's network.  Raises OSError."""
        return await self._ask("connect", host, port)

    async def listen(self, host: str, port: int) -> socket.socket:
        """A TCP listener in the host's network, the same one until `release`.  Raises OSError."""
        return await self._ask("listen", host, port)

    async def release(self, host: str, port: int) -> None:
        """Give a listener back: nobody listens there any more once all copies are closed.  Raises OSError."""
        await self._exchange("release", host, port)

    async def held(self) -> tuple[tuple[str, int], ...]:
        """The listeners that were asked for and not given back, also by an earlier engine.  Raises OSError."""
        answer, _ = await self._exchange("held", "", 0)
        return answer.held

    async def bind(self, host: str, port: int) -> socket.socket:
        """A UDP socket bound in the host's network, the same one until `unbind`.  Raises OSError."""
        return await self._ask("bind", host, port)

    async def unbind(self, host: str, port: int) -> None:
        """Give a bound socket back.  Raises OSError."""
        await self._exchange("unbind", host, port)

    async def bound(self) -> tuple[tuple[str, int], ...]:
        """The bound sockets that were asked for and not given back, also by an earlier engine.  Raises OSError."""
        answer, _ = await self._exchange("bound", "", 0)
        return answer.held

    async def datagram(self, host: str, port: int) -> socket.socket:
        """A UDP socket of the host's network, connected to one peer.  Raises OSError."""
        return await self._ask("datagram", host, port)

    async def base(self, recipe: str) -> socket.socket:
        """A stream of what the making of a base image says.  Raises OSError."""
        return await self._ask("base", recipe, 0)

    async def addresses(self) -> tuple[str, ...]:
        """The host's own IPv4 addresses, as they are now, without loopback.  Raises OSError."""
        answer, _ = await self._exchange("addresses", "", 0)
        return tuple(address for address, _ in answer.held)

    async def dial(
        self, host: str, port: int, ssl_context: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Streams over a connection from the host's network, with TLS when a context is given.  Raises OSError."""
        sock = await self.connect(host, port)
        name = host if ssl_context else None
        return await asyncio.open_connection(sock=sock, ssl=ssl_context, server_hostname=name)

    async def _ask(self, verb: str, host: str, port: int) -> socket.socket:
        _, sock = await self._exchange(verb, host, port)
        if sock is None:
            raise OSError(22, f"{verb}: no socket came with the answer")
        return sock

    async def _exchange(self, verb: str, host: str, port: int) -> tuple[Answer, socket.socket | None]:
        self._next_id += 1
        number = self._next_id
        future: asyncio.Future[tuple[Answer, socket.socket | None]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            fds.send(self._channel, msgspec.json.encode(Request(number, verb, host, port)))
            async with asyncio.timeout(_CONNECT_SECONDS + 5):
                return await future
        finally:
            self._waiting.pop(number, None)

    def _readable(self) -> None:
        try:
            payload, handles = fds.receive(self._channel, _MESSAGE_BYTES_MAX)
        except BlockingIOError:
            return
        if not payload:
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            return
        answer = msgspec.json.decode(payload, type=Answer)
        future = self._waiting.get(answer.id)
        if future is None or future.done():
            for handle in handles:
                os.close(handle)
        elif answer.error:
            future.set_exception(OSError(answer.errno, answer.error))
        else:
            sock = socket.socket(fileno=handles[0]) if handles else None
            if sock is not None:
                sock.setblocking(False)
            future.set_result((answer, sock))
