"""The loop: whenever a Service, or a pod that it selects, changes, write its slices."""

import asyncio

from fairway.engine.controllers.caches import BY_NAMESPACE, BY_SERVICE, SERVICE_NAME, Caches
from fairway.engine.controllers.endpointslice import mirror
from fairway.engine.controllers.endpointslice.endpoints import Member, members
from fairway.engine.controllers.endpointslice.plan import Plan, plan
from fairway.engine.controllers.refusals import namespace_is_ending
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import ENDPOINT_SLICES, ENDPOINTS
from fairway.kube.api.services import EndpointSlice, Service
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import AlreadyExists, ApiError, NotFound
from fairway.kube.reconcile.keyed import run_keyed
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit.clock import Clock

ROOM = "endpointslice-controller"
_LAG_SECONDS = 0.1


class EndpointSliceController:
    """Reads caches, decides with `plan`, and writes what changed."""

    def __init__(self, client: ApiClient, caches: Caches) -> None:
        self.queue: WorkQueue[ObjectKey] = WorkQueue()
        self._client = client
        self._services = caches.services.cache
        self._slices = caches.slices.cache
        self._pods = caches.pods.cache
        self._services.subscribe(lambda key, old, new: self.queue.add(key))
        self._slices.subscribe(self._slice_changed)
        self._pods.subscribe(self._pod_changed)
        for service in self._services.values():
            self.queue.add(service.metadata.key)

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Write the slices and the Endpoints of one Service; one without a selector is left to its user."""
        service = self._services.get(key)
        if service is None:
            await self._remove_endpoints(key)
            return None
        if not service.spec.selector or service.spec.type == "ExternalName" or service.metadata.deletion_timestamp:
            return None
        found = members(service, self._pods.by_index(BY_NAMESPACE, key.namespace))
        decided = plan(service, found, self._slices.by_index(BY_SERVICE, str(key)))
        try:
            await self._write(decided)
            await self._mirror(service, found)
        except AlreadyExists:
            return _LAG_SECONDS  # by its name it is the one we want: the cache has not seen it yet
        except ApiError as error:
            if not namespace_is_ending(error):
                raise
        return None

    async def _write(self, decided: Plan) -> None:
        """New and changed slices before deleted ones, so that no endpoint is missing in between."""
        await asyncio.gather(
            *(self._client.create(ENDPOINT_SLICES, raw) for raw in decided.create),
            *(self._client.update(ENDPOINT_SLICES, raw) for raw in decided.update),
        )
        for part in decided.delete:
            metadata = part.metadata
            try:
                await self._client.delete(
                    ENDPOINT_SLICES, metadata.name, namespace=metadata.namespace, uid=metadata.uid
                )
            except NotFound:
                pass  # the cache lags; it is what we want

    async def _mirror(self, service: Service, found: list[Member]) -> None:
        wanted = mirror.endpoints_of(service, found)
        metadata = service.metadata
        try:
            current = await self._client.get(ENDPOINTS, metadata.name, metadata.namespace)
        except NotFound:
            await self._client.create(ENDPOINTS, wanted)
            return
        if not mirror.same(current, wanted):
            wanted["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"]
            await self._client.update(ENDPOINTS, wanted)

    async def _remove_endpoints(self, key: ObjectKey) -> None:
        """Endpoints have no owner that the garbage collector could follow."""
        try:
            current = await self._client.get(ENDPOINTS, key.name, key.namespace)
            if (current["metadata"].get("labels") or {}).get(mirror.MANAGED_BY) == mirror.MANAGER:
                await self._client.delete(ENDPOINTS, key.name, namespace=key.namespace, uid=current["metadata"]["uid"])
        except NotFound:
            pass

    def _pod_changed(self, key: ObjectKey, old: Pod | None, new: Pod | None) -> None:
        if old is not None and new is not None and _relevant(old) == _relevant(new):
            return
        versions = [pod for pod in (old, new) if pod is not None]
        for service in self._services.by_index(BY_NAMESPACE, key.namespace):
            selector = service.spec.selector.items()
            if selector and any(selector <= dict(pod.metadata.labels).items() for pod in versions):
                self.queue.add(service.metadata.key)

    def _slice_changed(self, key: ObjectKey, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        for part in (old, new):
            name = part.metadata.labels.get(SERVICE_NAME) if part else None
            if name:
                self.queue.add(ObjectKey(key.namespace, name))


def _relevant(pod: Pod) -> tuple[object, ...]:
    """What of a pod is seen in a slice."""
    metadata, status = pod.metadata, pod.status
    return (
        metadata.labels,
        metadata.deletion_timestamp is None,
        pod.ready,
        pod.finished,
        status.pod_ip,
        pod.spec.node_name,
    )


async def run(client: ApiClient, caches: Caches, clock: Clock) -> None:
    """Control until cancelled; the caches must be synced."""
    controller = EndpointSliceController(client, caches)
    await run_keyed(ROOM, controller.queue, controller.reconcile)
