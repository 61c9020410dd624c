"""What the name server is told at the start."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import msgspec

Dial = Callable[[str, int], Awaitable[socket.socket]]
"""Host and port to a connected socket of the network where upstream servers are.  Raises OSError."""


async def datagram(host: str, port: int) -> socket.socket:
    """A connected UDP socket of this process's own network."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        sock.connect((host, port))
    except OSError:
        sock.close()
        raise
    return sock


async def connect(host: str, port: int) -> socket.socket:
    """A connected TCP socket of this process's own network."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
    except OSError:
        sock.close()
        raise
    return sock


class Config(msgspec.Struct, frozen=True):
    """Where to listen, what to answer for, and whom to ask for everything else."""

    upstreams: tuple[str, ...] = ()
    """`192.0.2.1`, `192.0.2.1:5353` or `[2001:db8::1]:53`, in order of preference; none: names outside fail."""
    datagram: Dial = datagram
    connect: Dial = connect
    domain: str = "cluster.local"
    address: str = "10.42.0.1"
    port: int = 53
    service_ip: str = "10.96.0.10"
    """The ClusterIP of the Service kube-system/kube-dns, which leads to `address`."""
    service_cidr: str = "10.96.0.0/16"
    pod_cidr: str = "10.42.0.0/16"
    ttl_seconds: int = 5
    upstream_timeout_seconds: float = 2.0
