"""SPDY/3.1 frames: the fixed dictionary, round trips however the stream is cut, limits, and nonsense."""

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.toolkit import spdy
from fairway.toolkit.spdy import Data, Decoder, Encoder, Event, GoneAway, Opened, Pinged, Replied, Reset, SpdyError


def test_the_dictionary_is_the_one_of_the_protocol() -> None:
    assert len(spdy.DICTIONARY) == 1423
    assert zlib.adler32(spdy.DICTIONARY) == 0xE3C6A7C2  # what every SPDY/3 header block names in its zlib header


def test_a_header_block_names_the_dictionary() -> None:
    frame = Encoder().open(1, {"streamType": "error"})
    assert frame[:4] == b"\x80\x03\x00\x01"
    assert frame[18:20][:1] == b"\x78"
    assert frame[20:24] == b"\xe3\xc6\xa7\xc2"


def test_every_frame() -> None:
    encoder, decoder = Encoder(), Decoder()
    stream = b"".join(
        (
            encoder.open(1, {"streamType": "data", "port": "80"}),
            encoder.open(3, {"streamType": "error"}, fin=True),
            encoder.reply(1),
            encoder.reply(3, {"status": "200 OK"}, fin=True),
            encoder.data(1, b"hello"),
            encoder.data(1, b"", fin=True),
            encoder.reset(3, spdy.CANCEL),
            encoder.ping(7),
            encoder.go_away(3),
        )
    )
    assert decoder.feed(stream) == [
        Opened(1, {"streamtype": "data", "port": "80"}, False),
        Opened(3, {"streamtype": "error"}, True),
        Replied(1, {}, False),
        Replied(3, {"status": "200 OK"}, True),
        Data(1, b"hello", False),
        Data(1, b"", True),
        Reset(3, spdy.CANCEL),
        Pinged(7),
        GoneAway(3),
    ]


def control(kind: int, body: bytes, *, version: int = 3) -> bytes:
    return struct.pack(">HHI", 0x8000 | version, kind, len(body)) + body


def block(plain: bytes) -> bytes:
    deflate = zlib.compressobj(zdict=spdy.DICTIONARY)
    return deflate.compress(plain) + deflate.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize(
    "frame",
    [
        control(1, b"\0\0\0\1", version=2),
        control(1, b"\0"),
        control(1, struct.pack(">IIH", 0, 0, 0) + block(struct.pack(">I", 0))),
        control(1, struct.pack(">IIH", 1, 0, 0) + b"garbage"),
        control(1, struct.pack(">IIH", 1, 0, 0) + block(struct.pack(">II", 1, 1000) + b"short")),
        control(1, struct.pack(">IIH", 1, 0, 0) + block(struct.pack(">I", 5))),
        control(1, struct.pack(">IIH", 1, 0, 0) + block(bytes(1 << 22))),  # 4 MiB in 4 KiB
        struct.pack(">HHI", 0x8003, 1, 1 << 20),
        struct.pack(">II", 0, 5),
    ],
    ids=["version", "short", "stream 0", "not zlib", "cut off", "missing", "bomb", "long", "data of stream 0"],
)
def test_broken_frames_are_refused(frame: bytes) -> None:
    with pytest.raises(SpdyError):
        Decoder().feed(frame)


def test_unknown_frames_are_left_out() -> None:
    assert Decoder().feed(control(4, bytes(12)) + control(9, bytes(8)) + control(77, b"x")) == []


names = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=12)
headers = st.dictionaries(names, st.text(st.characters(max_codepoint=255), max_size=30), max_size=5)
frames = st.lists(
    st.one_of(
        st.builds(Opened, st.integers(1, 2**31 - 1), headers, st.booleans()),
        st.builds(Replied, st.integers(1, 2**31 - 1), headers, st.booleans()),
        st.builds(Data, st.integers(1, 2**31 - 1), st.binary(max_size=300), st.booleans()),
        st.builds(Reset, st.integers(1, 2**31 - 1), st.integers(1, 11)),
        st.builds(Pinged, st.integers(0, 2**32 - 1)),
    ),
    max_size=10,
)


def encoded(encoder: Encoder, event: Event) -> bytes:
    match event:
        case Opened():
            return encoder.open(event.stream, event.headers, fin=event.fin)
        case Replied():
            return encoder.reply(event.stream, event.headers, fin=event.fin)
        case Data():
            return encoder.data(event.stream, event.data, fin=event.fin)
        case Reset():
            return encoder.reset(event.stream, event.status)
        case Pinged():
            return encoder.ping(event.id)
    raise AssertionError(event)


def joined(events: list[Event]) -> list[Event]:
    """Pieces of one data frame put together again; a frame ends where another stream or kind begins, or with fin."""
    found: list[Event] = []
    for event in events:
        last = found[-1] if found else None
        if isinstance(event, Data) and isinstance(last, Data) and last.stream == event.stream and not last.fin:
            found[-1] = Data(event.stream, last.data + event.data, event.fin)
        else:
            found.append(event)
    return found


@given(frames, st.lists(st.integers(1, 50), min_size=1, max_size=20))
@settings(deadline=None)
def test_any_cutting_gives_the_same_events(sent: list[Event], cuts: list[int]) -> None:
    encoder, decoder = Encoder(), Decoder()
    stream = b"".join(encoded(encoder, event) for event in sent)
    got: list[Event] = []
    at = turn = 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        got += decoder.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert joined(got) == joined(sent)


@given(st.lists(st.binary(max_size=64), max_size=20), st.booleans())
def test_nonsense_is_refused_and_nothing_else(chunks: list[bytes], looks_right: bool) -> None:
    decoder = Decoder()
    try:
        for chunk in chunks:
            decoder.feed((b"\x80\x03\x00\x01" if looks_right else b"") + chunk)
    except SpdyError:
        return
