"""One key=value line per completed event, on standard error."""

import sys
import time
from typing import TextIO


def _quote(value: object) -> str:
    """A value that stays one word: quoted where it has blanks, quotes, an equals sign or control characters."""
    text = str(value)
    if text and text.isprintable() and not any(char in ' "=' for char in text):
        return text
    return '"' + text.encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"'


class Log:
    """A named writer of event lines.

    A line reads `time=… level=info room=edge did=reload reasons=routes ms=41`. Values are escaped, so user input can
    neither break nor fake a line.
    """

    def __init__(self, room: str, stream: TextIO | None = None) -> None:
        self.room = room
        self.stream = stream

    def info(self, did: str, **fields: object) -> None:
        """Record something that was completed."""
        self._write("info", did, fields)

    def warning(self, did: str, **fields: object) -> None:
        """Record something that went wrong and will be tried again."""
        self._write("warning", did, fields)

    def error(self, did: str, **fields: object) -> None:
        """Record something that went wrong and needs a person."""
        self._write("error", did, fields)

    def _write(self, level: str, did: str, fields: dict[str, object]) -> None:
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        pairs = "".join(f" {key}={_quote(value)}" for key, value in fields.items() if value is not None)
        stream = self.stream or sys.stderr
        stream.write(f"time={stamp} level={level} room={self.room} did={_quote(did)}{pairs}\n")
        stream.flush()


def get(room: str) -> Log:
    """The log of one room."""
    return Log(room)
