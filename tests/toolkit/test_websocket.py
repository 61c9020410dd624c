"""WebSocket frames: the RFC's examples, every way of cutting a stream, and nonsense."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.toolkit.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Decoder,
    Piece,
    WebSocketError,
    accept_key,
    encode,
    encode_close,
)

MASK = b"\x37\xfa\x21\x3d"


def test_the_example_of_the_handshake() -> None:
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, section 1.3


@pytest.mark.parametrize(
    ("frame", "piece"),
    [  # RFC 6455, section 5.7
        (b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", Piece(TEXT, b"Hello")),
        (b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", Piece(PONG, b"Hello")),
    ],
)
def test_the_examples_of_masked_frames(frame: bytes, piece: Piece) -> None:
    assert Decoder().feed(frame) == [piece]
    assert encode(piece.opcode, piece.data, mask=MASK) == frame


def test_servers_do_not_mask() -> None:
    assert encode(TEXT, b"Hello") == b"\x81\x05Hello"
    assert len(encode(BINARY, bytes(256))) == 256 + 4
    assert len(encode(BINARY, bytes(65536))) == 65536 + 10
    assert encode_close(1000, "bye") == b"\x88\x05\x03\xe8bye"
    assert Decoder(masked=False).feed(b"\x81\x05Hello") == [Piece(TEXT, b"Hello")]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\xc1\x80" + MASK, 1002),  # a reserved bit
        (b"\x83\x80" + MASK, 1002),  # an unknown opcode
        (b"\x81\x05Hello", 1002),  # not masked
        (b"\x09\x80" + MASK, 1002),  # a fragmented ping
        (b"\x89\xfe\x00\x7e" + MASK, 1002),  # a long ping
        (b"\x80\x80" + MASK, 1002),  # a continuation of nothing
        (encode(TEXT, b"a", mask=MASK, last=False) + encode(TEXT, b"b", mask=MASK), 1002),
        (b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff" + MASK, 1009),
    ],
)
def test_broken_frames_are_refused(frame: bytes, code: int) -> None:
    with pytest.raises(WebSocketError) as caught:
        Decoder().feed(frame)
    assert caught.value.code == code


def test_a_huge_frame_is_handed_on_as_it_comes() -> None:
    decoder = Decoder()
    assert decoder.feed(encode(BINARY, bytes(1 << 20), mask=MASK)[:100])[0].last is False
    assert len(decoder.feed(bytes(4096))[0].data) == 4096


messages = st.lists(
    st.tuples(
        st.sampled_from([TEXT, BINARY, PING]),
        st.binary(max_size=200),
        st.integers(1, 3),
        st.binary(min_size=4, max_size=4),
    ),
    max_size=8,
)


@given(messages, st.lists(st.integers(1, 60), min_size=1, max_size=30))
@settings(deadline=None)
def test_any_cutting_gives_the_same_messages(sent: list[tuple[int, bytes, int, bytes]], cuts: list[int]) -> None:
    stream = b"".join(_frames(*message) for message in sent)
    decoder, got, at, turn = Decoder(), [], 0, 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        got += decoder.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert _whole(got) == [(opcode, data[:125] if opcode == PING else data) for opcode, data, _, _ in sent]


def _frames(opcode: int, data: bytes, parts: int, mask: bytes) -> bytes:
    if opcode >= CLOSE:
        return encode(opcode, data[:125], mask=mask)
    size = len(data) // parts + 1
    chunks = [data[start : start + size] for start in range(0, len(data), size)] or [b""]
    return b"".join(
        encode(opcode if not index else CONTINUATION, chunk, mask=mask, last=index == len(chunks) - 1)
        for index, chunk in enumerate(chunks)
    )


def _whole(pieces: list[Piece]) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    rest = b""
    for piece in pieces:
        if piece.opcode >= CLOSE:
            found.append((piece.opcode, piece.data))
            continue
        rest = piece.data if piece.first else rest + piece.data
        if piece.last:
            found.append((piece.opcode, rest))
    return found


@given(st.lists(st.binary(max_size=64), max_size=20))
def test_nonsense_is_refused_and_nothing_else(chunks: list[bytes]) -> None:
    decoder = Decoder()
    try:
        for chunk in chunks:
            decoder.feed(chunk)
    except WebSocketError as error:
        assert error.code in (1002, 1009)
