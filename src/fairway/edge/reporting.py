"""What is wrong and where Ingresses are served, told beside the loop, which waits for no answer of the API."""

from collections import deque
from collections.abc import Callable

from fairway.edge import status
from fairway.edge.ir import Problem
from fairway.edge.patience import Patience, passing
from fairway.edge.snapshot import Snapshot
from fairway.edge.status import Complaint, StatusChange
from fairway.edge.translate import Translation
from fairway.edge.translate.translation import changed_problems
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.noun import encode
from fairway.kube.api.resource import INGRESSES
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound
from fairway.kube.reconcile.events import EventRecorder
from fairway.kube.reconcile.whole import Dirty
from fairway.toolkit.clock import Clock


class Reporter:
    """Remembers what was said. `see` takes what the loop found, `once` tells it; the first never waits."""

    def __init__(
        self,
        client: ApiClient,
        events: EventRecorder,
        clock: Clock,
        *,
        addresses: tuple[str, ...],
        leads: Callable[[], bool],
    ) -> None:
        self.dirty = Dirty()
        self._client = client
        self._events = events
        self._clock = clock
        self._addresses = addresses
        self._leads = leads
        self._snapshot = Snapshot()
        self._translation = Translation()
        self._more: tuple[Problem, ...] = ()
        self._patience = Patience()
        self._passing: dict[Problem, None] = {}
        self._told: set[Problem] = set()
        self._complaints: deque[Complaint] = deque()
        self._due: dict[ObjectKey, StatusChange] = {}

    def see(self, snapshot: Snapshot, translation: Translation, more: tuple[Problem, ...] = ()) -> None:
        """What is so now; `more` are problems that the translation does not know of."""
        gone, new = changed_problems(self._translation, translation)
        gone += tuple(one for one in self._more if one not in more)
        new += tuple(one for one in more if one not in self._more)
        for problem in gone:
            self._passing.pop(problem, None)
            self._told.discard(problem)
        self._passing |= dict.fromkeys(filter(passing, new))
        self._complaints += status.complaints(snapshot, filter(passing, new), new)
        touched = status.touched(self._snapshot, snapshot, self._translation, translation)
        for key in touched:
            self._due.pop(key, None)
        self._due |= {one.ingress: one for one in status.changes(snapshot, translation, self._addresses, touched)}
        self._snapshot, self._translation, self._more = snapshot, translation, more
        if self._complaints or self._due or self._passing:
            self.dirty.mark()

    async def once(self) -> float | None:
        """Tell what is to be told; returns in how many seconds there may be more. Raises what the client raises."""
        ripe, wait_seconds = self._patience.ripe(self._passing, self._clock.monotonic())
        self._complaints += status.complaints(self._snapshot, self._told, ripe)
        self._told.update(ripe)
        while self._complaints:
            one = self._complaints.popleft()
            await self._events.record(one.regarding, "Warning", one.reason, one.message)
        while self._due and self._leads():
            change = next(iter(self._due.values()))
            await self._write(change)
            if self._due.get(change.ingress) is change:
                del self._due[change.ingress]
        return wait_seconds

    async def _write(self, change: StatusChange) -> None:
        key, patch = change.ingress, {"status": encode(change.status)}
        try:
            await self._client.patch(INGRESSES, key.name, patch, namespace=key.namespace, subresource="status")
        except NotFound:
            pass  # deleted meanwhile: there is nothing left to report on
