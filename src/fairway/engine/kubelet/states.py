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

    def __init__(self, runtime: Runtime, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self._watchers: dict[str, Callable[[], None]] = {}
        self._states: dict[str, ContainerState] = {}
        self._ends: dict[str, asyncio.Event] = {}
        self._dirty = asyncio.Event()
        runtime.subscribe(lambda _: self._dirty.set())

    async def run(self) -> None:
        """Relist until cancelled."""
        while True:
            await happens_within(self._clock, _RELIST_SECONDS, self._dirty)
            self._dirty.clear()
            await self.relist()

    async def relist(self) -> None:
        """Take a new picture now."""
        fresh = {state.id: state for state in await self._runtime.list()}
        for gone in self._states.keys() - fresh.keys():
            del self._states[gone]
            self._end(gone)
            self._changed(gone)
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

    def watch(self, id: str, wake: Callable[[], None]) -> None:
        """Call `wake` after each change of the container, until it is forgotten."""
        self._watchers[id] = wake

    def ids(self) -> tuple[str, ...]:
        """Every container that the runtime knows."""
        return tuple(self._states)

    def is_alive(self, id: str) -> bool:
        """Whether the container still has a process."""
        state = self._states.get(id)
        return state is not None and state.status not in _ENDED

    def ended(self, id: str) -> asyncio.Event:
        """Set once the container has no process any more."""
        event = self._ends.setdefault(id, asyncio.Event())
        if not self.is_alive(id):
            event.set()
        return event

    def forget(self, id: str) -> None:
        """The container was removed from the runtime."""
        self._states.pop(id, None)
        self._ends.pop(id, None)
        self._watchers.pop(id, None)

    def _changed(self, id: str) -> None:
        if id in self._watchers:
            self._watchers[id]()

    def _end(self, id: str) -> None:
        if id in self._ends:
            self._ends[id].set()
