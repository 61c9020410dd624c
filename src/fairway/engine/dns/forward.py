"""Names outside the cluster: ask an upstream server, remember what it said for as long as it said."""

import asyncio
import os
import socket
from collections import OrderedDict

import msgspec

from fairway.engine.dns.config import Config
from fairway.engine.dns.message import Malformed, Name, Query, Rcode, Reply, Section, Type, parse_reply
from fairway.engine.dns.render import encode_query
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

log = logs.get("dns")
_REMEMBERED_MAX = 10_000
_POSITIVE_SECONDS_MAX = 3600
_NEGATIVE_SECONDS_MAX = 300  # RFC 2308 section 5 allows hours; people wait for a new name to appear
_IN_FLIGHT_MAX = 1000
_ROUNDS = 2
_REPLY_BYTES_MAX = 65535

_Key = tuple[Name, int, int, bool, bool, bool]


class Remembered(msgspec.Struct, frozen=True):
    """An upstream's answer and when, on the monotonic clock, it came and ends."""

    reply: Reply
    since_seconds: float
    until_seconds: float


class Forwarder:
    """Upstream servers behind a cache; the one that answered last is asked first."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._upstreams = [host_and_port(text) for text in config.upstreams]
        self._failing: set[tuple[str, int]] = set()
        self._remembered: OrderedDict[_Key, Remembered] = OrderedDict()
        self._asking: dict[_Key, asyncio.Task[Reply | None]] = {}

    def remembered(self, query: Query) -> tuple[Reply, int] | None:
        """An answer that is still good and its age in seconds."""
        key = _key(query)
        found = self._remembered.get(key)
        now = self._clock.monotonic()
        if found is None or found.until_seconds <= now:
            return None
        self._remembered.move_to_end(key)
        return found.reply, int(now - found.since_seconds)

    async def ask(self, query: Query) -> Reply | None:
        """A fresh answer; None when no upstream gives one.  The same question is asked once at a time."""
        key = _key(query)
        task = self._asking.get(key)
        if task is None:
            if len(self._asking) >= _IN_FLIGHT_MAX:
                return None
            task = asyncio.create_task(self._ask(query))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(task)

    async def _ask(self, query: Query) -> Reply | None:
        last: Reply | None = None
        for _ in range(_ROUNDS):
            for upstream in tuple(self._upstreams):
                try:
                    async with asyncio.timeout(self._config.upstream_timeout_seconds):
                        last = await self._exchange(upstream, query)
                except (OSError, TimeoutError, Malformed) as error:
                    self._demote(upstream, error)
                    continue
                self._praise(upstream)
                if last.rcode in (Rcode.NOERROR, Rcode.NXDOMAIN):
                    self._remember(query, last)
                    return last
        return last

    def _demote(self, upstream: tuple[str, int], error: Exception) -> None:
        """Ask it last from now on; said once, not for every question that fails."""
        self._upstreams.sort(key=lambda each: each == upstream)
        if upstream not in self._failing:
            self._failing.add(upstream)
            log.warning("lost_upstream", server=upstream[0], error=f"{type(error).__name__}: {error}")

    def _praise(self, upstream: tuple[str, int]) -> None:
        if upstream in self._failing:
            self._failing.remove(upstream)
            log.info("upstream_back", server=upstream[0])

    async def _exchange(self, upstream: tuple[str, int], query: Query) -> Reply:
        number = int.from_bytes(os.urandom(2), "big")
        packet = encode_query(number, query)
        # A socket for each question: its random port is what an attacker has to guess besides the id (RFC 5452).
        with await self._config.datagram(*upstream) as sock:
            reply = await _over_udp(sock, packet, number, query)
        if reply.truncated:
            with await self._config.connect(*upstream) as sock:
                reply = await _over_tcp(sock, packet, number, query)
        return reply

    def _remember(self, query: Query, reply: Reply) -> None:
        seconds = lifetime_seconds(reply)
        if seconds <= 0:
            return
        now = self._clock.monotonic()
        self._remembered[_key(query)] = Remembered(reply, now, now + seconds)
        if len(self._remembered) > _REMEMBERED_MAX:
            self._remembered.popitem(last=False)


def host_and_port(text: str) -> tuple[str, int]:
    """`192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1` or `[2001:db8::1]:5353` to host and port."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return host, int(port.lstrip(":") or 53)
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, int(port)
    return text, 53


def lifetime_seconds(reply: Reply) -> int:
    """How long an answer may be remembered; an absence as its SOA record says (RFC 2308 section 5)."""
    answers = [entry.ttl_seconds for entry in reply.entries if entry.section == Section.ANSWER]
    if reply.rcode == Rcode.NOERROR and answers:
        return min(*answers, _POSITIVE_SECONDS_MAX)
    for entry in reply.entries:
        if entry.section == Section.AUTHORITY and entry.type == Type.SOA and entry.end - entry.data_offset >= 4:
            minimum = int.from_bytes(reply.packet[entry.end - 4 : entry.end], "big")
            return min(entry.ttl_seconds, minimum, _NEGATIVE_SECONDS_MAX)
    return 0


def _key(query: Query) -> _Key:
    edns = query.edns
    return query.name, query.type, query.klass, edns is not None, bool(edns and edns.dnssec_ok), query.checking_disabled


async def _over_udp(sock: socket.socket, packet: bytes, number: int, query: Query) -> Reply:
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    await loop.sock_sendall(sock, packet)
    while True:
        try:
            reply = parse_reply(await loop.sock_recv(sock, _REPLY_BYTES_MAX))
        except Malformed:
            continue  # perhaps forged: the true answer may still come
        if _answers(reply, number, query):
            return reply


async def _over_tcp(sock: socket.socket, packet: bytes, number: int, query: Query) -> Reply:
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    await loop.sock_sendall(sock, len(packet).to_bytes(2, "big") + packet)
    size = int.from_bytes(await _exactly(sock, 2), "big")
    reply = parse_reply(await _exactly(sock, size))
    if not _answers(reply, number, query) or reply.truncated:
        raise Malformed("it answers another question")
    return reply


async def _exactly(sock: socket.socket, count: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < count:
        chunk = await loop.sock_recv(sock, count - len(data))
        if not chunk:
            raise ConnectionResetError("the server closed the connection early")
        data += chunk
    return data


def _answers(reply: Reply, number: int, query: Query) -> bool:
    same_question = reply.name == query.name and reply.type == query.type
    return reply.id == number and same_question and reply.question_end == 12 + len(query.question)
