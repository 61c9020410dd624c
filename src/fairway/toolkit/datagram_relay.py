"""A relay of datagrams: from sockets that were made elsewhere to other addresses, and the answers back.

A process of its own, which goes on when the one that started it is gone:

    python -m fairway.toolkit.datagram_relay FOLDER [UID GID]

It listens on `FOLDER/relay.sock` (SOCK_SEQPACKET). A message is a JSON object and the answer to it, always, which
routes there are: `{"set": [{"name", "target": [address, port], "sources": [network]}]}` with the sockets of those names
that are new, in that order; `{"drop": [name]}`; or `{}`. Each client has a socket of its own towards the target (a
flow), so answers find their way, and they leave from the address that the client wrote to. A flow ends when nothing
came for `IDLE_SECONDS`; beyond `_MOST_FLOWS` the one that was quiet for longest goes first.

Standard library only, so that the process stays small.
"""

import array
import collections
import contextlib
import ipaddress
import json
import os
import resource
import select
import socket
import sys
import time
from collections.abc import Callable

IDLE_SECONDS = 120.0
MOST_SOCKETS = 128
"""How many sockets may come with one message."""

_MOST_FLOWS = 16384
_BATCH = 64  # datagrams of one socket before the others get their turn
_DATAGRAM_BYTES = 65535
_MESSAGE_BYTES = 1 << 18
_RECEIVE_BUFFER_BYTES = 4 << 20  # what may wait while something else is done
_IP_PKTINFO, _IPV6_RECVPKTINFO, _IPV6_PKTINFO = 8, 49, 50
_PACKET_INFORMATION_BYTES = socket.CMSG_SPACE(20)

Address = tuple[str, int]
FlowKey = tuple[str, tuple[object, ...], bytes]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class _Route:
    """A socket of the host and where its datagrams go; without `sources` everybody may send."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.target: Address = ("", 0)
        self.sources: tuple[Network, ...] = ()

    def admits(self, client: str) -> bool:
        address = ipaddress.ip_address(client.partition("%")[0])
        return not self.sources or any(address in network for network in self.sources)

    def as_json(self, name: str) -> dict[str, object]:
        return {"name": name, "target": self.target, "sources": [str(network) for network in self.sources]}


class _Flow:
    """One client of one route; `information` names the address of ours that it wrote to."""

    def __init__(self, route: _Route, client: tuple[object, ...], information: bytes, now: float) -> None:
        self.route = route
        self.client = client
        self.information = information
        self.used = now
        family = socket.AF_INET6 if ":" in route.target[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self.socket.connect(route.target)
        except OSError:
            self.socket.close()
            raise


class Relay:
    """The routes and flows; `serve` runs until the process is ended."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._epoll = select.epoll()
        self._actions: dict[int, Callable[[], None]] = {}
        self._routes: dict[str, _Route] = {}
        self._flows: collections.OrderedDict[FlowKey, _Flow] = collections.OrderedDict()  # longest quiet first
        self._most_flows = _most_flows()
        self._watch(control, self._welcome)

    def serve(self) -> None:
        while True:
            for fd, _ in self._epoll.poll(self._next_end()):
                if action := self._actions.get(fd):
                    action()
            self._end_idle()

    # --- datagrams

    def _from_clients(self, name: str) -> None:
        route = self._routes[name]
        for _ in range(_BATCH):
            try:
                data, ancillary, _, client = route.socket.recvmsg(_DATAGRAM_BYTES, _PACKET_INFORMATION_BYTES)
            except OSError:
                return  # nothing more, or an answer of ours that could not be delivered
            information = b"".join(content for _, kind, content in ancillary if kind in (_IP_PKTINFO, _IPV6_PKTINFO))
            with contextlib.suppress(OSError):  # as a network that loses datagrams
                self._flow(name, route, client, information).socket.send(data)

    def _flow(self, name: str, route: _Route, client: tuple[object, ...], information: bytes) -> _Flow:
        """The client's flow. Raises OSError when there can be none."""
        key = name, client, information
        now = time.monotonic()
        flow = self._flows.get(key)
        if flow is None:
            if not route.admits(str(client[0])):
                raise PermissionError("not one of the sources")
            if len(self._flows) >= self._most_flows:
                self._end(next(iter(self._flows)))
            flow = self._flows[key] = _Flow(route, client, information, now)
            self._watch(flow.socket, lambda: self._from_target(key, flow))
        flow.used = now
        self._flows.move_to_end(key)
        return flow

    def _from_target(self, key: FlowKey, flow: _Flow) -> None:
        for _ in range(_BATCH):
            try:
                data = flow.socket.recv(_DATAGRAM_BYTES)
            except BlockingIOError:
                break
            except OSError:
                continue  # nobody listens there now: that is for the client to notice
            with contextlib.suppress(OSError):
                flow.route.socket.sendmsg([data], _reply_from(flow.information), 0, flow.client)
        if key in self._flows:
            flow.used = time.monotonic()
            self._flows.move_to_end(key)

    def _next_end(self) -> float:
        """Seconds until the next flow may end; -1 (never) without any."""
        for flow in self._flows.values():
            return max(0.1, flow.used + IDLE_SECONDS - time.monotonic())
        return -1

    def _end_idle(self) -> None:
        before = time.monotonic() - IDLE_SECONDS
        while self._flows:
            key = next(iter(self._flows))
            if self._flows[key].used > before:
                return
            self._end(key)

    def _end(self, key: FlowKey) -> None:
        self._close(self._flows.pop(key).socket)

    # --- control

    def _welcome(self) -> None:
        try:
            channel, _ = self._control.accept()
        except OSError:
            return  # gone again
        channel.setblocking(False)
        self._watch(channel, lambda: self._obey(channel))

    def _obey(self, channel: socket.socket) -> None:
        size = socket.CMSG_SPACE(MOST_SOCKETS * array.array("i").itemsize)
        try:
            data, ancillary, _, _ = channel.recvmsg(_MESSAGE_BYTES, size, socket.MSG_CMSG_CLOEXEC)
            if data:
                given = iter(_descriptors(ancillary))
                message = json.loads(data)
                for entry in message.get("set", ()):
                    self._set(entry, given)
                for name in message.get("drop", ()):
                    self._drop(name)
                routes = [route.as_json(name) for name, route in self._routes.items()]
                channel.send(json.dumps({"routes": routes}).encode())
                return
        except BlockingIOError:
            return
        except OSError:
            pass  # whoever asked has been killed meanwhile
        self._close(channel)

    def _set(self, entry: dict[str, object], given: "collections.abc.Iterator[int]") -> None:
        name, target, sources = str(entry["name"]), entry["target"], entry["sources"]
        assert isinstance(target, list) and isinstance(sources, list)
        route = self._routes.get(name)
        if route is None:
            route = self._routes[name] = _Route(_prepared(socket.socket(fileno=next(given))))
            self._watch(route.socket, lambda: self._from_clients(name))
        route.target = target[0], target[1]
        route.sources = tuple(ipaddress.ip_network(text) for text in sources)
        self._end_flows(name)

    def _drop(self, name: str) -> None:
        if route := self._routes.pop(name, None):
            self._end_flows(name)
            self._close(route.socket)

    def _end_flows(self, name: str) -> None:
        for key in [key for key in self._flows if key[0] == name]:
            self._end(key)

    def _watch(self, sock: socket.socket, action: Callable[[], None]) -> None:
        self._actions[sock.fileno()] = action
        self._epoll.register(sock, select.EPOLLIN)

    def _close(self, sock: socket.socket) -> None:
        self._epoll.unregister(sock)
        del self._actions[sock.fileno()]
        sock.close()


def _prepared(sock: socket.socket) -> socket.socket:
    """A socket that does not block and tells to which address of ours a datagram came."""
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    return sock


def _reply_from(information: bytes) -> list[tuple[int, int, bytes]]:
    """Packet information (ip(7), ipv6(7)) of what came, turned into that of the answer: the kernel picks the link."""
    if len(information) == 12:
        return [(socket.IPPROTO_IP, _IP_PKTINFO, bytes(4) + information[4:8] + bytes(4))]
    return [(socket.IPPROTO_IPV6, _IPV6_PKTINFO, information)] if information else []


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, ...]:
    numbers = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    return tuple(numbers)


def _most_flows() -> int:
    """As many as there may be open files, with some left for the routes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(16, min(_MOST_FLOWS, hard - 1024 if hard > 4096 else hard // 2))


def _listener() -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        os.unlink("relay.sock")
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    control.bind("relay.sock")
    os.chmod("relay.sock", 0o600)
    control.listen(8)
    control.setblocking(False)
    return control


def _leave(user: list[int]) -> None:
    """Let go of whoever started this, and of what is not needed."""
    os.setsid()
    log = os.open("relay.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    if user:
        uid, gid = user
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)


def main(arguments: list[str]) -> int:
    """Serve in a child; return once it listens."""
    os.chdir(arguments[0])  # full paths may be too long for a socket
    ready, tell = os.pipe2(os.O_CLOEXEC)
    if os.fork():
        os.close(tell)
        return 0 if os.read(ready, 1) else 1
    relay = Relay(_listener())
    os.write(tell, b"1")
    os.close(tell)
    _leave([int(word) for word in arguments[1:3]])
    relay.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
