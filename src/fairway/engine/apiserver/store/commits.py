"""Group commit: one writer thread stores whatever queued up while the last batch was made durable."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence

from fairway.engine.apiserver.store.backend import Backend
from fairway.engine.apiserver.store.entries import Entry, Event
from fairway.engine.apiserver.store.errors import Broken, CommitFailed
from fairway.toolkit import logs

log = logs.get("apiserver")

_BATCH_MAX = 512
_SLOW_SECONDS = 1.0


class Write:
    """A staged event, who waits for it, and the generation of writes it builds on."""

    __slots__ = ("event", "future", "generation")

    def __init__(self, event: Event, future: asyncio.Future[Entry], generation: int) -> None:
        self.event = event
        self.future = future
        self.generation = generation


Done = Callable[[Sequence[Write], CommitFailed | None], None]
Job = Callable[[], bool]
"""Other work of the writer thread; called again later while it returns True."""


class Committer:
    """The writer thread. `done` is called in the event loop, once per batch and in order.

    When a batch fails, every later write of the same generation may build on it, so it fails, too.
    """

    def __init__(self, backend: Backend, loop: asyncio.AbstractEventLoop, done: Done) -> None:
        self._backend = backend
        self._loop = loop
        self._done = done
        self._queue: queue.SimpleQueue[Write | Job | None] = queue.SimpleQueue()
        self._failed_generation = -1
        self._failure: CommitFailed | None = None
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, write: Write) -> None:
        """Queue a write."""
        self._queue.put(write)

    def run(self, job: Job) -> None:
        """Queue other work; its CommitFailed is ignored, it is tried again by whoever wants it."""
        self._queue.put(job)

    def close(self) -> None:
        """Store what is queued, then end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            item = self._queue.get()
            batch: list[Write] = []
            while isinstance(item, Write):
                batch.append(item)
                item = self._following(len(batch))
            if batch:
                self._store(batch)
            if item is None:
                return
            if callable(item):
                self._work(item)

    def _following(self, size: int) -> Write | Job | None:
        """The next item if one waits and the batch is not full; else a job that does nothing."""
        try:
            return self._queue.get_nowait() if size < _BATCH_MAX else _idle
        except queue.Empty:
            return _idle

    def _store(self, batch: list[Write]) -> None:
        current = [write for write in batch if write.generation > self._failed_generation]
        stale = [write for write in batch if write.generation <= self._failed_generation]
        if stale:
            self._report(stale, self._failure)
        if current:
            self._report(current, self._commit(current))

    def _commit(self, batch: list[Write]) -> CommitFailed | None:
        started = time.monotonic()
        failure = self._attempt(batch)
        seconds = time.monotonic() - started
        if seconds > _SLOW_SECONDS:
            log.warning("waited for a slow disk", seconds=round(seconds, 1), writes=len(batch))
        return failure

    def _attempt(self, batch: list[Write]) -> CommitFailed | None:
        try:
            self._backend.commit([write.event for write in batch])
        except CommitFailed as error:
            failure = error
        except Exception as error:  # the writer's one broad catch: a thread that dies would leave everyone waiting
            failure = Broken(f"{type(error).__name__}: {error}")
        else:
            return None
        self._failed_generation, self._failure = batch[-1].generation, failure
        return failure

    def _report(self, batch: Sequence[Write], failure: CommitFailed | None) -> None:
        self._loop.call_soon_threadsafe(self._done, batch, failure)

    def _work(self, job: Job) -> None:
        try:
            again = job()
        except CommitFailed:
            return
        if again:
            self._queue.put(job)


def _idle() -> bool:
    return False
