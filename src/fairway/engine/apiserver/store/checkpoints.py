"""Moves the write-ahead log into the database file, outside the commit path."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from fairway.engine.apiserver.store.errors import Corrupt
from fairway.engine.apiserver.store.sqlite import CHECK_BYTES_MAX, check

_EVERY_SECONDS = 1.0
_PASSIVE_BYTES = 4 * 1024 * 1024
_RESTART_BYTES = 64 * 1024 * 1024
"""Beyond this the log is made to start over, which lets writers wait for a moment."""


class Checkpointer:
    """A thread with a connection of its own; first it checks a large file, then it watches the log's size.

    `corrupt` is called from the thread.
    """

    def __init__(self, path: Path, corrupt: Callable[[Corrupt], None]) -> None:
        self._path = path
        self._log = path.with_name(path.name + "-wal")
        self._corrupt = corrupt
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-checkpoint", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        database = sqlite3.connect(self._path, isolation_level=None, timeout=10)
        try:
            database.execute("PRAGMA synchronous = FULL")
            if self._path.stat().st_size > CHECK_BYTES_MAX:
                check(database, self._path)
            while not self._stop.wait(_EVERY_SECONDS):
                self._checkpoint(database)
        except Corrupt as error:
            self._corrupt(error)
        except sqlite3.DatabaseError as error:
            self._corrupt(Corrupt(f"{self._path}: {error}"))
        finally:
            database.close()

    def _checkpoint(self, database: sqlite3.Connection) -> None:
        size = self._log.stat().st_size if self._log.exists() else 0
        if size < _PASSIVE_BYTES:
            return
        mode = "RESTART" if size > _RESTART_BYTES else "PASSIVE"
        try:
            database.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
        except sqlite3.OperationalError:
            return  # busy, or the disk is full: the next turn tries again
