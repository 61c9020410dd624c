"""Sockets of the host of one protocol: opened when a place is wanted, kept, and given back."""

import errno
import socket
from collections.abc import Collection, Mapping

from fairway.engine.loadbalancer.config import HostSockets
from fairway.engine.loadbalancer.ir import Place


class Sockets:
    """The open sockets by place; `own_ports` says who of ours has a port already."""

    def __init__(self, protocol: str, host: HostSockets, own_ports: Mapping[int, str]) -> None:
        self._protocol = protocol
        self._host = host
        self._own_ports = own_ports
        self._open: dict[Place, socket.socket] = {}

    def __getitem__(self, place: Place) -> socket.socket:
        return self._open[place]

    async def open(self, place: Place) -> str:
        """Get a place's socket; returns why that is not possible, nothing when it is there."""
        if place in self._open:
            return ""
        try:
            self._open[place] = await self._host.listen(place.host, place.port)
        except OSError as error:
            return self._complaint(place, error)
        return ""

    async def release_others(self, wanted: Collection[Place]) -> None:
        """Give back what nobody wants any more, also what an earlier life asked for. Raises OSError."""
        for place in [place for place in self._open if place not in wanted]:
            self._open.pop(place).close()
        for held in await self._host.held():
            if Place(*held, self._protocol) not in wanted:
                await self._host.release(*held)

    def _complaint(self, place: Place, error: OSError) -> str:
        match error.errno:
            case errno.EADDRINUSE:
                holder = self._own_ports.get(place.port)
                show = "ss -ltnp" if self._protocol == "TCP" else "ss -lunp"
                who = f"by this Fairway ({holder})" if holder else f"by another program: `{show} sport = :{place.port}`"
                return f"port {place.number} on {place.host} of the host is taken {who}; free it or choose another port"
            case errno.EADDRNOTAVAIL:
                return f"the host has no address {place.host}: use one that `ip address` shows"
            case errno.EACCES | errno.EPERM:
                return f"port {place.number} on {place.host} needs root: choose a port of at least 1024, or run as root"
        return f"cannot listen on {place} of the host: {error.strerror or error}"
