"""The newest known state of every container, and who waits for its end.

Upstream calls this the pod lifecycle event generator: the runtime says that something changed, one listing follows.
"""

import asyncio
from collections.abc import Callable

from fairway.engine.kubelet.interfaces import Runtime
from fairway.engine.kubelet.runtime.model import ContainerState
from fairway.engine.kubelet.waiting import happens_within
from fairway.toolkit.clock import Clock

_RELIST_SECONDS = 30.0
_ENDED = ("exited", "failed")


class States:
    """A picture of `Runtime.list()`, renewed after each change and every 30 s in case a change went unheard."""

    def __init__(self, runtime: Runtime, clock: Clock, changed: Callable[[str], None]) -> None:
        self._runtime = runtime
        self._clock = clock
        self._changed = changed
        self._states: dict[str, ContainerState] = {}
        self._ends: dict[str, asyncio.Event] = {}
        self._dirty = asyncio.Event()
        runtime.subscribe(lambda id: self._dirty.set())

    async def run(self) -> None:
        """Relist until cancelled."""
        while True:
            await happens_within(self._clock, _RELIST_SECONDS, self._dirty)
            self._dirty.clear()
            await self.relist()

    async def relist(self) -> None:
        """Take a new picture now."""
        fresh = {state.id: state for state in await self._runtime.list()}
        for id in self._states.keys() - fresh.keys():
            del self._states[id]
            self._end(id)
            self._changed(id)
        for state in fresh.values():
            self.put(state)

    def put(self, state: ContainerState) -> None:
        """Take in one state, as `start` returns it."""
        if self._states.get(state.id) == state:
            return
        self._states[state.id] = state
        if state.status in _ENDED:
            self._end(state.id)
        self._changed(state.id)

    def get(self, id: str) -> ContainerState | None:
        """The newest state; None when the runtime does not know the container."""
        return self._states.get(id)

    def ids(self) -> tuple[str, ...]:
        """Every container that the runtime knows."""
        return tuple(self._states)

    def ended(self, id: str) -> asyncio.Event:
        """Set once the container has no process any more."""
        event = self._ends.setdefault(id, asyncio.Event())
        state = self._states.get(id)
        if state is None or state.status in _ENDED:
            event.set()
        return event

    def forget(self, id: str) -> None:
        """The container was removed from the runtime."""
        self._states.pop(id, None)
        self._ends.pop(id, None)

    def _end(self, id: str) -> None:
        if id in self._ends:
            self._ends[id].set()
