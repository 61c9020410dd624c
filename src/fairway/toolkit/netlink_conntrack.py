"""Netfilter over netlink: tracked connections, and the generation number of the packet filter's rules.

Message layouts: linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h, nf_tables.h.
"""

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import NamedTuple, Self

_NETLINK_NETFILTER = 12
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_CONNTRACK, _RULES = 1 << 8, 10 << 8
_CONNTRACK_NEW, _CONNTRACK_GET, _CONNTRACK_DELETE = _CONNTRACK | 0, _CONNTRACK | 1, _CONNTRACK | 2
_RULES_GET_GENERATION = _RULES | 16
_TUPLE_ORIGINAL, _TUPLE_REPLY, _ID = 1, 2, 12
_GENERATION_ID = 1
_TYPE_MASK = 0x3FFF
_NESTED = 0x8000
_BUFFER_BYTES = 1 << 18


class Flow(NamedTuple):
    """A tracked IPv4 connection: where it was sent to, and who really answers it.

    `identity` is the kernel's own attributes, by which it finds the connection again.
    """

    protocol: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    reply_source: str
    reply_source_port: int
    identity: bytes


class Netfilter:
    """One netfilter socket in the network namespace where it was made; the kernel's errors are raised as OSError."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def rules_generation(self) -> int:
        """A number that grows by one with every committed change of any nftables ruleset in this namespace."""
        for payload in self._ask(_RULES_GET_GENERATION, 0, socket.AF_UNSPEC, b""):
            return int(struct.unpack("!I", _attributes(payload)[_GENERATION_ID])[0])
        raise OSError("the kernel did not tell the generation of the ruleset")

    def flows(self, protocol: int) -> list[Flow]:
        """All tracked IPv4 connections of one IP protocol with ports (6 TCP, 17 UDP, 132 SCTP)."""
        found = []
        for payload in self._ask(_CONNTRACK_GET, _DUMP, socket.AF_INET, b""):
            flow = _flow(payload, protocol)
            if flow:
                found.append(flow)
        return found

    def forget(self, flows: Iterable[Flow]) -> int:
        """Drop connections from the table; returns how many were still in it."""
        dropped = 0
        for flow in flows:
            try:
                for _ in self._ask(_CONNTRACK_DELETE, _ACK, socket.AF_INET, flow.identity):
                    pass
                dropped += 1
            except FileNotFoundError:
                continue
        return dropped

    def _ask(self, kind: int, flags: int, family: int, body: bytes) -> Iterator[bytes]:
        """Send one request; yields the payload of each answer after the netfilter header."""
        self._sequence += 1
        header = struct.pack("IHHII", 20 + len(body), kind, _REQUEST | flags, self._sequence, 0)
        self._socket.send(header + struct.pack("!BBH", family, 0, 0) + body)
        while True:
            buffer = self._socket.recv(_BUFFER_BYTES)
            offset = 0
            while offset < len(buffer):
                length, answer, _, sequence, _ = struct.unpack_from("IHHII", buffer, offset)
                payload = buffer[offset + 16 : offset + length]
                offset += (length + 3) & ~3
                if sequence != self._sequence:
                    continue
                if answer in (_ERROR, _DONE):
                    _raise_for(payload)
                    return
                yield payload[4:]
                if not flags & (_DUMP | _ACK):
                    return


def _raise_for(payload: bytes) -> None:
    code = -struct.unpack_from("i", payload)[0]
    if code:
        raise OSError(code, f"netfilter: {os.strerror(code)}")


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("HH", data, offset)
        if length < 4:
            break
        found[kind & _TYPE_MASK] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def _attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def _flow(payload: bytes, protocol: int) -> Flow | None:
    parts = _attributes(payload)
    original = _tuple(parts.get(_TUPLE_ORIGINAL, b""), protocol)
    reply = _tuple(parts.get(_TUPLE_REPLY, b""), protocol) if original else None
    if original is None or reply is None:
        return None
    source, destination, source_port, destination_port = original
    # With the id only this very connection is dropped, not a newer one with the same addresses.
    identity = _attribute(_TUPLE_ORIGINAL | _NESTED, parts[_TUPLE_ORIGINAL]) + _attribute(_ID, parts[_ID])
    return Flow(protocol, source, source_port, destination, destination_port, reply[0], reply[2], identity)


def _tuple(data: bytes, protocol: int) -> tuple[str, str, int, int] | None:
    """Source, destination and their ports; None for another protocol."""
    parts = _attributes(data)
    ports = _attributes(parts.get(2, b""))
    if 2 not in ports or 3 not in ports or ports[1][0] != protocol:
        return None
    hosts = _attributes(parts[1])
    numbers = struct.unpack("!H", ports[2])[0], struct.unpack("!H", ports[3])[0]
    return socket.inet_ntoa(hosts[1]), socket.inet_ntoa(hosts[2]), *numbers
