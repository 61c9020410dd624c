"""The recent past: events in order of revision, for watches that resume and lists that go on."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from fairway.engine.apiserver.store.backend import LogRow, Row
from fairway.engine.apiserver.store.entries import DELETED, Entry, Event, Key, at_revision
from fairway.engine.apiserver.store.errors import Expired

KEPT_SECONDS = 300.0
KEPT_EVENTS = 10_000
KEPT_BYTES_MAX = 64 * 1024 * 1024
"""A memory bound that goes before the other two."""


class History:
    """Keeps at least the last five minutes and the last 10,000 events, as far as memory allows."""

    def __init__(self, compacted: int) -> None:
        self.compacted = compacted
        """Changes up to this revision are forgotten."""
        self._events: list[Event] = []
        self._revisions: list[int] = []
        self._times: list[float] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._events)

    def append(self, event: Event, now: float) -> None:
        """Remember the newest event; `now` in monotonic seconds."""
        self._events.append(event)
        self._revisions.append(event.revision)
        self._times.append(now)
        self._bytes += len(event.entry.data)

    def since(self, revision: int) -> Iterator[Event]:
        """Events after a revision, oldest first. Raises Expired."""
        self._require(revision)
        start = bisect_right(self._revisions, revision)
        return iter(self._events[start:])

    def back_to(self, revision: int) -> Iterator[Event]:
        """Events after a revision, newest first. Raises Expired."""
        self._require(revision)
        start = bisect_right(self._revisions, revision)
        return reversed(self._events[start:])

    def trim(self, now: float) -> bool:
        """Forget what may be forgotten; True when `compacted` moved."""
        count = self._disposable(now)
        if count == 0:
            return False
        self.compacted = self._revisions[count - 1]
        self._bytes -= sum(len(event.entry.data) for event in self._events[:count])
        del self._events[:count], self._revisions[:count], self._times[:count]
        return True

    def _disposable(self, now: float) -> int:
        count, kept = 0, self._bytes
        while count < len(self._events) - 1:
            old = self._times[count] < now - KEPT_SECONDS and len(self._events) - count > KEPT_EVENTS
            if not old and kept <= KEPT_BYTES_MAX:
                break
            kept -= len(self._events[count].entry.data)
            count += 1
        return count

    def _require(self, revision: int) -> None:
        if revision < self.compacted:
            raise Expired(revision, self.compacted)


def rebuild(objects: Sequence[Row], log: Sequence[LogRow]) -> list[Event]:
    """The events of a stored log, oldest first: each body is in the next change's `previous`, or current."""
    changed = {row.key for row in log}
    following = {row.key: Entry(row.key, row.revision, row.data) for row in objects if row.key in changed}
    events = [_event(row, following) for row in reversed(log)]
    events.reverse()
    return events


def _event(row: LogRow, following: dict[Key, Entry]) -> Event:
    previous = None if row.previous is None else Entry(row.key, 0, row.previous)
    if row.type == DELETED:
        assert previous is not None
        entry = at_revision(previous, row.revision)
    else:
        entry = following[row.key]
        entry.revision = row.revision
    if previous is None:
        following.pop(row.key, None)
    else:
        following[row.key] = previous
    return Event(row.type, entry, previous)
