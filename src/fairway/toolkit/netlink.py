"""Links, addresses and routes over rtnetlink (rtnetlink(7)), in the network namespace where the socket was made."""

import errno
import os
import socket
import struct
from types import TracebackType

from fairway.toolkit import linux

_NEWLINK, _DELLINK, _GETLINK, _NEWADDR, _NEWROUTE, _DELROUTE = 16, 17, 18, 20, 24, 25
_REQUEST, _ACK, _REPLACE, _EXCLUSIVE, _CREATE = 0x1, 0x4, 0x100, 0x200, 0x400
_ERROR = 2
_IFF_UP = 1
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 1, 3, 4, 18, 28
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC = 1, 4, 5, 7
_TABLE_MAIN, _PROTOCOL_STATIC = 254, 4
_UNICAST, _UNREACHABLE = 1, 7
_SCOPE_GLOBAL, _SCOPE_LINK = 0, 253


def _attribute(kind: int, payload: bytes) -> bytes:
    """One type-length-value, padded to 4 bytes."""
    return struct.pack("HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def _name(text: str) -> bytes:
    return _attribute(_IFLA_IFNAME, text.encode() + b"\0")


def _link_header(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return struct.pack("BxHiII", socket.AF_UNSPEC, 0, index, flags, change)


def _split(prefix: str) -> tuple[bytes, int]:
    """`10.42.0.0/16` to its address bytes and length; a lone address is a /32."""
    address, _, length = prefix.partition("/")
    return socket.inet_aton(address), int(length or 32)


class Netlink:
    """One rtnetlink socket; every call waits for the kernel's answer and raises its error as OSError."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._sequence = 0

    @staticmethod
    def inside(namespace_path: str) -> "Netlink":
        """A socket in another network namespace. The calling thread enters it and comes back."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = -1
        try:
            there = os.open(namespace_path, os.O_RDONLY | os.O_CLOEXEC)
            linux.setns(there, linux.CLONE_NEWNET)
            try:
                return Netlink()
            finally:
                linux.setns(home, linux.CLONE_NEWNET)
        finally:
            os.close(home)
            if there >= 0:
                os.close(there)

    def __enter__(self) -> "Netlink":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def link_index(self, name: str) -> int | None:
        """The index of a link, None when there is none of that name."""
        try:
            answer = self._ask(_GETLINK, 0, _link_header() + _name(name), f"look up {name}")
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return int(struct.unpack_from("i", answer, 4)[0])

    def add_bridge(self, name: str) -> None:
        """A bridge without ports; FileExistsError when the name is taken."""
        info = _attribute(_IFLA_LINKINFO, _attribute(_IFLA_INFO_KIND, b"bridge"))
        self._ask(_NEWLINK, _CREATE | _EXCLUSIVE, _link_header() + _name(name) + info, f"add {name}")

    def add_veth(self, name: str, peer: str, peer_namespace_fd: int, mtu: int = 1500) -> None:
        """A pair of links: `name` here, `peer` in the other network namespace."""
        size = _attribute(_IFLA_MTU, struct.pack("I", mtu))
        there = _link_header() + _name(peer) + size + _attribute(_IFLA_NET_NS_FD, struct.pack("I", peer_namespace_fd))
        data = _attribute(_IFLA_INFO_DATA, _attribute(_VETH_INFO_PEER, there))
        info = _attribute(_IFLA_LINKINFO, _attribute(_IFLA_INFO_KIND, b"veth") + data)
        self._ask(_NEWLINK, _CREATE | _EXCLUSIVE, _link_header() + _name(name) + size + info, f"add {name}")

    def set_up(self, index: int) -> None:
        """Switch a link on."""
        self._ask(_NEWLINK, 0, _link_header(index, _IFF_UP, _IFF_UP), f"set link {index} up")

    def delete_link(self, name: str) -> None:
        """Remove a link (of a veth pair: both ends); nothing happens when there is none of that name."""
        try:
            self._ask(_DELLINK, 0, _link_header() + _name(name), f"delete {name}")
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise

    def add_address(self, index: int, prefix: str) -> None:
        """Give a link an address such as `10.42.0.1/32`; nothing happens when it has it already."""
        address, length = _split(prefix)
        header = struct.pack("BBBBi", socket.AF_INET, length, 0, _SCOPE_GLOBAL, index)
        body = header + _attribute(_IFA_LOCAL, address) + _attribute(_IFA_ADDRESS, address)
        self._ask(_NEWADDR, _CREATE | _REPLACE, body, f"add {prefix}")

    def add_route(self, prefix: str, index: int, *, gateway: str | None = None, source: str | None = None) -> None:
        """A route out of a link, on-link without a gateway; replaces one to the same prefix."""
        scope = _SCOPE_GLOBAL if gateway else _SCOPE_LINK
        body = self._route(prefix, _UNICAST, scope) + _attribute(_RTA_OIF, struct.pack("i", index))
        if gateway:
            body += _attribute(_RTA_GATEWAY, socket.inet_aton(gateway))
        if source:
            body += _attribute(_RTA_PREFSRC, socket.inet_aton(source))
        self._ask(_NEWROUTE, _CREATE | _REPLACE, body, f"add route {prefix}")

    def add_unreachable(self, prefix: str) -> None:
        """Refuse a prefix at once instead of sending it on."""
        self._ask(_NEWROUTE, _CREATE | _REPLACE, self._route(prefix, _UNREACHABLE, _SCOPE_GLOBAL), f"refuse {prefix}")

    def delete_route(self, prefix: str) -> None:
        """Remove a route from the main table; nothing happens when there is none."""
        try:
            self._ask(_DELROUTE, 0, self._route(prefix, 0, 255), f"delete route {prefix}")
        except OSError as error:
            if error.errno != errno.ESRCH:
                raise

    @staticmethod
    def _route(prefix: str, kind: int, scope: int) -> bytes:
        address, length = _split(prefix)
        header = (socket.AF_INET, length, 0, 0, _TABLE_MAIN, _PROTOCOL_STATIC if kind else 0, scope, kind, 0)
        return struct.pack("BBBBBBBBI", *header) + _attribute(_RTA_DST, address)

    def _ask(self, kind: int, flags: int, body: bytes, what: str) -> bytes:
        """Send one request and return the payload of its answer, empty for a plain acknowledgement."""
        self._sequence += 1
        flags |= _REQUEST if kind == _GETLINK else _REQUEST | _ACK
        self._socket.send(struct.pack("IHHII", 16 + len(body), kind, flags, self._sequence, 0) + body)
        while True:
            answer = self._socket.recv(65536)
            length, answer_kind, _, sequence, _ = struct.unpack_from("IHHII", answer)
            if sequence != self._sequence:
                continue
            if answer_kind != _ERROR:
                return answer[16:length]
            code = -struct.unpack_from("i", answer, 16)[0]
            if code:
                raise OSError(code, f"{what}: {os.strerror(code)}")
            return b""
