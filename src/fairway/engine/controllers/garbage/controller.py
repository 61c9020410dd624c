"""The loop: whenever an object or one of its owners changes, see whether anything is left to hold it."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from fairway.engine.controllers.caches import Caches, Named
from fairway.engine.controllers.garbage.graph import Graph, Item
from fairway.engine.controllers.garbage.plan import (
    FOREGROUND,
    Delete,
    Disown,
    Finish,
    FreeDependents,
    Owner,
    Snapshot,
    WaitForDependents,
    plan,
)
from fairway.engine.controllers.kinds import KINDS
from fairway.engine.controllers.ownership import disowning
from fairway.engine.controllers.patches import seen_version
from fairway.kube.api.meta import ObjectKey, ObjectMeta, OwnerReference
from fairway.kube.api.noun import decode
from fairway.kube.api.resource import Resource
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import Conflict, NotFound
from fairway.kube.reconcile.cache import Cache
from fairway.kube.reconcile.keyed import run_keyed
from fairway.kube.reconcile.reflector import Reflector, run_reflectors, wait_synced
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

ROOM = "garbage-collector"
log = logs.get(ROOM)
_BY_OWNER_KIND = {(kind.api_version, kind.kind): kind for kind in KINDS}


class GarbageCollector:
    """Keeps the graph, decides with `plan`, and does what it says."""

    def __init__(self, client: ApiClient) -> None:
        self.queue: WorkQueue[Item] = WorkQueue()
        self._client = client
        self._graph = Graph()

    def listen(self, kind: Resource, cache: Cache[Any]) -> None:
        """Follow a cache of any noun that has metadata."""
        cache.subscribe(self._listener(kind))
        for obj in cache.values():
            self.take(Item(kind, obj.metadata.key), None, obj.metadata)

    def _listener(self, kind: Resource) -> Callable[[ObjectKey, Any, Any], None]:
        def changed(key: ObjectKey, old: Any, new: Any) -> None:
            self.take(Item(kind, key), old.metadata if old else None, new.metadata if new else None)

        return changed

    def take(self, item: Item, old: ObjectMeta | None, new: ObjectMeta | None) -> None:
        """Note a change and ask for work on whom it concerns."""
        self._graph.put(item, new)
        if new is not None and (new.owner_references or new.deletion_timestamp):
            self.queue.add(item)
        ended = new is None or (new.deletion_timestamp is not None and FOREGROUND in new.finalizers)
        for version in (old, new):
            if version is not None and ended:
                self._add_all(self._graph.dependents(version.uid))
            for owner in version.owner_references if version else ():
                self._add_waiting(owner)

    async def reconcile(self, item: Item) -> None:
        """Look at one object."""
        metadata = self._graph.metadata(item)
        if metadata is None:
            return
        owners = {owner.uid: await self._state(item, owner) for owner in metadata.owner_references}
        dependents = self._graph.dependents(metadata.uid)
        known = [found for dependent in dependents if (found := self._graph.metadata(dependent))]
        try:
            await self._act(item, metadata, Snapshot(metadata, owners, known))
        except NotFound:
            pass  # gone meanwhile, which is all we could want

    async def _act(self, item: Item, metadata: ObjectMeta, seen: Snapshot) -> None:
        match plan(seen):
            case Delete(policy):
                await self._delete(item, metadata, policy)
            case Disown(uids):
                await self._patch(item, disowning(metadata, uids))
            case FreeDependents():
                await self._free(metadata.uid)
                self.queue.add(item)
            case Finish(finalizer):
                await self._finish(item, metadata, finalizer)
            case WaitForDependents():
                self._add_all(self._graph.dependents(metadata.uid))

    async def _delete(self, item: Item, metadata: ObjectMeta, policy: str) -> None:
        try:
            await self._client.delete(
                item.kind,
                item.key.name,
                namespace=item.key.namespace,
                uid=metadata.uid,
                resource_version=metadata.resource_version,
                propagation_policy=policy,
            )
        except Conflict:
            # The cache brings the newer version, and with it another look.
            self.queue.add_rate_limited(item)
            return
        log.info("deleted", kind=item.kind.kind, object=item.key, policy=policy)

    async def _free(self, uid: str) -> None:
        freed = frozenset({uid})
        for dependent in self._graph.dependents(uid):
            found = self._graph.metadata(dependent)
            if found is not None:
                try:
                    await self._patch(dependent, disowning(found, freed))
                except NotFound:
                    continue
                # Seen at once: the owner is looked at again before the watch brings this.
                left = tuple(owner for owner in found.owner_references if owner.uid != uid)
                self._graph.put(dependent, replace(found, owner_references=left))

    async def _finish(self, item: Item, metadata: ObjectMeta, finalizer: str) -> None:
        left = [name for name in metadata.finalizers if name != finalizer]
        await self._patch(item, {"metadata": {**seen_version(metadata), "finalizers": left or None}})

    async def _patch(self, item: Item, patch: Mapping[str, Any]) -> None:
        await self._client.patch(item.kind, item.key.name, patch, namespace=item.key.namespace)

    async def _state(self, item: Item, owner: OwnerReference) -> Owner:
        """The caches of two kinds are never equally new, so an owner that is missing is asked for."""
        known = self._graph.by_uid(owner.uid)
        if known is None:
            known = await self._ask(item, owner)
        if known is None:
            return Owner.ABSENT
        waiting = known.deletion_timestamp is not None and FOREGROUND in known.finalizers
        return Owner.WAITING if waiting else Owner.PRESENT

    async def _ask(self, item: Item, owner: OwnerReference) -> ObjectMeta | None:
        kind = _BY_OWNER_KIND.get((owner.api_version, owner.kind))
        if kind is None:
            # A kind that we do not know may well exist: what it owns is kept.
            return ObjectMeta(name=owner.name, uid=owner.uid)
        try:
            raw = await self._client.get(kind, owner.name, item.key.namespace if kind.namespaced else "")
        except NotFound:
            return None
        found = decode(Named, raw).metadata
        return found if found.uid == owner.uid else None

    def _add_waiting(self, owner: OwnerReference) -> None:
        """A change of a dependent may be what its owner waits for."""
        metadata = self._graph.by_uid(owner.uid)
        kind = _BY_OWNER_KIND.get((owner.api_version, owner.kind))
        if metadata is not None and kind is not None and metadata.deletion_timestamp is not None:
            self.queue.add(Item(kind, metadata.key))

    def _add_all(self, items: tuple[Item, ...]) -> None:
        for item in items:
            self.queue.add(item)


async def run(client: ApiClient, caches: Caches, clock: Clock) -> None:
    """Collect until cancelled."""
    collector = GarbageCollector(client)
    shared = caches.by_kind
    for kind, cache in shared.items():
        collector.listen(kind, cache)
    reflectors = {kind: Reflector(client, kind, Named, clock) for kind in KINDS if kind not in shared}
    for kind, reflector in reflectors.items():
        collector.listen(kind, reflector.cache)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_reflectors(*reflectors.values()))
        await wait_synced(*reflectors.values())
        tasks.create_task(run_keyed(ROOM, collector.queue, collector.reconcile))
