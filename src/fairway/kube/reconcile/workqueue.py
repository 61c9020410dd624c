"""A queue of names: never twice in it, never worked on twice at once."""

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_DELAY_SECONDS_MIN = 0.005
_DELAY_SECONDS_MAX = 300.0


class WorkQueue(Generic[K]):
    """Keys that wait for work; the words and rules are client-go's workqueue.

    A key added while it waits is one key; a key added while it is worked on is worked on once more afterwards.
    """

    def __init__(self) -> None:
        self._waiting: dict[K, None] = {}
        self._working: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: K) -> None:
        """Ask for work on `key`."""
        if key in self._working:
            self._again.add(key)
        else:
            self._waiting[key] = None
            self._changed.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Ask for work in `seconds`; an earlier time that is already set stands."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= due:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(due, self._fire, key)

    def add_rate_limited(self, key: K) -> float:
        """Ask for work after a delay that doubles with each failure since `forget`; returns the delay in seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay_seconds: float = min(_DELAY_SECONDS_MIN * 2 ** min(failures - 1, 30), _DELAY_SECONDS_MAX)
        self.add_after(key, delay_seconds)
        return delay_seconds

    def forget(self, key: K) -> None:
        """The work on `key` succeeded: its next failure starts from the shortest delay."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """The next key; it must be given back with `done`."""
        while not self._waiting:
            self._changed.clear()
            await self._changed.wait()
        key = next(iter(self._waiting))
        del self._waiting[key]
        self._working.add(key)
        return key

    def done(self, key: K) -> None:
        """Give a key back."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _fire(self, key: K) -> None:
        del self._timers[key]
        self.add(key)
