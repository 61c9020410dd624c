"""What the kernel has to allow, without a word of nftables: chains of what is allowed, and the groups they name.

Names are digests of what is behind them: equal policies share a chain, and a name in the kernel tells its content.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

SELF = "self"
"""The group of isolated addresses paired with themselves: a pod always reaches itself, also through a Service."""


class Direction(StrEnum):
    """From the pod's point of view."""

    INGRESS = "ingress"
    EGRESS = "egress"


class Group(msgspec.Struct, frozen=True, tag=True):
    """The other side is one of the addresses in a group."""

    name: str


class Block(msgspec.Struct, frozen=True, tag=True):
    """The other side is in a range of IPv4 addresses and in none of its holes."""

    cidr: str
    holes: tuple[str, ...] = ()


class NameServer(msgspec.Struct, frozen=True, tag=True):
    """The other side is the cluster's name server, on its port, with one of these protocols (tcp, udp)."""

    protocols: tuple[str, ...]


class Numbers(msgspec.Struct, frozen=True, tag=True):
    """tcp|udp|sctp, and the ranges (first, last) of ports, sorted and apart; none: every port."""

    protocol: str
    ranges: tuple[tuple[int, int], ...] = ()


class Named(msgspec.Struct, frozen=True, tag=True):
    """The receiving address, protocol and port are in a group."""

    group: str


class Allow(msgspec.Struct, frozen=True):
    """One way to be allowed; None: whoever, or wherever."""

    peer: Group | Block | NameServer | None = None
    ports: Numbers | Named | None = None


class Rules(msgspec.Struct, frozen=True, tag=True):
    """What one policy, and every equal one, allows in one direction."""

    direction: Direction
    allows: tuple[Allow, ...] = ()


class Either(msgspec.Struct, frozen=True, tag=True):
    """What is allowed by at least one chain of rules, given by sorted name, and nothing else."""

    direction: Direction
    rules: tuple[str, ...]


class Isolation(NamedTuple):
    """One direction of one pod's address."""

    direction: Direction
    address: str


class InForce(msgspec.Struct, frozen=True):
    """What is in the kernel, by name: chains, members of groups, and the chain that each isolated address has."""

    chains: frozenset[str] = frozenset()
    groups: Mapping[str, frozenset[str]] = msgspec.field(default_factory=lambda: {SELF: frozenset()})
    isolated: Mapping[Isolation, str] = {}


class Ruleset(msgspec.Struct, frozen=True):
    """What should be in the kernel, and what the chains hold."""

    wanted: InForce = InForce()
    chains: Mapping[str, Rules | Either] = {}


def ruleset(
    chains: Mapping[str, Rules | Either], groups: Mapping[str, frozenset[str]], isolated: Mapping[Isolation, str]
) -> Ruleset:
    """A ruleset, with the group of those who reach themselves."""
    everyone = frozenset(f"{each.address} . {each.address}" for each in isolated)
    return Ruleset(InForce(frozenset(chains), {**groups, SELF: everyone}, isolated), chains)


def rules_name(rules: Rules) -> str:
    """The chain of a policy's direction."""
    return f"rules-{_digest(rules)}"


def either_name(either: Either) -> str:
    """The chain of all pods with these policies."""
    return f"only-{_digest(either)}"


def peers_name(*identity: Any) -> str:
    """The group of addresses of selected pods, by namespace and selectors."""
    return f"pods-{_digest(identity)}"


def port_name(name: str, protocol: str) -> str:
    """The group of all pods' ports of a name."""
    return f"port-{_digest((name, protocol))}"


def merged(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Ranges sorted, and joined where they touch."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return tuple(found)


def _digest(value: Any) -> str:
    return sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:20]
