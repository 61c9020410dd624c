"""Where a fetch may go: users name URLs, and must not reach this machine or the cluster's inside through us."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

import msgspec

from fairway.delivery.git.errors import SourceError, printable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

CLUSTER = ("10.42.0.0/16", "10.96.0.0/16")
"""Pods, the node and Services as the platform's own cluster has them; `ClusterNetworks` reads those of any."""
Networks = Callable[[], Awaitable[Sequence[str]]]


async def _usual() -> Sequence[str]:
    return CLUSTER


class Allowed(msgspec.Struct, frozen=True):
    """`hosts` may be asked whatever their addresses are; nobody else inside `networks`, which may raise SourceError."""

    hosts: frozenset[str] = frozenset()
    networks: Networks = _usual


_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
_RESOLVE_SECONDS = 10.0
_PORTS = {"http": 80, "https": 443}


class Remote(msgspec.Struct, frozen=True):
    """A checked address of a forge: what git is told to connect to, whatever DNS says a moment later."""

    host: str
    port: int
    addresses: tuple[str, ...]


def parse(url: str) -> tuple[str, int]:
    """Host and port. Raises SourceError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise SourceError(f"{_shown(url)} is not a URL; write https://HOST/PATH.git") from None
    if parts.scheme not in _PORTS:
        what = "write https://HOST/PATH.git, with a token in a Secret when the repository is private"
        raise SourceError(f"{_shown(url)}: repositories are fetched over https or http; {what}")
    if not host or not url.isprintable() or " " in url:
        raise SourceError(f"{_shown(url)} is not a URL; write https://HOST/PATH.git")
    if parts.username or parts.password:
        raise SourceError("the URL has credentials in it; put them into a Secret and name it in credentialsSecret")
    return host, port or _PORTS[parts.scheme]


async def resolve(url: str, allowed: Allowed) -> Remote:
    """Look the host up, and refuse it when any of its addresses is not for users. Raises SourceError."""
    host, port = parse(url)
    addresses = await _addresses(host, port)
    if host not in allowed.hosts:
        networks = tuple(ipaddress.ip_network(network) for network in await allowed.networks())
        for address in addresses:
            if problem := address_problem(ipaddress.ip_address(address), networks):
                raise SourceError(f"{host} has the address {address}, {problem}; it is not fetched from")
    return Remote(host, port, addresses)


def address_problem(address: Address, refused: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network] = ()) -> str:
    """Why an address is refused. Private networks are not: forges of one's own are there."""
    plain = _unwrapped(address)
    if plain.is_loopback or plain.is_unspecified:
        return "which is this machine"
    if plain.is_link_local:
        return "which is link-local"
    if plain.is_multicast or plain.is_reserved:
        return "which no server has"
    if any(plain.version == network.version and plain in network for network in refused):
        return "which is inside the cluster"
    return ""


def _unwrapped(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one that only carries it."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _TRANSLATED:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address


async def _addresses(host: str, port: int) -> tuple[str, ...]:
    try:
        async with asyncio.timeout(_RESOLVE_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        raise SourceError(f"the host {printable(host)} cannot be found; look at its name and at DNS") from None
    return tuple(dict.fromkeys(str(row[4][0]).partition("%")[0] for row in found))


def _shown(url: str) -> str:
    """A URL for people: what could be a password is left out."""
    text = printable(url)[:200]
    return text if "@" not in text else "…" + text.rpartition("@")[2]
