"""The loop: whenever a quota or something that it counts changes, count again."""

import asyncio
from collections.abc import Mapping
from typing import Any

from fairway.engine.controllers.caches import BY_NAMESPACE, Caches, Named
from fairway.engine.controllers.kinds import Kinds, follow_kinds, name_of
from fairway.engine.controllers.patches import seen_version
from fairway.engine.controllers.resourcequota.plan import counted, status
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.noun import encode
from fairway.kube.api.pods import Pod
from fairway.kube.api.policies import ResourceQuota
from fairway.kube.api.resource import RESOURCE_QUOTAS, Resource
from fairway.kube.api.services import Service
from fairway.kube.api.statefulsets import PersistentVolumeClaim
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound
from fairway.kube.reconcile.cache import Cache
from fairway.kube.reconcile.keyed import run_keyed
from fairway.kube.reconcile.reflector import Reflector
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit.clock import Clock

ROOM = "resourcequota-controller"
_DEBOUNCE_SECONDS = 0.05


class QuotaController:
    """Counts what caches hold; a kind that nobody else watches is watched from when a quota first counts it."""

    def __init__(self, client: ApiClient, caches: Caches, clock: Clock, tasks: asyncio.TaskGroup) -> None:
        self.queue: WorkQueue[ObjectKey] = WorkQueue()
        self._client = client
        self._clock = clock
        self._tasks = tasks
        self._quotas = caches.quotas.cache
        self._caches: dict[Resource, Cache[Any]] = dict(caches.by_kind)
        self._watching: dict[Resource, asyncio.Task[None]] = {}
        self._by_name: Mapping[str, Resource] = {name_of(kind): kind for kind in self._caches}
        self.started = asyncio.Event()
        self._quotas.subscribe(self._quota_changed)
        for kind, cache in self._caches.items():
            if kind.namespaced and kind != RESOURCE_QUOTAS:
                cache.subscribe(self._counted_changed)
        for quota in self._quotas.values():
            self.queue.add(quota.metadata.key)

    def serve(self, kinds: Kinds) -> None:
        """Count what the API serves now; what it serves no more is not watched any more."""
        self._by_name = kinds.by_name
        for kind in self._watching.keys() - set(kinds.watched):
            self._watching.pop(kind).cancel()
            self._caches.pop(kind).synced.set()  # whoever waits for it looks again
        for quota in self._quotas.values():
            self.queue.add(quota.metadata.key)
        self.started.set()

    async def reconcile(self, key: ObjectKey) -> None:
        """Count and report."""
        quota = self._quotas.get(key)
        if quota is None:
            return
        objects = {name: await self._objects(name, key.namespace) for name in counted(quota)}
        wanted = status(quota, objects)
        if wanted != quota.status:
            await self._report(quota, wanted.hard, wanted.used)

    async def _objects(self, name: str, namespace: str) -> list[Mapping[str, Any]]:
        kind = self._by_name.get(name)
        if kind is None:
            return []  # a kind that is not served: there is nothing of it
        cache = self._caches.get(kind) or self._watch(kind)
        await cache.synced.wait()
        return [encode(obj) for obj in cache.values() if obj.metadata.namespace == namespace]

    def _watch(self, kind: Resource) -> Cache[Any]:
        reflector = Reflector(self._client, kind, Named, self._clock, metadata_only=True)
        reflector.cache.subscribe(self._counted_changed)
        self._caches[kind] = reflector.cache
        self._watching[kind] = self._tasks.create_task(reflector.run())
        return reflector.cache

    async def _report(self, quota: ResourceQuota, hard: Mapping[str, Any], used: Mapping[str, Any]) -> None:
        metadata, before = quota.metadata, quota.status
        patch = {
            "metadata": seen_version(metadata),
            "status": {
                "hard": {**dict.fromkeys(before.hard), **hard},
                "used": {**dict.fromkeys(before.used), **used},
            },
        }
        try:
            await self._client.patch(
                RESOURCE_QUOTAS, metadata.name, patch, namespace=metadata.namespace, subresource="status"
            )
        except NotFound:
            pass  # deleted meanwhile: nobody reads it any more

    def _quota_changed(self, key: ObjectKey, old: ResourceQuota | None, new: ResourceQuota | None) -> None:
        """Quotas may count each other."""
        self.queue.add(key)
        if old is None or new is None:
            self._counted_changed(key, old, new)

    def _counted_changed(self, key: ObjectKey, old: Any, new: Any) -> None:
        """What only changed its status is counted as before; a burst is counted once."""
        if old is not None and new is not None and _same_use(old, new):
            return
        for quota in self._quotas.by_index(BY_NAMESPACE, key.namespace):
            self.queue.add_after(quota.metadata.key, _DEBOUNCE_SECONDS)


def _same_use(old: Any, new: Any) -> bool:
    """Whether a change leaves everything that is counted as it was."""
    if isinstance(new, Pod):
        return bool(old.finished == new.finished)
    return not isinstance(new, Service | PersistentVolumeClaim) or bool(old.spec == new.spec)


async def run(client: ApiClient, caches: Caches, clock: Clock) -> None:
    """Count until cancelled; the caches must be synced."""
    async with asyncio.TaskGroup() as tasks:
        controller = QuotaController(client, caches, clock, tasks)
        tasks.create_task(follow_kinds(ROOM, client, caches.definitions.cache, clock, controller.serve))
        await controller.started.wait()
        tasks.create_task(run_keyed(ROOM, controller.queue, controller.reconcile))
