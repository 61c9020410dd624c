"""What the data plane has to do, without a word of nftables: frontends and the pools behind them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import AddressValueError, IPv4Address
from itertools import compress
from operator import is_, is_not
from typing import NamedTuple, TypeVar

import msgspec

K = TypeVar("K")
V = TypeVar("V")

ANY_LOCAL = ""
"""The address of a frontend that answers on every address of the node: a node port."""

PROTOCOLS: Mapping[str, str] = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}


class Frontend(NamedTuple):
    """Where clients connect to: an IPv4 address or ANY_LOCAL, tcp|udp|sctp, and a port."""

    address: str
    protocol: str
    port: int

    def __str__(self) -> str:
        return f"{self.address or '*'}:{self.port}/{self.protocol}"


class Backend(NamedTuple):
    """Where connections end: an IPv4 address and a port."""

    address: str
    port: int


class Pool(msgspec.Struct, frozen=True):
    """The backends of one frontend, sorted; none means: refuse.  With affinity a client keeps its backend."""

    backends: tuple[Backend, ...] = ()
    affinity_seconds: int = 0


class Ruleset(msgspec.Struct, frozen=True):
    """Everything that is, or should be, in the kernel.  `uses` counts in how many pools an address is."""

    pools: Mapping[Frontend, Pool] = {}
    uses: Mapping[str, int] = {}


def pool(backends: Iterable[Backend], affinity_seconds: int = 0) -> Pool:
    """A pool in its one canonical form."""
    ordered = tuple(sorted(set(backends), key=_order))
    return Pool(ordered, affinity_seconds if ordered else 0)


def ruleset(pools: Mapping[Frontend, Pool]) -> Ruleset:
    """A ruleset with its use counts."""
    uses: Counter[str] = Counter()
    for each in pools.values():
        uses.update(addresses(each))
    return Ruleset(pools, dict(uses))


def replace(before: Ruleset, fresh: Mapping[Frontend, Pool]) -> Ruleset:
    """`before` with some of its pools exchanged; faster than building all anew."""
    pools, uses = dict(before.pools), dict(before.uses)
    for frontend, after in fresh.items():
        for address in addresses(after):
            uses[address] = uses.get(address, 0) + 1
        for address in addresses(pools[frontend]):
            uses[address] -= 1
            if not uses[address]:
                del uses[address]
        pools[frontend] = after
    return Ruleset(pools, uses)


def differing(before: Mapping[K, V], after: Mapping[K, V]) -> Iterator[tuple[K, V | None, V | None]]:
    """(key, old, new) wherever the two do not have the identical value; None where there is none.

    A mapping that was made by copying and exchanging values is compared without hashing a key: 10,000 in 0.3 ms.
    """
    if len(before) == len(after) and all(map(is_, before, after)):
        changed = map(is_not, before.values(), after.values())
        yield from compress(zip(before, before.values(), after.values(), strict=True), changed)
        return
    yield from ((key, old, None) for key, old in before.items() if key not in after)
    for key, new in after.items():
        old = before.get(key)
        if old is not new:
            yield key, old, new


def addresses(of: Pool) -> set[str]:
    """The addresses of a pool."""
    return {backend.address for backend in of.backends}


def usable_address(text: str) -> str:
    """The address in its canonical form; "" unless it is an IPv4 address that packets can be sent to or from."""
    try:
        address = IPv4Address(text)
    except AddressValueError:
        return ""
    unusable = address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local
    return "" if unusable or address == IPv4Address("255.255.255.255") else str(address)


def usable_port(port: int | None) -> bool:
    """Whether it is a port number."""
    return port is not None and 0 < port < 65536


def _order(backend: Backend) -> tuple[int, int]:
    return int(IPv4Address(backend.address)), backend.port
