"""Questions and the answers that the specification asks for."""

from ipaddress import IPv4Address

import pytest

from fairway.engine.dns.ir import reverse_zone, zone
from fairway.engine.dns.message import Answer, Name, Rcode, Record, Type, labels
from fairway.engine.dns.plan import Alias, Elsewhere, answer
from fairway.engine.dns.records import CacheRecords

ZONE = zone("cluster.local", "10.96.0.10", ("10.96.0.0/16", "10.42.0.0/16"), 5)
A, SRV, PTR, AAAA, TXT = Type.A, Type.SRV, Type.PTR, Type.AAAA, Type.TXT


def text(record: Record) -> str:
    """A record's data as dig prints it."""
    data = record.data[0]
    if isinstance(data, tuple):
        return ".".join(data)
    if record.type == Type.A:
        return str(IPv4Address(data))
    if record.type == Type.TXT:
        return data[1:].decode()
    numbers = [int.from_bytes(data[at : at + 2], "big") for at in (0, 2, 4)]
    return f"{' '.join(map(str, numbers))} {host(data[6:])}"


def host(wire: bytes) -> str:
    found = []
    while wire[0]:
        found.append(wire[1 : 1 + wire[0]].decode())
        wire = wire[1 + wire[0] :]
    return ".".join(found)


D = "default.svc.cluster.local"


@pytest.mark.parametrize(
    ("name", "type", "expected"),
    [
        pytest.param(f"web.{D}", A, ["10.96.0.5"], id="ClusterIP"),
        pytest.param(f"WEB.{D}".upper(), A, ["10.96.0.5"], id="any case"),
        pytest.param(f"db.{D}", A, ["10.42.0.7", "10.42.0.8"], id="headless: ready endpoints"),
        pytest.param(f"db-0.db.{D}", A, ["10.42.0.7"], id="endpoint with a hostname"),
        pytest.param(f"10-42-0-8.db.{D}", A, ["10.42.0.8"], id="endpoint without one"),
        pytest.param(f"10-42-0-3.web.{D}", A, ["10.42.0.3"], id="endpoint of a ClusterIP Service"),
        pytest.param(f"_http._tcp.web.{D}", SRV, [f"0 100 80 web.{D}"], id="SRV"),
        pytest.param(f"_dns._udp.both.{D}", SRV, [f"0 100 53 both.{D}"], id="SRV by protocol"),
        pytest.param(
            f"_http._tcp.db.{D}", SRV, [f"0 50 8080 db-0.db.{D}", f"0 50 8080 10-42-0-8.db.{D}"], id="SRV headless"
        ),
        pytest.param(f"web.{D}", SRV, [f"0 100 80 web.{D}"], id="SRV of all ports"),
        pytest.param("5.0.96.10.in-addr.arpa", PTR, [f"web.{D}"], id="PTR of a Service"),
        pytest.param("7.0.42.10.in-addr.arpa", PTR, [f"db-0.db.{D}"], id="PTR of an endpoint"),
        pytest.param("8.0.42.10.in-addr.arpa", PTR, [f"10-42-0-8.db.{D}"], id="PTR of a nameless endpoint"),
        pytest.param("10-42-0-3.default.pod.cluster.local", A, ["10.42.0.3"], id="pod"),
        pytest.param("dns-version.cluster.local", TXT, ["1.1.0"], id="version"),
        pytest.param("ns.dns.cluster.local", A, ["10.96.0.10"], id="the name server itself"),
    ],
)
def test_positive(records: CacheRecords, name: str, type: int, expected: list[str]) -> None:
    found = answer(labels(name), type, ZONE, records)
    assert isinstance(found, Answer)
    assert found.rcode == Rcode.NOERROR
    assert [text(record) for record in found.answers] == expected
    assert all(record.name == labels(name) and record.ttl_seconds == 5 for record in found.answers)


@pytest.mark.parametrize(
    ("name", "type", "rcode"),
    [
        (f"web.{D}", AAAA, Rcode.NOERROR),
        (f"db.{D}", AAAA, Rcode.NOERROR),
        (f"_tcp.web.{D}", SRV, Rcode.NOERROR),
        (f"_http._tcp.web.{D}", A, Rcode.NOERROR),
        (D, A, Rcode.NOERROR),
        ("svc.cluster.local", A, Rcode.NOERROR),
        ("cluster.local", A, Rcode.NOERROR),
        ("default.pod.cluster.local", A, Rcode.NOERROR),
        ("0.96.10.in-addr.arpa", PTR, Rcode.NOERROR),
        ("5.0.96.10.in-addr.arpa", A, Rcode.NOERROR),
        (f"nope.{D}", A, Rcode.NXDOMAIN),
        (f"empty.{D}", A, Rcode.NXDOMAIN),
        (f"db-2.db.{D}", A, Rcode.NXDOMAIN),
        (f"_udp.web.{D}", SRV, Rcode.NXDOMAIN),
        (f"_https._tcp.web.{D}", SRV, Rcode.NXDOMAIN),
        (f"_http._udp.web.{D}", SRV, Rcode.NXDOMAIN),
        (f"a.b.c.web.{D}", A, Rcode.NXDOMAIN),
        ("web.nowhere.svc.cluster.local", A, Rcode.NXDOMAIN),
        ("nowhere.svc.cluster.local", A, Rcode.NXDOMAIN),
        ("www.example.com.default.svc.cluster.local", A, Rcode.NXDOMAIN),
        ("www.example.com.cluster.local", A, Rcode.NXDOMAIN),
        ("10-42-0-300.default.pod.cluster.local", A, Rcode.NXDOMAIN),
        ("10-42-0-3.nowhere.pod.cluster.local", A, Rcode.NXDOMAIN),
        ("77.0.96.10.in-addr.arpa", PTR, Rcode.NXDOMAIN),
        ("9.0.42.10.in-addr.arpa", PTR, Rcode.NXDOMAIN),
        ("x.0.96.10.in-addr.arpa", PTR, Rcode.NXDOMAIN),
    ],
)
def test_negative_with_the_zones_authority(records: CacheRecords, name: str, type: int, rcode: Rcode) -> None:
    found = answer(labels(name), type, ZONE, records)
    assert isinstance(found, Answer)
    assert (found.rcode, found.answers) == (rcode, ())
    assert [record.type for record in found.authority] == [Type.SOA]
    apex = found.authority[0].name
    assert labels(name)[-len(apex) :] == apex


@pytest.mark.parametrize(
    "name", ["www.example.com", "local", "xcluster.local", "1.2.0.192.in-addr.arpa", "in-addr.arpa", ""]
)
def test_elsewhere(records: CacheRecords, name: str) -> None:
    assert answer(labels(name), A, ZONE, records) == Elsewhere()


def test_an_external_name_is_an_alias(records: CacheRecords) -> None:
    found = answer(labels(f"outside.{D}"), A, ZONE, records)
    assert isinstance(found, Alias)
    assert found.target == ("www", "example", "com")


def test_srv_targets_come_with_their_addresses(records: CacheRecords) -> None:
    found = answer(labels(f"_http._tcp.db.{D}"), SRV, ZONE, records)
    assert isinstance(found, Answer)
    assert [(record.name[0], text(record)) for record in found.additional] == [
        ("db-0", "10.42.0.7"),
        ("10-42-0-8", "10.42.0.8"),
    ]


@pytest.mark.parametrize("type", [Type.SOA, Type.NS])
def test_the_apex(records: CacheRecords, type: Type) -> None:
    found = answer(("cluster", "local"), type, ZONE, records)
    assert isinstance(found, Answer)
    assert [record.type for record in found.answers] == [type]


@pytest.mark.parametrize(
    ("cidr", "name"),
    [
        ("10.96.0.0/16", ("96", "10", "in-addr", "arpa")),
        ("10.0.0.0/8", ("10", "in-addr", "arpa")),
        ("10.42.16.0/20", ("16", "42", "10", "in-addr", "arpa")),
    ],
)
def test_reverse_zones(cidr: str, name: Name) -> None:
    assert reverse_zone(cidr) == name
