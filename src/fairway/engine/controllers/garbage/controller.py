"""The loop: whenever an object or one of its owners changes, see whether anything is left to hold it."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from fairway.engine.controllers.caches import Caches, Named
from fairway.engine.controllers.garbage.followed import Followed
from fairway.engine.controllers.garbage.graph import Graph, Item
from fairway.engine.controllers.garbage.plan import (
    FOREGROUND,
    Action,
    Delete,
    Disown,
    Finish,
    FreeDependents,
    Owner,
    Snapshot,
    WaitForDependents,
    plan,
)
from fairway.engine.controllers.kinds import Kinds, definition_of, follow_kinds
from fairway.engine.controllers.ownership import disowning
from fairway.engine.controllers.patches import seen_version
from fairway.kube.api.meta import ObjectMeta, OwnerReference
from fairway.kube.api.noun import decode
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import Conflict, NotFound
from fairway.kube.reconcile.cache import Cache
from fairway.kube.reconcile.keyed import run_keyed
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

ROOM = "garbage-collector"
log = logs.get(ROOM)
_GONE_MAX = 10_000
_UNSYNCED_SECONDS = 0.1


class GarbageCollector:
    """Keeps the graph, decides with `plan`, and does what it says."""

    def __init__(self, client: ApiClient, caches: Caches, clock: Clock, tasks: asyncio.TaskGroup) -> None:
        self.queue: WorkQueue[Item] = WorkQueue()
        self.started = asyncio.Event()
        self.followed = Followed(client, clock, caches.by_kind, tasks, self.take)
        self._client = client
        self._definitions: Cache[Named] = caches.definitions.cache
        self._kinds = Kinds()
        self._graph = Graph()
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._unplaced: set[Item] = set()

    def serve(self, kinds: Kinds) -> None:
        """Follow what the API serves now."""
        self._kinds = kinds
        for kind, keys in self.followed.follow(kinds).items():
            deleted = self._definitions.get(definition_of(kind)) is None
            for item in (Item(kind, key) for key in keys):
                if deleted:  # the API let the definition go only after all its objects
                    self.take(item, self._graph.metadata(item), None)
                else:
                    self._graph.put(item, None)
        unplaced, self._unplaced = self._unplaced, set()
        self._add_all(unplaced)
        self.started.set()

    def take(self, item: Item, old: ObjectMeta | None, new: ObjectMeta | None) -> None:
        """Note a change and ask for work on whom it concerns."""
        self._graph.put(item, new)
        if old is not None and (new is None or new.uid != old.uid):
            self._note_gone(old.uid)
        if new is not None and (new.owner_references or new.deletion_timestamp):
            self.queue.add(item)
        ended = new is None or (new.deletion_timestamp is not None and FOREGROUND in new.finalizers)
        for version in (old, new):
            if version is not None and ended:
                self._add_all(self._graph.dependents(version.uid))
            for owner in version.owner_references if version else ():
                self._add_waiting(owner)

    async def reconcile(self, item: Item) -> float | None:
        """Look at one object."""
        metadata = self._graph.metadata(item)
        if metadata is None:
            return None
        owners = {owner.uid: await self._state(item, owner) for owner in metadata.owner_references}
        dependents = self._graph.dependents(metadata.uid)
        known = [found for dependent in dependents if (found := self._graph.metadata(dependent))]
        action = plan(Snapshot(metadata, owners, known))
        if isinstance(action, Finish) and not self.followed.synced:
            return _UNSYNCED_SECONDS  # a dependent may be among what has not been seen yet
        try:
            await self._act(item, metadata, action)
        except NotFound:
            pass  # gone meanwhile, which is all we could want
        return None

    async def _act(self, item: Item, metadata: ObjectMeta, action: Action) -> None:
        match action:
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
        if owner.uid in self._gone:
            return None
        kind = self._kinds.by_kind.get((owner.api_version, owner.kind))
        if kind is None or (kind.namespaced and not item.key.namespace):
            # A kind that we do not know may well exist, and an owner in a namespace cannot own what is in none (which
            # no waiting mends): what it owns is kept.
            self._unplaced.add(item)
            return ObjectMeta(name=owner.name, uid=owner.uid)
        try:
            raw = await self._client.get(kind, owner.name, item.key.namespace if kind.namespaced else "")
        except NotFound:
            return None
        found = decode(Named, raw).metadata
        return found if found.uid == owner.uid else None

    def _add_waiting(self, owner: OwnerReference) -> None:
        """A change of a dependent may be what its owner waits for."""
        item = self._graph.item(owner.uid)
        metadata = self._graph.metadata(item) if item else None
        if item is not None and metadata is not None and metadata.deletion_timestamp is not None:
            self.queue.add(item)

    def _add_all(self, items: Iterable[Item]) -> None:
        for item in items:
            self.queue.add(item)

    def _note_gone(self, uid: str) -> None:
        """No object ever gets this uid again, so its dependents need not ask for it."""
        self._gone[uid] = None
        if len(self._gone) > _GONE_MAX:
            self._gone.popitem(last=False)


async def run(client: ApiClient, caches: Caches, clock: Clock) -> None:
    """Collect until cancelled; the caches must be synced."""
    async with asyncio.TaskGroup() as tasks:
        collector = GarbageCollector(client, caches, clock, tasks)
        tasks.create_task(follow_kinds(ROOM, client, caches.definitions.cache, clock, collector.serve))
        await collector.started.wait()
        tasks.create_task(run_keyed(ROOM, collector.queue, collector.reconcile))
