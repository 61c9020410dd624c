"""Objects with revisions: compare-and-swap writes that are durable when answered, reads from memory, and changes."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from fairway.engine.apiserver.store.backend import Backend, MemoryBackend
from fairway.engine.apiserver.store.checkpoints import Checkpointer
from fairway.engine.apiserver.store.commits import Committer, Write
from fairway.engine.apiserver.store.encryption import KeyFileVault
from fairway.engine.apiserver.store.entries import ADDED, DELETED, MODIFIED, Entry, Event, Key, Object, encode
from fairway.engine.apiserver.store.errors import Broken, CommitFailed, Conflict, Corrupt
from fairway.engine.apiserver.store.history import History
from fairway.engine.apiserver.store.objects import Objects
from fairway.engine.apiserver.store.sqlite import SqliteBackend
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock, SystemClock

log = logs.get("apiserver")

Subscriber = Callable[[Event], None]

_COMPACT_EVERY_SECONDS = 60.0


class Store:
    """One global, growing revision over all resources. To be used from one event loop.

    A write is decided at once against `latest` (which includes writes on their way to the disk) and visible to `get`,
    `select` and subscribers only when it is durable. When a batch fails, all writes that may build on it fail, too.
    """

    def __init__(self, backend: Backend, clock: Clock | None = None) -> None:
        self.revision = 0
        """The newest revision that is visible."""
        self.broken: asyncio.Future[Broken] = asyncio.get_running_loop().create_future()
        """Done when the store takes no more writes: the process should end and be started again."""
        self._backend = backend
        self._clock = clock or SystemClock()
        self._objects: dict[str, Objects] = {}
        self._pending: dict[Key, Entry | None] = {}
        self._subscribers: dict[str, dict[Subscriber, None]] = {}
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._generation = 0
        self._assigned = 0
        self._history = History(0)
        self._committer: Committer | None = None
        self._timer: asyncio.TimerHandle | None = None

    # --- life

    def open(self) -> None:
        """Load everything. Raises StoreError."""
        loaded = self._backend.load()
        self._objects = {resource: Objects(resource, rows) for resource, rows in loaded.objects.items()}
        self._history = History(loaded.compacted)
        self._history.load(loaded.log, loaded.revision, self._clock.monotonic(), self.get)
        self.revision = self._assigned = loaded.revision
        loop = asyncio.get_running_loop()
        self._committer = Committer(self._backend, loop, self._done)
        self._timer = loop.call_later(_COMPACT_EVERY_SECONDS, self._compact_again)

    def close(self) -> None:
        """Make durable what is staged, then let go of the backend; waiters of staged writes are still answered."""
        if self._timer is not None:
            self._timer.cancel()
        if self._committer is not None:
            self._committer.close()
            self._committer = None
        self._backend.close()

    # --- reading what is durable

    def get(self, key: Key) -> Entry | None:
        objects = self._objects.get(key.resource)
        return objects.get(key.namespace, key.name) if objects else None

    def select(self, resource: str, namespace: str | None = None) -> list[Entry]:
        """Sorted by namespace and name."""
        objects = self._objects.get(resource)
        return objects.select(namespace) if objects else []

    def counts(self) -> dict[str, int]:
        """How many objects there are of each resource."""
        return {resource: len(objects) for resource, objects in self._objects.items()}

    def select_at(self, resource: str, namespace: str | None, revision: int) -> list[Entry]:
        """What `select` gave at a past revision. Raises Expired."""
        entries = {entry.key: entry for entry in self.select(resource, namespace)}
        for event in self._history.back_to(revision):
            if event.key.resource != resource or namespace not in (None, event.key.namespace):
                continue
            if event.previous is None:
                entries.pop(event.key, None)
            else:
                entries[event.key] = event.previous
        return [entries[key] for key in sorted(entries)]

    def since(self, resource: str, revision: int) -> list[Event]:
        """Visible changes of a resource after a revision, oldest first. Raises Expired."""
        return [event for event in self._history.since(revision) if event.key.resource == resource]

    async def reached(self, revision: int) -> None:
        """Wait until a revision is visible."""
        if self.revision >= revision:
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((revision, waiting))
        await waiting

    def subscribe(self, resource: str, subscriber: Subscriber) -> None:
        """Have `subscriber` called with every change, in order, as soon as it is durable. It must not raise."""
        self._subscribers.setdefault(resource, {})[subscriber] = None

    def subscribers(self, resource: str) -> int:
        """How many are called with changes of a resource."""
        return len(self._subscribers.get(resource, ()))

    def unsubscribe(self, resource: str, subscriber: Subscriber) -> None:
        self._subscribers.get(resource, {}).pop(subscriber, None)

    # --- writing

    def latest(self, key: Key) -> Entry | None:
        """The version that a write has to build on: it may not be durable yet."""
        return self._pending[key] if key in self._pending else self.get(key)

    def select_latest(self, resource: str, namespace: str) -> list[Entry]:
        """As `select`, with writes on their way to the disk: what a decision that must not race builds on."""
        entries = {entry.key: entry for entry in self.select(resource, namespace)}
        for key, entry in self._pending.items():
            if key.resource != resource or key.namespace != namespace:
                continue
            if entry is None:
                entries.pop(key, None)
            else:
                entries[key] = entry
        return [entries[key] for key in sorted(entries)]

    def put(self, key: Key, obj: Object, previous: Entry | None) -> asyncio.Future[Entry]:
        """Store an object in place of `previous` (None: create); sets its resourceVersion.

        Raises Conflict at once when `latest` is another version, Broken when no write can succeed any more; the future
        raises CommitFailed.
        """
        self._expect(key, previous)
        revision = self._assigned + 1
        entry = Entry(key, revision, encode(obj, revision))
        return self._stage(Event(ADDED if previous is None else MODIFIED, entry, previous), entry)

    def delete(self, key: Key, obj: Object, previous: Entry | None) -> asyncio.Future[Entry]:
        """Remove an object; `obj` is its last state, which watchers and the future get. Raises as `put`."""
        if previous is None:
            raise Conflict(f"{key.resource} {key.namespace}/{key.name} is not there")
        self._expect(key, previous)
        revision = self._assigned + 1
        entry = Entry(key, revision, encode(obj, revision))
        return self._stage(Event(DELETED, entry, previous), None)

    def _expect(self, key: Key, previous: Entry | None) -> None:
        if self._committer is None or self.broken.done():
            raise Broken("the store takes no more writes")
        if self.latest(key) is not previous:
            raise Conflict(f"{key.resource} {key.namespace}/{key.name} has changed")

    def _stage(self, event: Event, latest: Entry | None) -> asyncio.Future[Entry]:
        assert self._committer is not None
        self._assigned = event.revision
        self._pending[event.key] = latest
        future: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        self._committer.submit(Write(event, future, self._generation))
        return future

    # --- when a batch is durable, or failed

    def _done(self, batch: Sequence[Write], failure: CommitFailed | None) -> None:
        if failure is not None:
            self._reject(batch, failure)
            return
        now = self._clock.monotonic()
        for write in batch:
            self._publish(write.event, now)
        for write in batch:
            if not write.future.done():
                write.future.set_result(write.event.entry)
        self._wake()

    def _publish(self, event: Event, now: float) -> None:
        key, entry = event.key, event.entry
        if event.type == DELETED:
            self._collection(key.resource).remove(key.namespace, key.name)
        else:
            self._collection(key.resource).put(entry)
        if key in self._pending and self._pending[key] is (None if event.type == DELETED else entry):
            del self._pending[key]
        self.revision = event.revision
        self._history.append(event, now)
        for subscriber in list(self._subscribers.get(key.resource, ())):
            self._tell(subscriber, event)
        event.lines = {}

    def _tell(self, subscriber: Subscriber, event: Event) -> None:
        try:
            subscriber(event)
        except Exception as error:  # one subscriber's defect must not keep the others from their events
            log.error("dropped a subscriber", resource=event.key.resource, error=repr(error))
            self.unsubscribe(event.key.resource, subscriber)

    def _reject(self, batch: Sequence[Write], failure: CommitFailed) -> None:
        if any(write.generation == self._generation for write in batch):
            self._generation += 1
            self._pending.clear()
            log.error("refused writes", count=len(batch), error=failure)
        for write in batch:
            if not write.future.done():
                write.future.set_exception(failure)
        if isinstance(failure, Broken):
            self.fail(failure)

    def fail(self, failure: Broken) -> None:
        """Take no more writes."""
        if not self.broken.done():
            self.broken.set_result(failure)

    def _wake(self) -> None:
        due = [waiting for revision, waiting in self._waiting if revision <= self.revision]
        self._waiting = [pair for pair in self._waiting if pair[0] > self.revision and not pair[1].done()]
        for waiting in due:
            if not waiting.done():
                waiting.set_result(None)

    # --- forgetting, and copies

    def compact(self) -> None:
        """Forget old history, in memory and on disk."""
        if self._history.trim(self._clock.monotonic()) and self._committer is not None:
            revision = self._history.compacted
            self._committer.run(lambda: self._backend.compact(revision))

    def backup(self, path: Path) -> asyncio.Future[None]:
        """Write a consistent copy to a new file, while reads and (queued) writes go on."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if self._committer is None:
            raise Broken("the store is closed")
        self._committer.run(lambda: self._copy(path, loop, future))
        return future

    def _copy(self, path: Path, loop: asyncio.AbstractEventLoop, future: asyncio.Future[None]) -> bool:
        try:
            self._backend.backup(path)
        except Exception as error:  # in the writer thread: whatever went wrong belongs to who asked
            loop.call_soon_threadsafe(future.set_exception, error)
        else:
            loop.call_soon_threadsafe(future.set_result, None)
        return False

    def _compact_again(self) -> None:
        self.compact()
        self._timer = asyncio.get_running_loop().call_later(_COMPACT_EVERY_SECONDS, self._compact_again)

    def _collection(self, resource: str) -> Objects:
        if resource not in self._objects:
            self._objects[resource] = Objects(resource)
        return self._objects[resource]


class SqliteStore(Store):
    """The durable store: `folder/objects.db`."""

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        backend = SqliteBackend(folder, KeyFileVault(folder / "encryption.keys"))
        super().__init__(backend, clock)
        self._path = backend.path
        self._checkpointer: Checkpointer | None = None

    def open(self) -> None:
        super().open()
        loop = asyncio.get_running_loop()

        def corrupt(error: Corrupt) -> None:
            loop.call_soon_threadsafe(self.fail, Broken(str(error)))

        self._checkpointer = Checkpointer(self._path, corrupt)
        self._checkpointer.start()

    def close(self) -> None:
        if self._checkpointer is not None:
            self._checkpointer.close()
            self._checkpointer = None
        super().close()


class MemoryStore(Store):
    """The same without a disk: for tests. A backend handed in outlives the store, as a disk would."""

    def __init__(self, backend: MemoryBackend | None = None, clock: Clock | None = None) -> None:
        super().__init__(backend or MemoryBackend(), clock)
