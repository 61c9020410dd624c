"""Who may have a git process now: the Apps share them, so that nobody's pushes keep all others waiting."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from fairway.delivery.git.limits import Limits
from fairway.kube.api.meta import ObjectKey

_WAITING_MAX = 64


class Turns:
    """Counts the pushes and clones of each App, those that run and those that wait."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._there: Counter[ObjectKey] = Counter()
        self._processes: WeakValueDictionary[ObjectKey, asyncio.Semaphore] = WeakValueDictionary()

    def refusal(self, app: ObjectKey) -> str:
        """Why one more cannot even wait; "" when it can."""
        if self._there[app] >= self._limits.app_waiting_max:
            return f"{self._there[app]} pushes and clones of {app} are under way, and no more may be; try again"
        if self._there.total() >= _WAITING_MAX:
            return "too many pushes and clones at once; try again"
        return ""

    def enter(self, app: ObjectKey) -> None:
        """One more is there."""
        self._there[app] += 1

    def leave(self, app: ObjectKey) -> None:
        """It is gone."""
        self._there[app] -= 1
        if not self._there[app]:
            del self._there[app]

    @asynccontextmanager
    async def process(self, app: ObjectKey) -> AsyncIterator[None]:
        """Wait until fewer than `app_transfers_max` of the App are inside."""
        fresh = asyncio.Semaphore(self._limits.app_transfers_max)
        async with self._processes.setdefault(app, fresh):
            yield
