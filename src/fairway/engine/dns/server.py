"""Questions in over UDP and TCP, answers out."""

import asyncio
import errno
import socket
from collections.abc import Coroutine
from typing import cast

import msgspec

from fairway.engine.dns.forward import Forwarder
from fairway.engine.dns.ir import Records, Zone
from fairway.engine.dns.message import (
    Answer,
    Malformed,
    Query,
    Rcode,
    Record,
    Reply,
    Section,
    Type,
    parse_query,
    read_name,
    udp_bytes,
    wire,
)
from fairway.engine.dns.plan import Alias, Elsewhere, answer
from fairway.engine.dns.render import encode, refusal, relay

_CLASS_IN, _CLASS_ANY = 1, 255
_ALIASES_MAX = 8
_TCP_BYTES_MAX = 65535
_TCP_IDLE_SECONDS = 10.0
_ANY_TRIES = 20
_TCP_CONNECTIONS_MAX = 256
_IP_FREEBIND = 15

Response = bytes | Coroutine[None, None, bytes] | None
"""Bytes at once for what the cluster knows, later for what an upstream has to say; None for no answer at all."""


class NameServer:
    """Answers one packet at a time; knows nothing of sockets."""

    def __init__(self, zone: Zone, records: Records, forwarder: Forwarder) -> None:
        self._zone = zone
        self._records = records
        self._forwarder = forwarder

    def respond(self, packet: bytes, *, tcp: bool) -> Response:
        """The answer to a packet."""
        try:
            query = parse_query(packet)
        except Malformed:
            return refusal(packet, Rcode.FORMERR)
        bytes_max = _TCP_BYTES_MAX if tcp else udp_bytes(query)
        rcode = _unsupported(query)
        if rcode:
            return encode(query, Answer(rcode, authoritative=False), bytes_max)
        found = answer(query.name, query.type, self._zone, self._records)
        if isinstance(found, Answer):
            return encode(query, _turned(found, query), bytes_max)
        if isinstance(found, Alias):
            return self._follow(query, found, bytes_max)
        known = self._forwarder.remembered(query)
        return relay(known[0], query, known[1], bytes_max) if known else self._forward(query, bytes_max)

    async def _forward(self, query: Query, bytes_max: int) -> bytes:
        reply = await self._forwarder.ask(query)
        if reply is None:
            return encode(query, Answer(Rcode.SERVFAIL, authoritative=False), bytes_max)
        return relay(reply, query, 0, bytes_max)

    async def _follow(self, query: Query, alias: Alias, bytes_max: int) -> bytes:
        """An alias with what it leads to, since the resolvers in containers do not ask again by themselves."""
        chain = [alias.record]
        found: Answer | Alias | Elsewhere = alias
        while isinstance(found, Alias) and query.type != Type.CNAME and len(chain) <= _ALIASES_MAX:
            target = found.target
            found = answer(target, query.type, self._zone, self._records)
            if isinstance(found, Alias):
                chain.append(found.record)
            elif isinstance(found, Elsewhere):
                found = await self._outside(query, chain[-1])
        end = found if isinstance(found, Answer) else Answer()
        return encode(query, Answer(end.rcode, True, (*chain, *end.answers), end.authority, end.additional), bytes_max)

    async def _outside(self, query: Query, alias: Record) -> Answer:
        """The records of an alias' target in the world outside."""
        target = alias.data[0]
        assert isinstance(target, tuple)
        question = wire(target) + query.question[-4:]
        further = Query(query.id, 0, target, query.type, query.klass, question, recursion_desired=True)
        known = self._forwarder.remembered(further)
        reply = known[0] if known else await self._forwarder.ask(further)
        if reply is None:
            return Answer(Rcode.SERVFAIL)
        rcode = Rcode(reply.rcode) if reply.rcode in (Rcode.NOERROR, Rcode.NXDOMAIN) else Rcode.SERVFAIL
        return Answer(rcode, answers=_chain(reply, query.type, known[1] if known else 0))


def _unsupported(query: Query) -> Rcode:
    if query.edns and query.edns.version:
        return Rcode.BADVERS
    if query.opcode:
        return Rcode.NOTIMP
    return Rcode.NOERROR if query.klass in (_CLASS_IN, _CLASS_ANY) else Rcode.REFUSED


def _turned(found: Answer, query: Query) -> Answer:
    """Addresses starting with another one each time, as clients tend to take the first; a question's id is random."""
    count = len(found.answers)
    if count < 2 or query.type not in (Type.A, Type.AAAA):
        return found
    first = query.id % count
    return msgspec.structs.replace(found, answers=found.answers[first:] + found.answers[:first])


def _chain(reply: Reply, type: int, age_seconds: int) -> tuple[Record, ...]:
    """The aliases and addresses of an answer, to be written anew; other types may hold names and stay out."""
    records = []
    for entry in reply.entries:
        ttl_seconds = max(entry.ttl_seconds - age_seconds, 0)
        if entry.section != Section.ANSWER:
            continue
        if entry.type == Type.CNAME:
            target, _ = read_name(reply.packet, entry.data_offset)
            records.append(Record(entry.name, Type.CNAME, ttl_seconds, (target,)))
        elif entry.type == type and type in (Type.A, Type.AAAA, Type.TXT):
            data = reply.packet[entry.data_offset : entry.end]
            records.append(Record(entry.name, type, ttl_seconds, (data,)))
    return tuple(records)


class _Datagrams(asyncio.DatagramProtocol):
    """Questions over UDP."""

    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, since the standard library's own transport is not declared as one before Python 3.12.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        response = self._server.respond(data, tcp=False)
        if isinstance(response, bytes):
            self._transport.sendto(response, addr)
        elif response is not None:
            task = asyncio.get_running_loop().create_task(self._later(response, addr))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _later(self, response: Coroutine[None, None, bytes], addr: tuple[str, int]) -> None:
        self._transport.sendto(await response, addr)

    def error_received(self, exc: Exception) -> None:
        """An asker went away before its answer came; nothing to do."""


class _Streams:
    """Questions over TCP, each with its length before it (RFC 7766)."""

    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection until it is idle, broken or closed."""
        self._open += 1
        try:
            while self._open <= _TCP_CONNECTIONS_MAX and await self._one(reader, writer):
                pass
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the asker's connection is his own affair
        finally:
            self._open -= 1
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        async with asyncio.timeout(_TCP_IDLE_SECONDS):
            size = int.from_bytes(await reader.readexactly(2), "big")
            packet = await reader.readexactly(size)
        response = self._server.respond(packet, tcp=True)
        if isinstance(response, Coroutine):
            response = await response
        if response is None:
            return False
        writer.write(len(response).to_bytes(2, "big") + response)
        await writer.drain()
        return True


def bind(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """A UDP socket and a TCP listener on one port (0: any that both have free), also before the address is on a link.

    Raises OSError.
    """
    for _ in range(0 if port else _ANY_TRIES):
        try:
            return _both(address, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    return _both(address, port)


def _both(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        for sock in (tcp, udp):
            sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        tcp.bind((address, port))
        udp.bind((address, tcp.getsockname()[1]))
        tcp.listen(128)
    except OSError:
        udp.close()
        tcp.close()
        raise
    return udp, tcp


async def serve(server: NameServer, udp: socket.socket, tcp: socket.socket) -> None:
    """Answer on both sockets until cancelled, then close them."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(server), sock=udp)
    listener = await asyncio.start_server(_Streams(server).serve, sock=tcp)
    try:
        await loop.create_future()
    finally:
        transport.close()
        listener.close()
