"""List and watch one collection into a cache, for ever."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import Any, Generic, TypeVar

import msgspec

from fairway.kube.api.resource import Resource
from fairway.kube.client.client import ApiClient, WatchEvent
from fairway.kube.client.errors import ApiError, Gone, Unreachable
from fairway.kube.reconcile.cache import Cache, Index, key_of
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

T = TypeVar("T")
log = logs.get("reflector")
_BACKOFF_SECONDS_MIN = 0.05
_BACKOFF_SECONDS_MAX = 10.0


class Reflector(Generic[T]):
    """Keeps `cache` equal to a collection; heals by watching again, or listing again when that is not enough.

    With `metadata_only`, the API sends nothing but metadata (PartialObjectMetadata).
    """

    def __init__(
        self,
        client: ApiClient,
        resource: Resource,
        noun: type[T],
        clock: Clock,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        indexes: Mapping[str, Index[T]] | None = None,
        metadata_only: bool = False,
    ) -> None:
        self.cache: Cache[T] = Cache(noun, indexes)
        self._client = client
        self._resource = resource
        self._clock = clock
        self._namespace = namespace
        self._labels = labels
        self._fields = fields
        self._metadata_only = metadata_only
        self._revision = ""

    async def run(self) -> None:
        """Reflect until cancelled."""
        backoff_seconds = _BACKOFF_SECONDS_MIN
        while True:
            try:
                await self._reflect()
                backoff_seconds = _BACKOFF_SECONDS_MIN
            except Gone:
                self._revision = ""
            except (ApiError, Unreachable) as error:
                log.warning("retry", resource=self._resource.plural, error=error, seconds=backoff_seconds)
                await self._clock.sleep(backoff_seconds)
                backoff_seconds = min(backoff_seconds * 2, _BACKOFF_SECONDS_MAX)

    @contextmanager
    def borrow(self) -> Iterator["Reflector[T]"]:
        """This reflector with a borrowed cache (see `Cache.borrow`); it is not to be run."""
        lent = copy(self)
        with self.cache.borrow() as lent.cache:
            yield lent

    async def _reflect(self) -> None:
        if not self._revision:
            page = await self._client.list(
                self._resource,
                self._namespace,
                labels=self._labels,
                fields=self._fields,
                metadata_only=self._metadata_only,
            )
            self.cache.replace(page.items)
            self._revision = page.resource_version
        events = self._client.watch(
            self._resource,
            self._namespace,
            resource_version=self._revision,
            labels=self._labels,
            fields=self._fields,
            metadata_only=self._metadata_only,
        )
        async for event in events:
            self._take(event)

    def _take(self, event: WatchEvent) -> None:
        self._revision = event.object["metadata"]["resourceVersion"]
        if event.type == "DELETED":
            self.cache.remove(key_of(event.object))
        elif event.type in ("ADDED", "MODIFIED"):
            try:
                self.cache.apply(event.object)
            except msgspec.ValidationError as error:
                # One object that cannot be read must not stop the collection: it keeps its last readable state.
                log.error("unreadable", resource=self._resource.plural, object=key_of(event.object), error=error)


async def run_reflectors(*reflectors: Reflector[Any]) -> None:
    """Run them all until cancelled."""
    async with asyncio.TaskGroup() as tasks:
        for reflector in reflectors:
            tasks.create_task(reflector.run())


async def wait_synced(*reflectors: Reflector[Any]) -> None:
    """Wait until each cache holds a whole list."""
    for reflector in reflectors:
        await reflector.cache.synced.wait()
