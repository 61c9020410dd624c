"""Whether traffic is still sent to a pod, as its EndpointSlices say.

Kubernetes sends SIGTERM and removes the endpoint at the same time, so a pod may get requests after it began to stop;
the usual cure is a `preStop: sleep`. Here the kubelet waits: first until every EndpointSlice shows the pod terminating
or not at all, then a short drain time in which the service proxy and the edge, which watch the same slices, follow.
The pod serves during all of it. The wait is part of the grace period and never takes more than half of it.
"""

import asyncio
from collections.abc import Iterable

from fairway.engine.kubelet.waiting import happens_within
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.pods import Pod
from fairway.kube.api.services import Endpoint, EndpointSlice
from fairway.kube.reconcile.cache import Cache
from fairway.toolkit.clock import Clock

INDEX = "pod"


def pods_of(endpoint_slice: EndpointSlice) -> Iterable[str]:
    """The index of the cache: uids of the pods in a slice."""
    return {each.target_ref.uid for each in endpoint_slice.endpoints if each.target_ref is not None}


class Rotation:
    """Answers from the cache of EndpointSlices, which must have the index `INDEX`."""

    def __init__(self, slices: Cache[EndpointSlice], clock: Clock, drain_seconds: float) -> None:
        self._slices = slices
        self._clock = clock
        self._drain_seconds = drain_seconds
        self._changed = asyncio.Event()
        slices.subscribe(self._wake)

    async def left(self, pod: Pod, seconds_max: float) -> None:
        """Return when no traffic comes to the pod any more, or after `seconds_max`.

        A pod that no slice knows gets none: it returns at once.
        """
        deadline = self._clock.monotonic() + seconds_max
        was_in = False
        while endpoints := self._endpoints(pod):
            was_in = True
            if all(each.terminating or not each.ready for each in endpoints):
                break
            changed = self._changed
            if not await happens_within(self._clock, deadline - self._clock.monotonic(), changed):
                return
        if was_in:
            await self._clock.sleep(max(0.0, min(self._drain_seconds, deadline - self._clock.monotonic())))

    def _endpoints(self, pod: Pod) -> list[Endpoint]:
        uid = pod.metadata.uid
        slices = self._slices.by_index(INDEX, uid)
        every = (endpoint for each in slices for endpoint in each.endpoints)
        return [each for each in every if each.target_ref is not None and each.target_ref.uid == uid]

    def _wake(self, key: ObjectKey, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        """Wake who waits now; whoever waits next waits for the next change."""
        self._changed.set()
        self._changed = asyncio.Event()
