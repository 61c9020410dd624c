"""Watch: changes as a stream, each encoded once per form for all who watch."""

import asyncio
import random
from collections import deque
from collections.abc import Iterable, Iterator

from fairway.engine.apiserver.endpoints import encoding
from fairway.engine.apiserver.endpoints.forms import TABLE, Form
from fairway.engine.apiserver.endpoints.lists import fresh
from fairway.engine.apiserver.endpoints.queries import ListOptions
from fairway.engine.apiserver.errors import ApiError, expired
from fairway.engine.apiserver.registry import Filter, Registry, resource_of
from fairway.engine.apiserver.resources import Kind
from fairway.engine.apiserver.store import ADDED, DELETED, MODIFIED, Entry, Event, Expired
from fairway.engine.apiserver.store.entries import at_revision
from fairway.toolkit.clock import Clock
from fairway.toolkit.http_messages import Sink, Stream

_HEADERS = (("Cache-Control", "no-cache, private"), ("Content-Type", "application/json"))
_TIMEOUT_SECONDS_MIN = 1800
_BOOKMARK_SECONDS = 10.0
BUFFER_BYTES_MAX = 4 * 1024 * 1024
"""A watcher that lets more than this pile up is dropped; it may come back and resume."""
BUFFERS_BYTES_MAX = 256 * 1024 * 1024
"""What all watchers of a resource may let pile up together: where many are slow, each is dropped sooner …"""
BUFFER_BYTES_MIN = 1024 * 1024
"""… but not before this, which a burst may take even for one that reads."""
_QUEUE_MAX = 20_000
_INITIAL_BUFFER_BYTES = 256 * 1024


class Watch:
    """One watcher: which objects, in which form, from where."""

    def __init__(
        self,
        registry: Registry,
        kind: Kind,
        namespace: str | None,
        wanted: Filter,
        options: ListOptions,
        form: Form,
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._store = registry.store
        self._kind = kind
        self._resource = resource_of(kind)
        self._namespace = namespace
        self._wanted = wanted
        self._options = options
        self._form = form
        self._clock = clock
        self._first = True
        self._told = 0
        self._start = 0
        self._queue: deque[Event] | None = deque()
        self._sink: Sink | None = None

    def stream(self) -> Stream:
        """The answer."""
        return Stream(200, self._run, _HEADERS)

    async def _run(self, sink: Sink) -> None:
        self._sink = sink
        if self._options.revision and self._options.send_initial_events is not None:
            try:
                await fresh(self._store, self._options.revision)
            except ApiError as error:
                sink.write(encoding.event("ERROR", encoding.encode(error.status)))
                return
        self._store.subscribe(self._resource, self._push)
        try:
            await self._begin(sink)
            await self._follow(sink)
        except Expired as error:
            sink.write(encoding.event("ERROR", encoding.encode(expired(str(error)).status)))
        finally:
            self._store.unsubscribe(self._resource, self._push)

    # --- where it starts

    async def _begin(self, sink: Sink) -> None:
        """What came before now, while what comes now waits in the queue."""
        self._start = self._told = self._store.revision
        for line in self._past():
            sink.write(line)
            if sink.buffered_bytes > _INITIAL_BUFFER_BYTES:
                await sink.drain()
        if self._options.send_initial_events and self._options.bookmarks:
            sink.write(encoding.bookmark(self._kind, self._form, self._start, initial_end=True))
        queued, self._queue = self._queue or (), None
        for event in queued:
            self._send(event)

    def _past(self) -> Iterable[bytes]:
        """Evaluated at once, before anything can change; encoded one by one."""
        options = self._options
        initial = options.send_initial_events
        if initial or (initial is None and not options.revision):
            return self._added(self._registry.select(self._kind, self._namespace, self._wanted))
        if not options.revision:
            return ()
        self._start = max(self._start, options.revision)
        return self._lines(self._store.since(self._resource, options.revision))

    def _added(self, entries: list[Entry]) -> Iterator[bytes]:
        for entry in entries:
            yield encoding.event(ADDED, self._payload(entry))

    def _lines(self, events: list[Event]) -> Iterator[bytes]:
        for event in events:
            line = self._line(event)
            event.lines = {}  # the cache is for events that go to many at once, not for replays
            if line is not None:
                yield line

    # --- while it lasts

    async def _follow(self, sink: Sink) -> None:
        loop = asyncio.get_running_loop()
        seconds = self._options.timeout_seconds or random.randint(_TIMEOUT_SECONDS_MIN, 2 * _TIMEOUT_SECONDS_MIN)
        until = loop.time() + seconds
        while (left := until - loop.time()) > 0:
            await asyncio.sleep(min(left, _BOOKMARK_SECONDS) if self._options.bookmarks else left)
            self._bookmark(sink)

    def _bookmark(self, sink: Sink) -> None:
        if self._options.bookmarks and self._store.revision > self._told:
            self._told = self._store.revision
            sink.write(encoding.bookmark(self._kind, self._form, self._told))

    def _push(self, event: Event) -> None:
        """Called by the store with every durable change."""
        if self._queue is None:
            self._send(event)
        elif len(self._queue) < _QUEUE_MAX:
            self._queue.append(event)
        else:
            self._drop()

    def _send(self, event: Event) -> None:
        sink = self._sink
        if sink is None or event.revision <= self._start:
            return
        line = self._line(event)
        if line is None:
            return
        if sink.buffered_bytes > self._buffer_bytes():
            self._drop()
            return
        sink.write(line)
        self._told = event.revision

    def _buffer_bytes(self) -> int:
        """How much may wait for this watcher before anything is added."""
        share = BUFFERS_BYTES_MAX // max(1, self._store.subscribers(self._resource))
        return min(BUFFER_BYTES_MAX, max(BUFFER_BYTES_MIN, share))

    def _drop(self) -> None:
        self._store.unsubscribe(self._resource, self._push)
        if self._sink is not None:
            self._sink.abort()

    # --- what it says

    def _line(self, event: Event) -> bytes | None:
        """None when the watcher has nothing to do with the change."""
        if self._namespace is not None and event.key.namespace != self._namespace:
            return None
        seen = self._transition(event)
        if seen is None:
            return None
        if self._form.style == TABLE and self._first:
            return encoding.event(seen, self._payload(self._shown(seen, event)))
        key = (seen, self._form, self._kind.api_version)
        line = event.lines.get(key)
        if line is None:
            line = event.lines[key] = encoding.event(seen, self._payload(self._shown(seen, event)))
        return line

    def _transition(self, event: Event) -> str | None:
        """For a selector, a change into it is ADDED and a change out of it DELETED."""
        if self._wanted.everything:
            return event.type
        before = event.previous is not None and self._wanted.matches(self._kind, event.previous)
        after = event.type != DELETED and self._wanted.matches(self._kind, event.entry)
        if before and after:
            return MODIFIED
        if before:
            return DELETED
        return ADDED if after else None

    def _shown(self, seen: str, event: Event) -> Entry:
        """Who loses an object out of its selector sees it as it was last inside."""
        if seen == DELETED and event.type != DELETED and event.previous is not None:
            return at_revision(event.previous, event.revision)
        return event.entry

    def _payload(self, entry: Entry) -> bytes:
        columns, self._first = self._first, False
        return encoding.one(self._kind, entry, self._form, self._clock.now(), columns=columns)
