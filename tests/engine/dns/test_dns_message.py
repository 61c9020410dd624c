"""Reading and writing messages, also from people who mean harm."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.engine.dns import message, render
from fairway.engine.dns.message import Answer, Edns, Malformed, Name, Query, Rcode, Record, Type

WEB: Name = ("web", "default", "svc", "cluster", "local")


def packet(name: bytes, *, flags: int = 0x0100, counts: tuple[int, ...] = (1, 0, 0, 0), rest: bytes = b"") -> bytes:
    return struct.pack("!6H", 7, flags, *counts) + name + struct.pack("!HH", 1, 1) + rest


def query(name: Name = WEB, type: int = Type.A, edns: Edns | None = None) -> Query:
    return Query(7, 0, name, type, 1, message.wire(name) + struct.pack("!HH", type, 1), True, False, edns)


def addresses(count: int) -> tuple[Record, ...]:
    return tuple(Record(WEB, Type.A, 5, (bytes((10, 42, 0, n)),)) for n in range(count))


def test_a_query_is_read_whatever_its_case() -> None:
    found = message.parse_query(packet(b"\3WeB\7Default\3svc\7cluster\5LOCAL\0"))
    assert found.name == WEB
    assert (found.id, found.type, found.klass, found.recursion_desired, found.edns) == (7, 1, 1, True, None)
    assert found.question.startswith(b"\3WeB")


def test_edns_is_read() -> None:
    opt = struct.pack("!BHHIH", 0, 41, 1400, 0x8000, 0)
    found = message.parse_query(packet(b"\1a\0", counts=(1, 0, 0, 1), rest=opt))
    assert found.edns == Edns(1400, True, 0)
    assert message.udp_bytes(found) == 1400


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(packet(b"\1a\0")[:-1], id="cut"),
        pytest.param(packet(b"\1a\0", flags=0x8000), id="an answer"),
        pytest.param(packet(b"\1a\0", counts=(2, 0, 0, 0)), id="two questions"),
        pytest.param(packet(b"\xc0\x0c"), id="a pointer to itself"),
        pytest.param(packet(b"\1a\xc0\x0c"), id="a pointer to its own start"),
        pytest.param(packet(b"\xc0\x05"), id="a pointer into the header"),
        pytest.param(packet(b"\x40a\0"), id="a reserved label type"),
        pytest.param(packet(b"\x3f" * 20), id="longer than the message"),
        pytest.param(packet((b"\x3f" + b"a" * 63) * 4 + b"\0"), id="a name over 255 bytes"),
        pytest.param(packet(b"\1a\0", counts=(1, 0, 0, 9)), id="records that are not there"),
        pytest.param(
            packet(b"\1a\0", counts=(1, 0, 0, 2), rest=struct.pack("!BHHIH", 0, 41, 512, 0, 0) * 2), id="two OPT"
        ),
    ],
)
def test_nonsense_is_refused(bad: bytes) -> None:
    with pytest.raises(Malformed):
        message.parse_query(bad)


@given(st.binary(max_size=600))
def test_garbage_never_does_more_than_be_malformed(data: bytes) -> None:
    for parse in (message.parse_query, message.parse_reply):
        try:
            parse(data)
        except Malformed:
            pass
    render.refusal(data, Rcode.FORMERR)


@given(st.binary(max_size=300), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_garbage_behind_a_good_header(body: bytes, answers: int, authority: int, additional: int) -> None:
    header = struct.pack("!6H", 1, 0x8000, 1, answers, authority, additional)
    try:
        message.parse_reply(header + b"\1a\0\0\1\0\1" + body)
    except Malformed:
        pass


_LABEL = st.binary(min_size=1, max_size=20).map(lambda raw: raw.lower().decode("latin-1"))
_NAME = st.lists(_LABEL, min_size=1, max_size=6).map(tuple)
_RECORD = st.builds(
    Record,
    name=_NAME,
    type=st.just(int(Type.CNAME)),
    ttl_seconds=st.integers(0, 2**31 - 1),
    data=st.tuples(_NAME),
)


@given(_NAME, st.lists(_RECORD, max_size=8))
def test_what_is_written_reads_the_same(name: Name, records: list[Record]) -> None:
    data = render.encode(query(name), Answer(answers=tuple(records)), 65535)
    reply = message.parse_reply(data)
    assert reply.name == name
    read = [(entry.name, entry.ttl_seconds, message.read_name(data, entry.data_offset)[0]) for entry in reply.entries]
    assert read == [(record.name, record.ttl_seconds, record.data[0]) for record in records]


def test_names_are_compressed() -> None:
    data = render.encode(query(), Answer(answers=addresses(2)), 512)
    assert len(data) == 12 + len(query().question) + 2 * 16
    assert data[12 + len(query().question) :][:2] == b"\xc0\x0c"


@pytest.mark.parametrize(("bytes_max", "count", "truncated"), [(512, 29, True), (4096, 60, False)])
def test_what_does_not_fit_is_cut_and_said(bytes_max: int, count: int, truncated: bool) -> None:
    data = render.encode(query(), Answer(answers=addresses(60)), bytes_max)
    _, flags, _, answers, _, _ = struct.unpack_from("!6H", data)
    assert (answers, bool(flags & 0x0200)) == (count, truncated)
    assert len(data) <= bytes_max


def test_additional_records_are_dropped_without_a_word() -> None:
    data = render.encode(query(), Answer(answers=addresses(1), additional=addresses(60)), 512)
    flags, additional = struct.unpack_from("!H", data, 2)[0], struct.unpack_from("!H", data, 10)[0]
    assert not flags & 0x0200
    assert 0 < additional < 60


def test_edns_is_answered_with_edns_and_room_is_kept_for_it() -> None:
    asked = query(edns=Edns(512))
    data = render.encode(asked, Answer(answers=addresses(60)), message.udp_bytes(asked))
    assert len(data) <= 512
    assert data[-11:-8] == b"\0\0\x29"


def test_bad_version_is_spread_over_header_and_opt() -> None:
    data = render.encode(query(edns=Edns(512, version=1)), Answer(Rcode.BADVERS), 512)
    assert data[3] & 15 == 0
    assert data[-6] == 1


def test_a_relayed_answer_has_the_askers_id_spelling_and_the_time_that_is_left() -> None:
    upstream = render.encode(query(), Answer(answers=addresses(1), authoritative=True), 512)
    asked = Query(99, 0, WEB, 1, 1, query().question.replace(b"web", b"wEb"), True)
    data = render.relay(message.parse_reply(upstream), asked, 3, 512)
    reply = message.parse_reply(data)
    assert (reply.id, reply.entries[0].ttl_seconds) == (99, 2)
    assert b"wEb" in data
    assert not data[2] & 0x04, "not authoritative"


def test_a_relayed_answer_that_is_too_long_is_cut_to_its_question() -> None:
    upstream = render.encode(query(), Answer(answers=addresses(60)), 4096)
    data = render.relay(message.parse_reply(upstream), query(), 0, 512)
    reply = message.parse_reply(data)
    assert reply.truncated
    assert len(data) == 12 + len(query().question)


@pytest.mark.parametrize("name", [("a" * 64,), ("",), ("a" * 60,) * 5])
def test_oversize_names_are_not_written(name: Name) -> None:
    with pytest.raises(Malformed):
        message.wire(name)
