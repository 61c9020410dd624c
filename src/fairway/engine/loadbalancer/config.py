"""The settings of the room."""

import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

Listen = Callable[[str, int], Awaitable[socket.socket]]
"""A socket of the host bound there, the same one each time until it is given back.  Raises OSError."""
Held = Callable[[], Awaitable[tuple[tuple[str, int], ...]]]
"""Every socket that was asked for and not given back, also by an earlier life of this process.  Raises OSError."""
Release = Callable[[str, int], Awaitable[None]]
"""Give a socket back: nobody listens there any more once all copies are closed.  Raises OSError."""


class HostSockets(msgspec.Struct, frozen=True):
    """How sockets of the host are had, those of one protocol."""

    listen: Listen
    held: Held
    release: Release


class Config(msgspec.Struct, frozen=True):
    """Where the host answers.

    `node_address` is where node ports and host ports listen, `pool` the addresses that Services of type LoadBalancer
    may have (none: they stay pending), `published` the address to show for one that cannot be shown (0.0.0.0).
    `own_ports` says who of ours listens on a TCP port already, for the message. `run_dir` belongs to this room alone.
    """

    run_dir: Path
    tcp: HostSockets
    udp: HostSockets
    node_address: str = "0.0.0.0"
    pool: tuple[str, ...] = ()
    published: Mapping[str, str] = {}
    own_ports: Mapping[int, str] = {}
    binary: str | None = None
    retry_seconds: float = 5.0
