"""What answers are made from: the zone's constants and the cluster's Services, endpoints and namespaces."""

from ipaddress import IPv4Network
from typing import Protocol

import msgspec

from fairway.engine.dns.message import Name, labels
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.services import EndpointSlice, Service


class Zone(msgspec.Struct, frozen=True):
    """The cluster domain, its own address, and the reverse zones that nobody else answers for."""

    domain: Name
    server_address: str
    reverse: tuple[Name, ...]
    ttl_seconds: int


class Records(Protocol):
    """The newest known state; every look-up is by an index."""

    def service(self, key: ObjectKey) -> Service | None:
        """A Service by key."""
        ...

    def slices(self, key: ObjectKey) -> tuple[EndpointSlice, ...]:
        """The endpoints of a Service."""
        ...

    def has_namespace(self, name: str) -> bool:
        """Whether there is such a namespace."""
        ...

    def services_at(self, address: str) -> tuple[Service, ...]:
        """The Services with this ClusterIP."""
        ...

    def slices_at(self, address: str) -> tuple[EndpointSlice, ...]:
        """The slices with an endpoint of this address."""
        ...


def zone(domain: str, server_address: str, cidrs: tuple[str, ...], ttl_seconds: int) -> Zone:
    """The zone of a cluster."""
    return Zone(labels(domain), server_address, tuple(reverse_zone(cidr) for cidr in cidrs), ttl_seconds)


def reverse_zone(cidr: str) -> Name:
    """`10.96.0.0/16` to `96.10.in-addr.arpa`; a prefix between two bytes is rounded down to the longer name."""
    network = IPv4Network(cidr)
    octets = str(network.network_address).split(".")[: -(-network.prefixlen // 8)]
    return (*reversed(octets), "in-addr", "arpa")
