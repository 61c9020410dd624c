"""The loop: every 15 seconds, and when an autoscaler is changed, see whether the size is right."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from fairway.engine.controllers.caches import BY_NAMESPACE, Caches
from fairway.engine.controllers.horizontalpodautoscaler.metrics import ApiMetrics, PodMetrics
from fairway.engine.controllers.horizontalpodautoscaler.plan import (
    News,
    Plan,
    no_scale,
    not_scaled,
    plan,
    scaled,
)
from fairway.engine.controllers.horizontalpodautoscaler.snapshot import Memory, Snapshot
from fairway.engine.controllers.patches import status_patch
from fairway.engine.controllers.references import object_reference
from fairway.kube.api.autoscaling import HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus, Scale
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.noun import decode
from fairway.kube.api.resource import HORIZONTAL_POD_AUTOSCALERS, KINDS, Resource
from fairway.kube.api.selectors import parse
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import ApiError, NotFound
from fairway.kube.reconcile.events import EventRecorder
from fairway.kube.reconcile.keyed import run_keyed
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

ROOM = "horizontal-pod-autoscaler"
PERIOD_SECONDS = 15.0
log = logs.get(ROOM)


class AutoscalerController:
    """Reads caches, scales and metrics, decides with `plan`, and does what it says."""

    def __init__(self, client: ApiClient, caches: Caches, clock: Clock, metrics: PodMetrics) -> None:
        self.queue: WorkQueue[ObjectKey] = WorkQueue()
        self._client = client
        self._clock = clock
        self._metrics = metrics
        self._events = EventRecorder(client, ROOM, clock)
        self._memory: dict[ObjectKey, Memory] = {}
        self._autoscalers = caches.autoscalers.cache
        self._pods = caches.pods.cache
        self._autoscalers.subscribe(self._changed)
        for autoscaler in self._autoscalers.values():
            self.queue.add(autoscaler.metadata.key)

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Look once; returns when to look again."""
        autoscaler = self._autoscalers.get(key)
        if autoscaler is None:
            self._memory.pop(key, None)
            return None
        kind = _kind(autoscaler)
        scale, error = await self._scale(autoscaler, kind)
        if scale is None or kind is None:
            status, item = no_scale(autoscaler, error, self._clock.now())
            await self._tell(autoscaler, (item,))
            await self._report(autoscaler, status)
            return PERIOD_SECONDS
        seen = await self._look(autoscaler, scale)
        decided = await self._act(seen, kind, plan(seen))
        self._memory[key] = decided.memory
        await self._tell(autoscaler, decided.news)
        await self._report(autoscaler, decided.status)
        return PERIOD_SECONDS

    async def _look(self, autoscaler: HorizontalPodAutoscaler, scale: Scale) -> Snapshot:
        key, text = autoscaler.metadata.key, scale.status.selector
        usage = await self._metrics.usage(key.namespace, text) if text else {}
        selector = parse(text)
        candidates = self._pods.by_index(BY_NAMESPACE, key.namespace)
        pods = tuple(pod for pod in candidates if text and selector.matches(pod.metadata.labels))
        memory = self._memory.get(key, Memory())
        return Snapshot(autoscaler, scale, pods, usage, self._clock.now(), memory)

    async def _scale(self, autoscaler: HorizontalPodAutoscaler, kind: Resource | None) -> tuple[Scale | None, str]:
        """The scale of the target, or why there is none."""
        target = autoscaler.spec.scale_target_ref
        if kind is None:
            group = target.api_version.rpartition("/")[0]
            return None, f'no matches for kind "{target.kind}" in group "{group}"'
        try:
            raw = await self._client.get(kind, target.name, autoscaler.metadata.namespace, subresource="scale")
        except ApiError as error:
            return None, str(error)
        return decode(Scale, raw), ""

    async def _act(self, seen: Snapshot, kind: Resource, decided: Plan) -> Plan:
        if decided.replicas is None:
            return decided
        metadata = seen.scale.metadata
        patch = {
            "metadata": {"resourceVersion": metadata.resource_version},
            "spec": {"replicas": decided.replicas},
        }
        try:
            await self._client.patch(kind, metadata.name, patch, namespace=metadata.namespace, subresource="scale")
        except ApiError as error:
            return not_scaled(seen, decided, str(error))
        log.info("scaled", target=f"{kind.kind}/{metadata.name}", replicas=decided.replicas, reason=decided.reason)
        return scaled(seen, decided)

    async def _report(self, autoscaler: HorizontalPodAutoscaler, wanted: HorizontalPodAutoscalerStatus) -> None:
        if wanted == autoscaler.status:
            return
        metadata = autoscaler.metadata
        patch: Mapping[str, Any] = {
            "metadata": {"uid": metadata.uid},
            "status": status_patch(wanted, desiredReplicas=0),
        }
        try:
            await self._client.patch(
                HORIZONTAL_POD_AUTOSCALERS, metadata.name, patch, namespace=metadata.namespace, subresource="status"
            )
        except NotFound:
            pass  # deleted meanwhile: nobody reads it any more

    async def _tell(self, autoscaler: HorizontalPodAutoscaler, news: tuple[News, ...]) -> None:
        for item in news:
            reference = object_reference(HORIZONTAL_POD_AUTOSCALERS, autoscaler.metadata)
            await self._events.record(reference, item.type, item.reason, item.message)

    def _changed(
        self, key: ObjectKey, old: HorizontalPodAutoscaler | None, new: HorizontalPodAutoscaler | None
    ) -> None:
        """Its own reports are no reason to look again."""
        if old is not None and new is not None and _same(old, new):
            return
        self.queue.add(key)


def _same(old: HorizontalPodAutoscaler, new: HorizontalPodAutoscaler) -> bool:
    return old.metadata.uid == new.metadata.uid and replace(old, metadata=new.metadata, status=new.status) == new


def _kind(autoscaler: HorizontalPodAutoscaler) -> Resource | None:
    """What is scaled; without an API version the one that has the kind."""
    target = autoscaler.spec.scale_target_ref
    if target.api_version:
        return KINDS.get((target.api_version, target.kind))
    return next((kind for (_, name), kind in KINDS.items() if name == target.kind), None)


async def run(client: ApiClient, caches: Caches, clock: Clock) -> None:
    """Control until cancelled; the caches must be synced."""
    controller = AutoscalerController(client, caches, clock, ApiMetrics(client))
    await run_keyed(ROOM, controller.queue, controller.reconcile)
