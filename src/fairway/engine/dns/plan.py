"""A question and the cluster's records to an answer: the Kubernetes DNS specification 1.1.0.

Where the specification is silent this follows CoreDNS: SRV at the name of a Service gives all its ports, endpoints
without a hostname are named by their address with dashes, and pod names are answered without looking for the pod.
"""

import struct
from collections.abc import Iterable, Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address

import msgspec

from fairway.engine.dns.ir import Records, Zone
from fairway.engine.dns.message import Answer, Name, Rcode, Record, Type, labels, wire
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.services import Endpoint, EndpointSlice, Service

_VERSION = b"1.1.0"
_SRV_WEIGHT = 100


class Elsewhere(msgspec.Struct, frozen=True):
    """Not for us to answer: ask an upstream server."""


class Alias(msgspec.Struct, frozen=True):
    """The name is another name for `target`, whose records of the asked type complete the answer."""

    record: Record
    target: Name


Found = tuple[Record, ...] | Alias | None
"""The records of the asked type (none: the name exists without them), or None: there is no such name."""


def answer(name: Name, type: int, zone: Zone, records: Records) -> Answer | Alias | Elsewhere:
    """What to say about a name."""
    inside = _below(name, zone.domain)
    if inside is not None:
        return _complete(_in_domain(inside, name, type, zone, records), zone.domain, zone, type, records)
    if name[-2:] == ("in-addr", "arpa"):
        return _reverse(name, type, zone, records)
    return Elsewhere()


def _complete(found: Found, apex: Name, zone: Zone, type: int, records: Records) -> Answer | Alias:
    """An answer with what goes with it: the SOA when it is negative, the addresses of SRV targets."""
    if isinstance(found, Alias):
        return found
    if not found:
        rcode = Rcode.NXDOMAIN if found is None else Rcode.NOERROR
        return Answer(rcode, authority=(_soa(apex, zone),))
    return Answer(answers=found, additional=tuple(_glue(found, zone, records)) if type == Type.SRV else ())


def _below(name: Name, apex: Name) -> Name | None:
    """What stands before the apex; None when the name is not below it."""
    return name[: -len(apex)] if name[-len(apex) :] == apex else None


def _in_domain(inside: Name, name: Name, type: int, zone: Zone, records: Records) -> Found:
    match inside:
        case ():
            return _apex(name, type, zone)
        case ("dns-version",):
            text = bytes((len(_VERSION),)) + _VERSION
            return (Record(name, Type.TXT, zone.ttl_seconds, (text,)),) if type in (Type.TXT, Type.ANY) else ()
        case ("ns", "dns"):
            return _addresses(name, type, zone, (zone.server_address,))
        case ("dns",) | ("svc",) | ("pod",):
            return ()
        case (*_, namespace, "svc" | "pod") if not records.has_namespace(namespace):
            return None
        case (_, "svc" | "pod"):
            return ()
        case (address, _, "pod"):
            return _pod(address, name, type, zone)
        case (*host, service_name, namespace, "svc"):
            service = records.service(ObjectKey(namespace, service_name))
            return _service(service, tuple(host), name, type, zone, records) if service else None
    return None


def _apex(name: Name, type: int, zone: Zone) -> Found:
    if type == Type.NS:
        return (Record(name, Type.NS, zone.ttl_seconds, (("ns", "dns", *zone.domain),)),)
    return (_soa(zone.domain, zone),) if type in (Type.SOA, Type.ANY) else ()


def _pod(dashed: str, name: Name, type: int, zone: Zone) -> Found:
    address = dashed.replace("-", ".")
    return _addresses(name, type, zone, (address,)) if _packed(Type.A, address) else None


def _service(service: Service, host: Name, name: Name, type: int, zone: Zone, records: Records) -> Found:
    slices = records.slices(service.metadata.key)
    if service.spec.type == "ExternalName":
        return _alias(service, name, zone) if not host else None
    match host:
        case ():
            return _service_itself(service, slices, name, type, zone)
        case (protocol,) if protocol in ("_tcp", "_udp", "_sctp"):
            return () if any(_proto(port.protocol) == protocol for port in service.spec.ports) else None
        case (hostname,):
            found = [each for each in _ready(slices) if hostname_of(each) == hostname]
            return _addresses(name, type, zone, _first_addresses(found)) if found else None
        case (port, protocol) if port.startswith("_"):
            targets = _srv(service, slices, name, zone, port[1:], protocol)
            return (targets if type in (Type.SRV, Type.ANY) else ()) if targets else None
    return None


def _service_itself(service: Service, slices: tuple[EndpointSlice, ...], name: Name, type: int, zone: Zone) -> Found:
    if service.spec.cluster_ip == "None":
        ready = _ready(slices)
        if not ready:
            return None  # section 2.4.1: no ready endpoint, no such name
        addresses: Iterable[str] = _first_addresses(ready)
    else:
        addresses = service.spec.cluster_ips or (service.spec.cluster_ip,)
    if type == Type.SRV:
        return _srv(service, slices, name, zone, "", "")
    return _addresses(name, type, zone, addresses)


def _alias(service: Service, name: Name, zone: Zone) -> Alias:
    target = labels(service.spec.external_name)
    return Alias(Record(name, Type.CNAME, zone.ttl_seconds, (target,)), target)


def _srv(
    service: Service, slices: tuple[EndpointSlice, ...], name: Name, zone: Zone, port: str, protocol: str
) -> tuple[Record, ...]:
    """One record per port, and for a headless Service per ready endpoint; "" matches every port."""
    own = (service.metadata.name, service.metadata.namespace, "svc", *zone.domain)
    targets: list[tuple[int, Name]] = []
    if service.spec.cluster_ip != "None":
        targets = [(p.port, own) for p in service.spec.ports if _matches(p.name, p.protocol, port, protocol)]
    else:
        for part in slices:
            numbers = [p.port for p in part.ports if p.port and _matches(p.name, p.protocol, port, protocol)]
            hosts = [(hostname_of(endpoint), *own) for endpoint in _ready((part,))]
            targets += [(number, host) for number in numbers for host in hosts]
    weight = max(1, _SRV_WEIGHT // len(targets)) if targets else 0
    return tuple(
        Record(name, Type.SRV, zone.ttl_seconds, (struct.pack("!HHH", 0, weight, number) + wire(host),))
        for number, host in dict.fromkeys(targets)
    )


def _matches(port_name: str, port_protocol: str, name: str, protocol: str) -> bool:
    if not protocol:
        return True
    return port_name != "" and port_name == name and _proto(port_protocol) == protocol


def _proto(protocol: str) -> str:
    return f"_{protocol.lower()}"


def _glue(found: tuple[Record, ...], zone: Zone, records: Records) -> Iterator[Record]:
    """The addresses of SRV targets, so that the asker need not ask again."""
    for target in dict.fromkeys(_target(record) for record in found):
        inside = _below(target, zone.domain)
        addresses = _in_domain(inside, target, Type.A, zone, records) if inside else None
        if isinstance(addresses, tuple):
            yield from addresses


def _target(record: Record) -> Name:
    data = record.data[0]
    assert isinstance(data, bytes)
    found, offset = [], 6
    while data[offset]:
        found.append(data[offset + 1 : offset + 1 + data[offset]].decode("latin-1"))
        offset += data[offset] + 1
    return tuple(found)


def _reverse(name: Name, type: int, zone: Zone, records: Records) -> Answer | Alias | Elsewhere:
    apex = next((apex for apex in zone.reverse if _below(name, apex) is not None), None)
    address = ".".join(reversed(name[:-2]))
    hosts = tuple(dict.fromkeys(_hosts(address, zone, records))) if len(name) == 6 else ()
    if hosts:
        pointers = tuple(Record(name, Type.PTR, zone.ttl_seconds, (host,)) for host in hosts)
        return _complete(pointers if type in (Type.PTR, Type.ANY) else (), apex or name, zone, type, records)
    if apex is None:
        return Elsewhere()
    empty = 0 < len(name) < 6 and all(part.isdigit() for part in name[:-2])
    return _complete(() if empty else None, apex, zone, type, records)


def _hosts(address: str, zone: Zone, records: Records) -> Iterator[Name]:
    """The names of an address: of the Service that has it, otherwise of the ready endpoints."""
    services = records.services_at(address)
    for service in services:
        yield (service.metadata.name, service.metadata.namespace, "svc", *zone.domain)
    for part in () if services else records.slices_at(address):
        for endpoint in part.endpoints:
            if endpoint.ready and address in endpoint.addresses and part.service_name:
                yield (hostname_of(endpoint), part.service_name, part.metadata.namespace, "svc", *zone.domain)


def _ready(slices: Iterable[EndpointSlice]) -> list[Endpoint]:
    return [endpoint for part in slices for endpoint in part.endpoints if endpoint.ready and endpoint.addresses]


def hostname_of(endpoint: Endpoint) -> str:
    """The label of an endpoint below its Service."""
    return endpoint.hostname or endpoint.addresses[0].replace(".", "-").replace(":", "-")


def _first_addresses(endpoints: Iterable[Endpoint]) -> Iterable[str]:
    return dict.fromkeys(endpoint.addresses[0] for endpoint in endpoints)


def _addresses(name: Name, type: int, zone: Zone, addresses: Iterable[str]) -> tuple[Record, ...]:
    kinds = (Type.A, Type.AAAA) if type == Type.ANY else (type,)
    return tuple(
        Record(name, kind, zone.ttl_seconds, (packed,))
        for address in addresses
        for kind in kinds
        if (packed := _packed(kind, address))
    )


def _packed(type: int, address: str) -> bytes:
    try:
        if type == Type.A:
            return IPv4Address(address).packed
        return IPv6Address(address).packed if type == Type.AAAA else b""
    except AddressValueError:
        return b""


def _soa(apex: Name, zone: Zone) -> Record:
    """Who answers for the zone, and how long an absence may be remembered (RFC 2308)."""
    numbers = struct.pack("!5I", 1, 7200, 1800, 86400, zone.ttl_seconds)
    server, person = ("ns", "dns", *zone.domain), ("hostmaster", *zone.domain)
    return Record(apex, Type.SOA, zone.ttl_seconds, (server, person, numbers))
