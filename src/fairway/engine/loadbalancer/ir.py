"""What the host's side has to do, without a word of HAProxy: places and where their connections go."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import NamedTuple

import msgspec

from fairway.kube.api.meta import ObjectKey, ObjectReference


class Place(NamedTuple):
    """A port of the host."""

    host: str
    port: int
    protocol: str = "TCP"

    def __str__(self) -> str:
        address = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        return address if self.protocol == "TCP" else f"{address}/{self.protocol}"

    @property
    def number(self) -> str:
        """The port as people write it: UDP is named, TCP goes without saying."""
        return str(self.port) if self.protocol == "TCP" else f"{self.port}/{self.protocol}"


class Target(NamedTuple):
    """Where a place's connections go inside the cluster: a Service's address and port, or a pod's."""

    address: str
    port: int


class Route(msgspec.Struct, frozen=True):
    """One place's work; without `sources` everybody may connect, otherwise only these networks."""

    target: Target
    sources: tuple[str, ...] = ()


class Problem(msgspec.Struct, frozen=True):
    """Something that cannot be done, for a Warning on the object that asked for it."""

    regarding: ObjectReference
    reason: str
    message: str


class Wanted(msgspec.Struct, frozen=True):
    """Everything that should be: the routes, each load balancer's address (none: pending), and what is left out."""

    routes: Mapping[Place, Route] = {}
    owners: Mapping[Place, ObjectReference] = {}
    addresses: Mapping[ObjectKey, str] = {}
    problems: tuple[Problem, ...] = ()


def overlap(one: Place, other: Place) -> bool:
    """Whether the kernel could not listen on both: the same port, and the same address or all addresses."""
    if (one.port, one.protocol) != (other.port, other.protocol):
        return False
    return one.host == other.host or _every(one.host) or _every(other.host)


def of_protocol(routes: Mapping[Place, Route], protocol: str) -> dict[Place, Route]:
    """The part of the routes that is TCP's, or UDP's."""
    return {place: route for place, route in routes.items() if place.protocol == protocol}


def network(text: str) -> str:
    """An IPv4 network in its canonical form, "" if it is none."""
    try:
        return str(IPv4Network(text.strip(), strict=False))
    except ValueError:
        return ""


def usable_target(text: str) -> bool:
    """Whether it is an IPv4 address to connect to."""
    try:
        return not IPv4Address(text).is_unspecified
    except ValueError:
        return False


def usable_host(text: str) -> bool:
    """Whether it is an address that a socket could listen on."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _every(host: str) -> bool:
    return host in ("0.0.0.0", "::")
