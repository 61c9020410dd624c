"""Where the store keeps its truth: the interface of a backend, and the one that forgets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from fairway.engine.apiserver.store.entries import DELETED, Event, Key

StoredObject = tuple[str, str, int, bytes]
"""Namespace, name, revision and body: plain, because there may be very many and a start waits for them."""

LogRow = tuple[int, str, str, str, str, bytes | None]
"""A past change: revision, resource, namespace, name, type, and the body before it (None for a creation)."""


class Loaded(msgspec.Struct, frozen=True):
    """Everything a backend knows: the objects of each resource by namespace and name, and the log by revision.

    The log is complete after `compacted`; `revision` is that of no change, but the past ends with it.
    """

    objects: Mapping[str, Sequence[StoredObject]]
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
        self._objects: dict[Key, StoredObject] = {}
        self._log: list[LogRow] = []
        self._revision = 0
        self._compacted = 0

    def load(self) -> Loaded:
        objects: dict[str, list[StoredObject]] = {}
        for key in sorted(self._objects):
            objects.setdefault(key.resource, []).append(self._objects[key])
        return Loaded(objects, tuple(self._log), self._revision, self._compacted)

    def commit(self, batch: Sequence[Event]) -> None:
        for event in batch:
            previous = event.previous.data if event.previous else None
            self._log.append((event.revision, *event.key, event.type, previous))
            self._revision = event.revision
            if event.type == DELETED:
                self._objects.pop(event.key, None)
            else:
                _, namespace, name = event.key
                self._objects[event.key] = (namespace, name, event.revision, event.entry.data)

    def compact(self, revision: int) -> bool:
        self._log = [row for row in self._log if row[0] > revision]
        self._compacted = max(self._compacted, revision)
        return False

    def backup(self, path: Path) -> None:
        path.write_bytes(msgspec.msgpack.encode(self.load()))

    def close(self) -> None:
        return
