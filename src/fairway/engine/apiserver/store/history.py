"""The recent past: events in order of revision, for watches that resume and lists that go on."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence

from fairway.engine.apiserver.store.backend import LogRow
from fairway.engine.apiserver.store.entries import DELETED, Entry, Event, Key, at_revision
from fairway.engine.apiserver.store.errors import Expired

KEPT_SECONDS = 300.0
KEPT_EVENTS = 10_000
KEPT_BYTES_MAX = 64 * 1024 * 1024
"""A memory bound that goes before the other two."""


class History:
    """Keeps at least the last five minutes and the last 10,000 events, as far as memory allows.

    What happened before the start is made into events when it is first asked for: few do, and a start need not wait.
    """

    def __init__(self, compacted: int) -> None:
        self.compacted = compacted
        """Changes up to this revision are forgotten."""
        self._events: list[Event] = []
        self._revisions: list[int] = []
        self._times: list[float] = []
        self._bytes = 0
        self._past: Callable[[], None] | None = None
        self._past_ends = 0

    def load(self, log: Sequence[LogRow], revision: int, now: float, current: Callable[[Key], Entry | None]) -> None:
        """What a store knows when it starts, at `revision`; `current` gives the visible version of an object."""
        self._past, self._past_ends = (lambda: self._build(log, now, current)), revision

    def __len__(self) -> int:
        self._reach(-1)
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
        self._reach(revision)
        start = bisect_right(self._revisions, revision)
        return iter(self._events[start:])

    def back_to(self, revision: int) -> Iterator[Event]:
        """Events after a revision, newest first. Raises Expired."""
        self._require(revision)
        self._reach(revision)
        start = bisect_right(self._revisions, revision)
        return reversed(self._events[start:])

    def trim(self, now: float) -> bool:
        """Forget what may be forgotten; True when `compacted` moved."""
        self._reach(-1)
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

    def _reach(self, revision: int) -> None:
        """Have the events after a revision."""
        if self._past is not None and revision < self._past_ends:
            past, self._past = self._past, None
            past()

    def _build(self, log: Sequence[LogRow], now: float, current: Callable[[Key], Entry | None]) -> None:
        following = {key: entry for key in {Key(*row[1:4]) for row in log} if (entry := current(key)) is not None}
        for event in reversed(self._events):  # back to the start
            if event.previous is None:
                following.pop(event.key, None)
            else:
                following[event.key] = event.previous
        events = [_event(row, following) for row in reversed(log)]
        events.reverse()
        self._events[:0] = events
        self._revisions[:0] = [event.revision for event in events]
        self._times[:0] = [now] * len(events)
        self._bytes += sum(len(event.entry.data) for event in events)


def _event(row: LogRow, following: dict[Key, Entry]) -> Event:
    """Of a stored change: the body after it is in the next change's `previous`, or current."""
    revision, resource, namespace, name, change, body = row
    key = Key(resource, namespace, name)
    previous = None if body is None else Entry(key, 0, body)
    if change == DELETED:
        assert previous is not None
        entry = at_revision(previous, revision)
    else:
        entry = following[key]
        entry.revision = revision
    if previous is None:
        following.pop(key, None)
    else:
        following[key] = previous
    return Event(change, entry, previous)
