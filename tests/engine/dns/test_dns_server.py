"""Real sockets and the real dig."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from fairway.engine.dns import message, render
from fairway.engine.dns.config import Config
from fairway.engine.dns.forward import Forwarder, host_and_port
from fairway.engine.dns.ir import zone
from fairway.engine.dns.message import Answer, Query, Rcode, Record, Type
from fairway.engine.dns.records import CacheRecords
from fairway.engine.dns.server import NameServer, bind, serve
from fairway.toolkit.clock import FakeClock

Dig = Callable[..., Awaitable[str]]
ZONE = zone("cluster.local", "10.96.0.10", ("10.96.0.0/16", "10.42.0.0/16"), 5)
SOA = Record(("com",), Type.SOA, 60, (("ns", "com"), ("host", "com"), bytes(16) + (30).to_bytes(4, "big")))


class Upstream:
    """A name server for example.com that counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bool]] = []
        self.rcode = Rcode.NOERROR

    def respond(self, packet: bytes, *, tcp: bool) -> bytes:
        query = message.parse_query(packet)
        self.asked.append((".".join(query.name), tcp))
        return render.encode(query, self._answer(query), 65535 if tcp else message.udp_bytes(query))

    def _answer(self, query: Query) -> Answer:
        if self.rcode:
            return Answer(self.rcode)
        if query.name == ("big", "example", "com"):
            return Answer(answers=tuple(Record(query.name, Type.A, 9, (bytes((192, 0, 2, n)),)) for n in range(200)))
        if query.name == ("www", "example", "com") and query.type == Type.A:
            alias = Record(query.name, Type.CNAME, 9, (("real", "example", "com"),))
            return Answer(answers=(alias, Record(("real", "example", "com"), Type.A, 7, (bytes((192, 0, 2, 1)),))))
        rcode = Rcode.NOERROR if query.name == ("www", "example", "com") else Rcode.NXDOMAIN
        return Answer(rcode, authority=(SOA,))


@asynccontextmanager
async def listening(server: NameServer) -> AsyncIterator[int]:
    udp, tcp = bind("127.0.0.1", 0)
    task = asyncio.create_task(serve(server, udp, tcp))
    try:
        yield udp.getsockname()[1]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Running:
    """A name server with one upstream behind it."""

    def __init__(self, port: int, upstream: Upstream, clock: FakeClock) -> None:
        self.port = port
        self.upstream = upstream
        self.clock = clock


@pytest.fixture
async def running(records: CacheRecords) -> AsyncIterator[Running]:
    upstream, clock = Upstream(), FakeClock()
    async with listening(upstream) as upstream_port:  # type: ignore[arg-type]
        config = Config(upstreams=(f"127.0.0.1:{upstream_port}",), upstream_timeout_seconds=60)
        async with listening(NameServer(ZONE, records, Forwarder(config, clock))) as port:
            yield Running(port, upstream, clock)


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
async def test_dig_finds_a_service(running: Running, dig: Dig, transport: str) -> None:
    output = await dig(running.port, transport, "web.default.svc.cluster.local")
    assert "status: NOERROR" in output
    assert "flags: qr aa rd ra;" in output
    assert "web.default.svc.cluster.local. 5 IN\tA\t10.96.0.5" in output


async def test_dig_sees_no_such_name(running: Running, dig: Dig) -> None:
    output = await dig(running.port, "nope.default.svc.cluster.local")
    assert "status: NXDOMAIN" in output
    assert "ns.dns.cluster.local. hostmaster.cluster.local." in output


async def test_dig_reverse_and_srv(running: Running, dig: Dig) -> None:
    assert "web.default.svc.cluster.local." in await dig(running.port, "+short", "-x", "10.96.0.5")
    output = await dig(running.port, "_http._tcp.db.default.svc.cluster.local", "SRV")
    assert "0 50 8080 db-0.db.default.svc.cluster.local." in output
    assert "db-0.db.default.svc.cluster.local. 5 IN\tA\t10.42.0.7" in output


async def test_without_edns_a_long_answer_is_cut_and_dig_turns_to_tcp(running: Running, dig: Dig) -> None:
    name = "many.default.svc.cluster.local"
    cut = await dig(running.port, "+noedns", "+ignore", name)
    assert "flags: qr aa tc rd ra;" in cut
    assert len((await dig(running.port, "+noedns", "+short", name)).split()) == 100
    assert "flags: qr aa rd ra;" in await dig(running.port, "+bufsize=4096", "+ignore", name)


async def test_edns_of_the_future_is_refused(running: Running, dig: Dig) -> None:
    assert "status: BADVERS" in await dig(
        running.port, "+edns=1", "+noednsnegotiation", "web.default.svc.cluster.local"
    )


@pytest.mark.parametrize(
    ("arguments", "status"), [(("+opcode=STATUS", "x"), "NOTIMP"), (("-c", "CH", "version.bind"), "REFUSED")]
)
async def test_what_is_not_done(running: Running, dig: Dig, arguments: tuple[str, ...], status: str) -> None:
    assert f"status: {status}" in await dig(running.port, *arguments)


async def test_names_outside_are_asked_once_and_grow_old(running: Running, dig: Dig) -> None:
    first = await dig(running.port, "www.example.com")
    assert "www.example.com.\t9\tIN\tCNAME\treal.example.com." in first.replace("\t\t", "\t")
    await running.clock.advance(5)
    second = await dig(running.port, "wWw.example.com")
    assert "wWw.example.com.\t4\tIN\tCNAME" in second.replace("\t\t", "\t")
    assert len(running.upstream.asked) == 1
    await running.clock.advance(3)
    await dig(running.port, "www.example.com")
    assert len(running.upstream.asked) == 2, "the shortest lifetime counts"


async def test_absence_is_remembered_too(running: Running, dig: Dig) -> None:
    for _ in range(2):
        assert "status: NXDOMAIN" in await dig(running.port, "nope.example.com")
    assert len(running.upstream.asked) == 1
    await running.clock.advance(31)
    await dig(running.port, "nope.example.com")
    assert len(running.upstream.asked) == 2


async def test_a_cut_upstream_answer_is_fetched_over_tcp(running: Running, dig: Dig) -> None:
    assert len((await dig(running.port, "+short", "big.example.com")).split()) == 200
    assert running.upstream.asked[:2] == [("big.example.com", False), ("big.example.com", True)]


async def test_an_external_name_brings_its_addresses(running: Running, dig: Dig) -> None:
    output = await dig(running.port, "+short", "outside.default.svc.cluster.local")
    assert output.split() == ["www.example.com.", "real.example.com.", "192.0.2.1"]
    output = await dig(running.port, "+short", "inside.default.svc.cluster.local")
    assert output.split() == ["web.default.svc.cluster.local.", "10.96.0.5"]


async def test_an_alias_of_itself_ends(running: Running, dig: Dig) -> None:
    output = await dig(running.port, "+short", "loop.default.svc.cluster.local")
    assert 0 < len(output.split()) < 20


async def test_an_upstream_that_fails_is_servfail_and_not_remembered(running: Running, dig: Dig) -> None:
    running.upstream.rcode = Rcode.SERVFAIL
    assert "status: SERVFAIL" in await dig(running.port, "www.example.com")
    running.upstream.rcode = Rcode.NOERROR
    assert "status: NOERROR" in await dig(running.port, "www.example.com")


async def test_the_next_upstream_is_asked_when_one_does_not_answer(records: CacheRecords, dig: Dig) -> None:
    upstream = Upstream()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        async with listening(upstream) as upstream_port:  # type: ignore[arg-type]
            both = (f"127.0.0.1:{deaf.getsockname()[1]}", f"127.0.0.1:{upstream_port}")
            config = Config(upstreams=both, upstream_timeout_seconds=0.1)
            async with listening(NameServer(ZONE, records, Forwarder(config, FakeClock()))) as port:
                while "192.0.2.1" not in await dig(port, "+short", "www.example.com"):
                    pass  # on a busy machine the other one may be too late, too


async def test_without_an_upstream_names_outside_fail_and_names_inside_work(records: CacheRecords, dig: Dig) -> None:
    async with listening(NameServer(ZONE, records, Forwarder(Config(), FakeClock()))) as port:
        assert "status: SERVFAIL" in await dig(port, "www.example.com")
        assert "status: SERVFAIL" in await dig(port, "outside.default.svc.cluster.local")
        assert "10.96.0.5" in await dig(port, "+short", "web.default.svc.cluster.local")


async def test_garbage_over_tcp_gets_an_error_or_an_end(running: Running) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(b"\0\x0c" + b"\0\7" + bytes(10))
    assert (await reader.readexactly(14))[5] & 15 == Rcode.FORMERR
    writer.write(b"\0\x02xx")
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("192.0.2.1:5353", ("192.0.2.1", 5353)),
        ("2001:db8::1", ("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
        ("[2001:db8::1]", ("2001:db8::1", 53)),
    ],
)
def test_upstream_addresses(text: str, expected: tuple[str, int]) -> None:
    assert host_and_port(text) == expected


async def test_addresses_take_turns(records: CacheRecords) -> None:
    server = NameServer(ZONE, records, Forwarder(Config(), FakeClock()))
    name = message.wire(("db", "default", "svc", "cluster", "local"))
    first = set()
    for number in range(2):
        packet = number.to_bytes(2, "big") + bytes((1, 0, 0, 1)) + bytes(6) + name + bytes((0, 1, 0, 1))
        response = server.respond(packet, tcp=False)
        assert isinstance(response, bytes)
        at = 12 + len(name) + 4
        first.add(socket.inet_ntoa(response[at + 12 : at + 16]))
    assert first == {"10.42.0.7", "10.42.0.8"}
