"""Git's packet lines and side bands, as bytes (git's documentation: protocol-common, protocol-pack)."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

FLUSH = b"0000"
DATA, PROGRESS, FATAL = 1, 2, 3
KEEPALIVE = b"0005\x02"
"""An empty piece of progress: nothing is shown, and nobody in between thinks that the connection is dead."""

_PAYLOAD_BYTES_MAX = 65515
_HEADER_BYTES = 4


class Malformed(Exception):
    """Bytes that no git sends."""


class Command(msgspec.Struct, frozen=True):
    """What a push wants of one ref: its old and its new commit (zeros: none)."""

    old: str
    new: str
    ref: str

    @property
    def deletes(self) -> bool:
        return not self.new.strip("0")

    @property
    def creates(self) -> bool:
        return not self.old.strip("0")


class Packets:
    """Splits what arrives into payloads; None is a flush."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._start = 0
        self.flushed = False
        """Whether `until_flush` has seen it."""

    def feed(self, data: bytes) -> list[bytes | None]:
        """All payloads that are complete. Raises Malformed."""
        self._append(data)
        found: list[bytes | None] = []
        while not isinstance(one := self._take(), bool):
            found.append(one)
        return found

    def until_flush(self, data: bytes) -> list[bytes]:
        """The payloads that are complete and before the first flush. Raises Malformed."""
        self._append(data)
        found: list[bytes] = []
        while isinstance(one := self._take(), bytes):
            found.append(one)
        self.flushed = one is None
        return found

    def _append(self, data: bytes) -> None:
        """What was taken is dropped once per piece, not once per packet."""
        del self._data[: self._start]
        self._start = 0
        self._data += data

    def _take(self) -> bytes | bool | None:
        """The next payload, or False when more must arrive first. Raises Malformed."""
        start = self._start
        if len(self._data) - start < _HEADER_BYTES:
            return False
        length = _length(self._data[start : start + _HEADER_BYTES])
        if length < _HEADER_BYTES:
            self._start += _HEADER_BYTES
            return None
        if len(self._data) - start < length:
            return False
        self._start += length
        return bytes(self._data[start + _HEADER_BYTES : start + length])


def _length(header: bytearray) -> int:
    try:
        return int(header, 16)
    except ValueError:
        raise Malformed("a packet line does not begin with its length") from None


def packet(payload: bytes) -> bytes:
    return b"%04x%b" % (len(payload) + _HEADER_BYTES, payload)


def band(number: int, data: bytes) -> bytes:
    """Data on a side band, in as many packets as it takes."""
    pieces = (data[start : start + _PAYLOAD_BYTES_MAX] for start in range(0, len(data), _PAYLOAD_BYTES_MAX))
    return b"".join(packet(bytes((number,)) + piece) for piece in pieces)


def progress(line: str) -> bytes:
    """One line for the terminal of the person who pushes, who sees `remote: ` before it."""
    return band(PROGRESS, line.encode("utf-8", "replace") + b"\n")


def command(payload: bytes) -> tuple[Command | None, frozenset[str]]:
    """A line of a push and the capabilities behind it; no command for `shallow`. Raises Malformed."""
    line, _, capabilities = payload.partition(b"\0")
    parts = line.rstrip(b"\n").split(b" ", 2)
    words = frozenset(capabilities.decode("utf-8", "replace").split())
    if parts[0] == b"shallow":
        return None, words
    if len(parts) != 3 or not all(len(part) in (40, 64) for part in parts[:2]):
        raise Malformed("a line of the push is not an update of a ref")
    try:
        old, new = (f"{int(part, 16):0{len(part)}x}" for part in parts[:2])
    except ValueError:
        raise Malformed("a line of the push has ids that are none") from None
    return Command(old, new, parts[2].decode("utf-8", "surrogateescape")), words


def report(commands: Sequence[Command], problems: Mapping[str, str], capabilities: frozenset[str]) -> bytes:
    """The answer to a push of which nothing was done, and why. On a side band a flush must follow."""
    unpack = [b"unpack ok\n"]
    refused = [f"ng {one.ref} {problems.get(one.ref, 'nothing of this push was done')}\n" for one in commands]
    lines = (*unpack, *(line.encode("utf-8", "surrogateescape") for line in refused))
    status = b"".join(packet(line) for line in lines) + FLUSH
    if not capabilities & {"report-status", "report-status-v2"}:
        status = b""
    return band(DATA, status) if "side-band-64k" in capabilities else status


def succeeded(status: bytes) -> frozenset[str]:
    """The refs that a report calls good. Raises Malformed."""
    lines = (line for line in Packets().feed(status) if line is not None)
    rows: Iterable[list[bytes]] = (line.rstrip(b"\n").split(b" ", 1) for line in lines)
    return frozenset(row[1].decode("utf-8", "surrogateescape") for row in rows if row[0] == b"ok" and len(row) == 2)
