"""Read a container's log: CRI lines in, what `kubectl logs` prints out.

A line of the file is `RFC3339Nano stdout|stderr P|F text`; P marks a part that the next line goes on with.
Source: upstream `pkg/kubelet/kuberuntime/logs`.
"""

import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from fairway.toolkit.clock import Clock

_PIECE_BYTES = 64 * 1024
_POLL_SECONDS = 0.05
_BATCH_BYTES = 256 * 1024


class LogOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader asked for; `since` is a time as the log has it, with nine decimals."""

    follow: bool = False
    tail_lines: int | None = None
    since: str = ""
    timestamps: bool = False
    limit_bytes: int | None = None


class Printer:
    """Lines of the file to bytes of the answer; remembers whether a line is unfinished and how much is left to give."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._left = options.limit_bytes
        self._unfinished = False

    @property
    def exhausted(self) -> bool:
        return self._left == 0

    def text(self, line: bytes) -> bytes:
        """What one line adds to the answer; a line that is not in the format adds nothing."""
        time, _, rest = line.partition(b" ")
        _, _, rest = rest.partition(b" ")
        tag, gap, content = rest.partition(b" ")
        if not gap or time.decode("ascii", "replace") < self._options.since:
            return b""
        stamp = time + b" " if self._options.timestamps and not self._unfinished else b""
        self._unfinished = tag[:1] == b"P"
        return self._cut(stamp + content + (b"" if self._unfinished else b"\n"))

    def _cut(self, data: bytes) -> bytes:
        if self._left is None:
            return data
        data = data[: self._left]
        self._left -= len(data)
        return data


async def copy(
    path: Path,
    options: LogOptions,
    write: Callable[[bytes], Awaitable[None]],
    running: Callable[[], bool],
    clock: Clock,
) -> None:
    """Send the log to `write`; with `follow` until the container has ended and all is read.  Raises OSError.

    Rotation is followed by the file's identity: the old file is read to its end before the new one is opened.
    """
    printer = Printer(options)
    file = path.open("rb")
    try:
        file.seek(_tail_position(file, options.tail_lines))
        rest = b""
        while not printer.exhausted:
            alive = running()  # asked before reading: what came until then is still read
            rest = await _send_new(file, rest, printer, write)
            if printer.exhausted or not options.follow:
                return
            if _is_rotated(file, path):
                rest = await _send_new(file, rest, printer, write)
                file.close()
                file = path.open("rb")
            elif not alive:
                return
            else:
                await clock.sleep(_POLL_SECONDS)
    finally:
        file.close()


async def _send_new(file: BinaryIO, rest: bytes, printer: Printer, write: Callable[[bytes], Awaitable[None]]) -> bytes:
    """Send every whole line from here to the end of the file; returns the line that is not whole yet."""
    while piece := file.read(_PIECE_BYTES):
        *lines, rest = (rest + piece).split(b"\n")
        for batch in _batches(printer, lines):
            await write(batch)
        if printer.exhausted:
            break
    return rest


def _batches(printer: Printer, lines: list[bytes]) -> Iterator[bytes]:
    batch = bytearray()
    for line in lines:
        batch += printer.text(line)
        if len(batch) >= _BATCH_BYTES:
            yield bytes(batch)
            batch.clear()
    if batch:
        yield bytes(batch)


def _is_rotated(file: BinaryIO, path: Path) -> bool:
    try:
        return path.stat().st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False


def _tail_position(file: BinaryIO, lines: int | None) -> int:
    """Where the last `lines` lines begin, looked for from the end."""
    if lines is None:
        return 0
    end = position = file.seek(0, os.SEEK_END)
    if lines == 0:
        return end
    found = -1  # the last line end closes the last line
    while position > 0:
        start = max(0, position - _PIECE_BYTES)
        file.seek(start)
        piece = file.read(position - start)
        at = len(piece)
        while (at := piece.rfind(b"\n", 0, at)) >= 0:
            found += 1
            if found == lines:
                return start + at + 1
        position = start
    return 0
