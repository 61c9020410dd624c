"""DNS messages and how they are read: RFC 1035, RFC 6891 (EDNS).

Reading never loops and never reads outside the packet: whatever it cannot make sense of raises Malformed.
"""

import struct
from collections.abc import Iterable
from enum import IntEnum

import msgspec

Name = tuple[str, ...]
"""Labels from the leaf to the root; ASCII letters in lower case, other bytes as Latin-1 characters."""

HEADER_BYTES = 12
UDP_BYTES_MIN, UDP_BYTES_MAX = 512, 4096
_NAME_BYTES_MAX = 255
LABEL_BYTES_MAX = 63
_POINTER = 0xC0
OPT = 41

RESPONSE, AUTHORITATIVE, TRUNCATED = 0x8000, 0x0400, 0x0200
RECURSION_DESIRED, RECURSION_AVAILABLE, CHECKING_DISABLED = 0x0100, 0x0080, 0x0010
DNSSEC_OK = 0x8000


class Type(IntEnum):
    """The record types that are made here; all others are only passed on."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    PTR = 12
    TXT = 16
    AAAA = 28
    SRV = 33
    ANY = 255


class Rcode(IntEnum):
    """Response codes."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


class Malformed(Exception):
    """The bytes are not a DNS message."""


class Edns(msgspec.Struct, frozen=True):
    """What the other side can take."""

    udp_bytes: int
    dnssec_ok: bool = False
    version: int = 0


class Query(msgspec.Struct, frozen=True):
    """A question; `question` is its section as it was sent, so that an answer repeats it letter by letter."""

    id: int
    opcode: int
    name: Name
    type: int
    klass: int
    question: bytes
    recursion_desired: bool = False
    checking_disabled: bool = False
    edns: Edns | None = None


class Record(msgspec.Struct, frozen=True):
    """A resource record of class IN; its data is bytes, and names that may be compressed."""

    name: Name
    type: int
    ttl_seconds: int
    data: tuple[bytes | Name, ...]


class Answer(msgspec.Struct, frozen=True):
    """What to say to a question."""

    rcode: Rcode = Rcode.NOERROR
    authoritative: bool = True
    answers: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()


class Section(IntEnum):
    """Where in a message a record is."""

    ANSWER = 0
    AUTHORITY = 1
    ADDITIONAL = 2


class Entry(msgspec.Struct, frozen=True):
    """A record of a received message and where in it its lifetime and data are."""

    section: Section
    name: Name
    type: int
    klass: int
    ttl_seconds: int
    start: int
    ttl_offset: int
    data_offset: int
    end: int


class Reply(msgspec.Struct, frozen=True):
    """A received answer; `packet` is all of it."""

    packet: bytes
    id: int
    rcode: int
    truncated: bool
    name: Name
    type: int
    question_end: int
    entries: tuple[Entry, ...]


def labels(text: str) -> Name:
    """`svc.cluster.local.` to labels."""
    return tuple(part for part in text.lower().split(".") if part)


def wire(name: Name) -> bytes:
    """A name, not compressed.  Raises Malformed when a label or the whole is too long."""
    parts = []
    for label in name:
        data = label.encode("latin-1", "replace")
        if not 0 < len(data) <= LABEL_BYTES_MAX:
            raise Malformed("a label is empty or longer than 63 bytes")
        parts.append(bytes((len(data),)) + data)
    whole = b"".join(parts) + b"\0"
    if len(whole) > _NAME_BYTES_MAX:
        raise Malformed("a name is longer than 255 bytes")
    return whole


def parse_query(packet: bytes) -> Query:
    """A question of one name.  Raises Malformed."""
    number, flags, questions, answers, authority, additional = _header(packet)
    if flags & RESPONSE:
        raise Malformed("it is an answer")
    if questions != 1:
        raise Malformed("it does not have one question")
    name, offset = read_name(packet, HEADER_BYTES)
    kind, klass = _unpack("!HH", packet, offset)
    end = offset + 4
    if end - HEADER_BYTES != len(wire(name)) + 4:
        raise Malformed("the name in a question is compressed")
    edns = None
    if answers or authority or additional:
        edns = _edns(read_entries(packet, end, (answers, authority, additional)), packet)
    return Query(
        number,
        flags >> 11 & 15,
        name,
        kind,
        klass,
        packet[HEADER_BYTES:end],
        bool(flags & RECURSION_DESIRED),
        bool(flags & CHECKING_DISABLED),
        edns,
    )


def parse_reply(packet: bytes) -> Reply:
    """An answer from another server.  Raises Malformed."""
    number, flags, questions, *counts = _header(packet)
    if not flags & RESPONSE or questions != 1:
        raise Malformed("it is not the answer to one question")
    name, offset = read_name(packet, HEADER_BYTES)
    kind, _ = _unpack("!HH", packet, offset)
    truncated = bool(flags & TRUNCATED)
    entries = () if truncated else read_entries(packet, offset + 4, counts)
    return Reply(packet, number, flags & 15, truncated, name, kind, offset + 4, entries)


def read_entries(packet: bytes, offset: int, counts: Iterable[int]) -> tuple[Entry, ...]:
    """The records of the sections whose sizes are given.  Raises Malformed."""
    found = []
    for section, count in zip(Section, counts, strict=True):
        for _ in range(count):
            start = offset
            name, offset = read_name(packet, offset)
            kind, klass, ttl_seconds, length = _unpack("!HHIH", packet, offset)
            end = offset + 10 + length
            if end > len(packet):
                raise Malformed("a record ends outside the message")
            found.append(Entry(section, name, kind, klass, ttl_seconds, start, offset + 4, offset + 10, end))
            offset = end
    return tuple(found)


def read_name(packet: bytes, offset: int) -> tuple[Name, int]:
    """The name at an offset and where what follows it starts.  Raises Malformed.

    A pointer must lead to before the part that it was found in, so a chain of them always ends.
    """
    parts: list[str] = []
    size, limit, after = 1, offset, -1
    while True:
        length = _byte(packet, offset)
        if length == 0:
            return tuple(parts), offset + 1 if after < 0 else after
        if length & _POINTER == _POINTER:
            to = (length & 0x3F) << 8 | _byte(packet, offset + 1)
            after = offset + 2 if after < 0 else after
            if to >= limit:
                raise Malformed("a compressed name points forward")
            offset = limit = to
            continue
        if length & _POINTER:
            raise Malformed("a label has a reserved type")
        size += length + 1
        label = packet[offset + 1 : offset + 1 + length]
        if size > _NAME_BYTES_MAX or len(label) < length:
            raise Malformed("a name is longer than 255 bytes or than the message")
        parts.append(label.lower().decode("latin-1"))
        offset += length + 1


def udp_bytes(query: Query) -> int:
    """How long an answer over UDP may be."""
    if query.edns is None:
        return UDP_BYTES_MIN
    return max(UDP_BYTES_MIN, min(query.edns.udp_bytes, UDP_BYTES_MAX))


def _edns(entries: tuple[Entry, ...], packet: bytes) -> Edns | None:
    found = [entry for entry in entries if entry.type == OPT]
    if len(found) > 1:
        raise Malformed("it has two OPT records")
    if not found:
        return None
    ttl = found[0].ttl_seconds
    return Edns(found[0].klass, bool(ttl & DNSSEC_OK), ttl >> 16 & 255)


def _header(packet: bytes) -> tuple[int, ...]:
    return _unpack("!6H", packet, 0)


def _unpack(layout: str, packet: bytes, offset: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(layout, packet, offset)
    except struct.error as error:
        raise Malformed("the message ends too early") from error


def _byte(packet: bytes, offset: int) -> int:
    try:
        return packet[offset]
    except IndexError as error:
        raise Malformed("the message ends too early") from error
