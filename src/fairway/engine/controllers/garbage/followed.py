"""The collections whose objects the graph holds: one metadata reflector for each that nobody else watches."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from fairway.engine.controllers.caches import Named
from fairway.engine.controllers.garbage.graph import Item
from fairway.engine.controllers.kinds import Kinds, is_event
from fairway.kube.api.meta import ObjectKey, ObjectMeta
from fairway.kube.api.resource import Resource
from fairway.kube.client.client import ApiClient
from fairway.kube.reconcile.cache import Cache
from fairway.kube.reconcile.reflector import Reflector
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

Take = Callable[[Item, ObjectMeta | None, ObjectMeta | None], None]
log = logs.get("garbage-collector")


class _Collection(msgspec.Struct):
    cache: Cache[Any]
    unsubscribe: Callable[[], None]
    task: asyncio.Task[None] | None


class Followed:
    """Starts and ends reflectors as kinds come and go; `take` hears every change of every object."""

    def __init__(
        self,
        client: ApiClient,
        clock: Clock,
        shared: Mapping[Resource, Cache[Any]],
        tasks: asyncio.TaskGroup,
        take: Take,
    ) -> None:
        self._client = client
        self._clock = clock
        self._shared = shared
        self._tasks = tasks
        self._take = take
        self._collections: dict[Resource, _Collection] = {}

    @property
    def synced(self) -> bool:
        """Whether everything that exists has been seen."""
        return all(one.cache.synced.is_set() for one in self._collections.values())

    def follow(self, kinds: Kinds) -> dict[Resource, tuple[ObjectKey, ...]]:
        """Follow these kinds and no others; returns the last known objects of each kind that is not served any more."""
        wanted = {kind for kind in kinds.watched if not is_event(kind)}
        ended = {kind: self._end(kind) for kind in self._collections.keys() - wanted}
        for kind in wanted - self._collections.keys():
            self._begin(kind)
        return ended

    def _begin(self, kind: Resource) -> None:
        cache, task = self._shared.get(kind), None
        if cache is None:
            reflector = Reflector(self._client, kind, Named, self._clock, metadata_only=True)
            cache, task = reflector.cache, self._tasks.create_task(reflector.run())

        def changed(key: ObjectKey, old: Any, new: Any) -> None:
            self._take(Item(kind, key), old.metadata if old else None, new.metadata if new else None)

        self._collections[kind] = _Collection(cache, cache.subscribe(changed), task)
        for obj in cache.values():
            self._take(Item(kind, obj.metadata.key), None, obj.metadata)

    def _end(self, kind: Resource) -> tuple[ObjectKey, ...]:
        collection = self._collections.pop(kind)
        collection.unsubscribe()
        if collection.task is not None:
            collection.task.cancel()
        log.info("unfollowed", kind=kind.kind, group=kind.group)
        return collection.cache.keys()
