"""DNS messages as they are written: names compressed (RFC 1035 section 4.1.4), cut to what the asker can take."""

import struct

from fairway.engine.dns.message import (
    AUTHORITATIVE,
    CHECKING_DISABLED,
    DNSSEC_OK,
    HEADER_BYTES,
    LABEL_BYTES_MAX,
    OPT,
    RECURSION_AVAILABLE,
    RECURSION_DESIRED,
    RESPONSE,
    TRUNCATED,
    UDP_BYTES_MAX,
    Answer,
    Name,
    Query,
    Rcode,
    Record,
    Reply,
)


def encode(query: Query, answer: Answer, bytes_max: int) -> bytes:
    """The answer to a question in at most `bytes_max` bytes.

    What does not fit is left out: silently for additional records, with the truncation flag for the others.
    """
    out = bytearray(HEADER_BYTES)
    out += query.question
    opt = _opt_record(answer.rcode) if query.edns else b""
    room = bytes_max - len(opt)
    offsets = {query.name[index:]: offset for index, offset in enumerate(_label_offsets(query.name))}
    answers, fits = _write(out, answer.answers, offsets, room)
    authority, fits = _write(out, answer.authority, offsets, room) if fits else (0, False)
    additional = _write(out, answer.additional, offsets, room)[0] if fits else 0
    flags = _flags(query, answer, truncated=not fits)
    header = (query.id, flags, 1 if query.question else 0, answers, authority, additional + bool(opt))
    struct.pack_into("!6H", out, 0, *header)
    return bytes(out + opt)


def encode_query(id: int, query: Query) -> bytes:
    """The same question for an upstream server; asks with EDNS only if we were asked so."""
    flags = RECURSION_DESIRED | (CHECKING_DISABLED if query.checking_disabled else 0)
    header = struct.pack("!6H", id, flags, 1, 0, 0, 1 if query.edns else 0)
    if not query.edns:
        return header + query.question
    # 1232 bytes pass unfragmented nearly everywhere (DNS flag day 2020).
    opt = struct.pack("!BHHIH", 0, OPT, 1232, DNSSEC_OK if query.edns.dnssec_ok else 0, 0)
    return header + query.question + opt


def refusal(packet: bytes, rcode: Rcode) -> bytes | None:
    """An answer to something that cannot be read; None when even that would be wrong, as for an answer."""
    if len(packet) < HEADER_BYTES or packet[2] & 0x80:
        return None
    flags = RESPONSE | (packet[2] & 0x79) << 8 | rcode
    return packet[:2] + struct.pack("!5H", flags, 0, 0, 0, 0)


def relay(reply: Reply, query: Query, age_seconds: int, bytes_max: int) -> bytes:
    """A received answer for the one who asked: with his id, his spelling and the lifetimes that remain.

    Too long a one is cut to its question, with the truncation flag.
    """
    out = bytearray(reply.packet)
    flags = struct.unpack_from("!H", out, 2)[0] & ~(AUTHORITATIVE | RECURSION_DESIRED | CHECKING_DISABLED)
    flags |= RECURSION_AVAILABLE | _asked_flags(query)
    out[HEADER_BYTES : reply.question_end] = query.question
    for entry in reply.entries:
        if entry.type != OPT:
            struct.pack_into("!I", out, entry.ttl_offset, max(entry.ttl_seconds - age_seconds, 0))
    if len(out) > bytes_max:
        del out[reply.question_end :]
        flags |= TRUNCATED
        struct.pack_into("!6H", out, 0, query.id, flags, 1, 0, 0, 0)
    else:
        struct.pack_into("!HH", out, 0, query.id, flags)
    return bytes(out)


def _asked_flags(query: Query) -> int:
    return (RECURSION_DESIRED if query.recursion_desired else 0) | (CHECKING_DISABLED if query.checking_disabled else 0)


def _flags(query: Query, answer: Answer, *, truncated: bool) -> int:
    flags = RESPONSE | RECURSION_AVAILABLE | query.opcode << 11 | _asked_flags(query) | answer.rcode & 15
    flags |= AUTHORITATIVE if answer.authoritative else 0
    return flags | (TRUNCATED if truncated else 0)


def _opt_record(rcode: Rcode) -> bytes:
    return struct.pack("!BHHBBHH", 0, OPT, UDP_BYTES_MAX, rcode >> 4, 0, 0, 0)


def _label_offsets(name: Name) -> list[int]:
    offsets, offset = [], HEADER_BYTES
    for label in name:
        offsets.append(offset)
        offset += len(label) + 1
    return offsets


def _write(out: bytearray, records: tuple[Record, ...], offsets: dict[Name, int], bytes_max: int) -> tuple[int, bool]:
    """Append records while they fit; how many did, and whether all."""
    for count, record in enumerate(records):
        start = len(out)
        _write_name(out, record.name, offsets)
        out += struct.pack("!HHIH", record.type, 1, record.ttl_seconds, 0)
        data = len(out)
        for part in record.data:
            if isinstance(part, bytes):
                out += part
            else:
                _write_name(out, part, offsets)
        struct.pack_into("!H", out, data - 2, len(out) - data)
        if len(out) > bytes_max:
            del out[start:]
            return count, False
    return len(records), True


def _write_name(out: bytearray, name: Name, offsets: dict[Name, int]) -> None:
    for index, label in enumerate(name):
        rest = name[index:]
        known = offsets.get(rest)
        if known is not None:
            out += struct.pack("!H", 0xC000 | known)
            return
        if len(out) < 0x4000:
            offsets[rest] = len(out)
        data = label.encode("latin-1", "replace")[:LABEL_BYTES_MAX]
        out.append(len(data))
        out += data
    out.append(0)
