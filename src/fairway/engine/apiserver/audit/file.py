"""The audit log: JSON lines, flushed by a thread, a new file when one is full, a limited number of old ones."""

import os
import queue
import threading
from pathlib import Path

from fairway.toolkit import logs

log = logs.get("apiserver")

_BYTES_MAX = 100 * 1024 * 1024
_FILES_MAX = 10
_WAITING_MAX = 10_000


class AuditFile:
    """`path`, `path.1` (the newest old one) and so on. Lines are written by a thread, in order.

    When the disk is slower than requests come, lines are dropped and counted; requests never wait for them.
    """

    def __init__(self, path: Path, *, bytes_max: int = _BYTES_MAX, files_max: int = _FILES_MAX) -> None:
        self.dropped = 0
        self._path = path
        self._bytes_max = bytes_max
        self._files_max = files_max
        self._queue: queue.Queue[bytes | None] = queue.Queue(_WAITING_MAX)
        self._handle = -1
        self._size = 0
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    def start(self) -> None:
        """Raises OSError."""
        self._open()
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Queue a line (with its line break)."""
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self.dropped += 1
            if self.dropped & (self.dropped - 1) == 0:  # at 1, 2, 4, …: a full disk must not fill the log as well
                log.error("dropped audit lines", count=self.dropped)

    def close(self) -> None:
        """Write what waits, then end."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _run(self) -> None:
        while (line := self._queue.get()) is not None:
            lines = [line]
            ended = False
            while not self._queue.empty() and len(lines) < 1000:
                more = self._queue.get()
                if more is None:
                    ended = True
                    break
                lines.append(more)
            self._store(b"".join(lines))
            if ended:
                return

    def _store(self, data: bytes) -> None:
        try:
            if self._size and self._size + len(data) > self._bytes_max:
                self._rotate()
            view = memoryview(data)
            while view:
                view = view[os.write(self._handle, view) :]
            self._size += len(data)
        except OSError as error:
            self.dropped += data.count(b"\n")
            log.error("failed to write the audit log", path=self._path, error=error.strerror)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._handle).st_size

    def _rotate(self) -> None:
        for number in range(self._files_max - 1, 0, -1):
            old = self._numbered(number - 1)
            if old.exists():
                old.replace(self._numbered(number))
        os.close(self._handle)
        self._open()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path
