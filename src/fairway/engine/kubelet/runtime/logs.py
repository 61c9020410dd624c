"""Container output to a log file in the CRI format, rotated by size.

A line is `RFC3339Nano stdout|stderr P|F text`; P marks a part of a line: longer than 16 KiB, or cut off by the end of
the stream. The files are `N.log`, `N.log.1` (the newest of the old ones) to `N.log.4`, the kubelet's 10 MiB x 5.
"""

import os
import time

MOST_LINE_BYTES = 16 * 1024
MOST_FILE_BYTES = 10 * 1024 * 1024
MOST_FILES = 5


def timestamp(nanoseconds: int) -> str:
    """Wall time as RFC 3339 with nine decimals in UTC. Plain arithmetic: strftime would look for a time zone file."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    at = time.gmtime(seconds)
    return (
        f"{at.tm_year:04d}-{at.tm_mon:02d}-{at.tm_mday:02d}T"
        f"{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d}.{rest:09d}Z"
    )


class LogFile:
    """The log file of one container; both streams write to it."""

    def __init__(self, path: str, most_bytes: int = MOST_FILE_BYTES, most_files: int = MOST_FILES) -> None:
        self.path = path
        self._most_bytes = most_bytes
        self._most_files = most_files
        self._open()

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._size = os.fstat(self._fd).st_size

    def write(self, data: bytes) -> None:
        """Append whole lines. What does not fit on the disk is lost: a full disk must not block the container."""
        if self._size and self._size + len(data) > self._most_bytes:
            self._rotate()
        self._size += len(data)
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except OSError:
                return

    def _rotate(self) -> None:
        for number in range(self._most_files - 1, 0, -1):
            source = f"{self.path}.{number - 1}" if number > 1 else self.path
            try:
                os.rename(source, f"{self.path}.{number}")
            except OSError:
                continue
        os.close(self._fd)
        self._open()


class Stream:
    """Bytes of one output stream to log lines; keeps what has no line end yet."""

    def __init__(self, name: str, log: LogFile) -> None:
        self._name = name.encode()
        self._log = log
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Write the lines that `data` completes."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        prefix = timestamp(time.time_ns()).encode() + b" " + self._name
        lines: list[bytes] = []
        for line in whole:
            rest = self._parts(prefix, line, lines)
            lines.append(prefix + b" F " + rest + b"\n")
        self._rest = self._parts(prefix, self._rest, lines)
        if lines:
            self._log.write(b"".join(lines))

    @staticmethod
    def _parts(prefix: bytes, line: bytes, lines: list[bytes]) -> bytes:
        """Add the full parts of a long line to `lines`; the last, at most 16 KiB, is returned."""
        cut = max(len(line) - 1, 0) // MOST_LINE_BYTES * MOST_LINE_BYTES
        for start in range(0, cut, MOST_LINE_BYTES):
            lines.append(prefix + b" P " + line[start : start + MOST_LINE_BYTES] + b"\n")
        return line[cut:]

    def close(self) -> None:
        """Write what the stream ended with."""
        if self._rest:
            prefix = timestamp(time.time_ns()).encode() + b" " + self._name
            self._log.write(prefix + b" P " + self._rest + b"\n")
            self._rest = b""
