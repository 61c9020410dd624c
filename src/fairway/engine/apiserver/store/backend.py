"""Where the store keeps its truth: the interface of a backend, and the one that forgets."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from fairway.engine.apiserver.store.entries import DELETED, Event, Key


class Row(msgspec.Struct, frozen=True):
    """A stored object."""

    key: Key
    revision: int
    data: bytes


class LogRow(msgspec.Struct, frozen=True):
    """A past change: `previous` is the body before it, None for a creation."""

    key: Key
    revision: int
    type: str
    previous: bytes | None


class Loaded(msgspec.Struct, frozen=True):
    """Everything a backend knows. The log is in order of revision and complete after `compacted`."""

    objects: Sequence[Row]
    log: Sequence[LogRow]
    revision: int
    compacted: int


class Backend(Protocol):
    """Durable state. `load` comes first; every later call is made by one thread at a time."""

    def load(self) -> Loaded:
        """Read everything and move the revision past any that may have been handed out. Raises StoreError."""
        ...

    def commit(self, batch: Sequence[Event]) -> None:
        """Store all of the batch or nothing; durable on return. Raises CommitFailed."""
        ...

    def compact(self, revision: int) -> bool:
        """Forget some log rows up to and including `revision`; True while there are more. Raises CommitFailed."""
        ...

    def backup(self, path: Path) -> None:
        """Write a consistent copy to a new file."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...


class MemoryBackend:
    """Keeps everything until the process ends: for tests. Loading again gives what was committed."""

    def __init__(self) -> None:
        self._objects: dict[Key, Row] = {}
        self._log: list[LogRow] = []
        self._revision = 0
        self._compacted = 0

    def load(self) -> Loaded:
        return Loaded(tuple(self._objects.values()), tuple(self._log), self._revision, self._compacted)

    def commit(self, batch: Sequence[Event]) -> None:
        for event in batch:
            previous = event.previous.data if event.previous else None
            self._log.append(LogRow(event.key, event.revision, event.type, previous))
            self._revision = event.revision
            if event.type == DELETED:
                self._objects.pop(event.key, None)
            else:
                self._objects[event.key] = Row(event.key, event.revision, event.entry.data)

    def compact(self, revision: int) -> bool:
        self._log = [row for row in self._log if row.revision > revision]
        self._compacted = max(self._compacted, revision)
        return False

    def backup(self, path: Path) -> None:
        path.write_bytes(msgspec.msgpack.encode(self.load()))

    def close(self) -> None:
        return
