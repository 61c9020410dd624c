"""The loop: whenever a namespace is deleted, empty it and let it go."""

import asyncio

from fairway.engine.controllers.caches import Caches, Named
from fairway.engine.controllers.kinds import kinds_of
from fairway.engine.controllers.namespace.plan import FINALIZER, Contents, conditions, plan
from fairway.kube.api.meta import Condition, ObjectKey, ObjectMeta
from fairway.kube.api.noun import Noun, decode, encode
from fairway.kube.api.resource import NAMESPACES, Resource
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import Conflict, NotFound
from fairway.kube.reconcile.keyed import run_keyed
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

ROOM = "namespace-controller"
log = logs.get(ROOM)


class _Status(Noun, frozen=True):
    conditions: tuple[Condition, ...] = ()


class _Conditions(Noun, frozen=True):
    status: _Status = _Status()


class NamespaceController:
    """Lists what is left, deletes it, and takes away the finalizer at the end."""

    def __init__(self, client: ApiClient, caches: Caches, clock: Clock) -> None:
        self.queue: WorkQueue[ObjectKey] = WorkQueue()
        self._client = client
        self._clock = clock
        self._namespaces = caches.namespaces.cache
        self._namespaces.subscribe(lambda key, old, new: self.queue.add(key))
        # What takes its time are pods; the rest is gone when it is deleted.
        caches.pods.cache.subscribe(lambda key, old, new: self._maybe(key.namespace) if new is None else None)
        for namespace in self._namespaces.values():
            self.queue.add(namespace.metadata.key)

    async def reconcile(self, key: ObjectKey) -> float | None:
        """One pass over a namespace that is being deleted; others need nothing."""
        namespace = self._namespaces.get(key)
        if namespace is None or namespace.metadata.deletion_timestamp is None:
            return None
        if FINALIZER not in namespace.spec.finalizers:
            return None
        contents = await self._contents(key.name)
        decided = plan(contents)
        await asyncio.gather(*(self._delete(kind, metadata) for kind, metadata in decided.delete))
        if decided.finalize:
            await self._finalize(key.name)
            return None
        await self._report(key.name, contents)
        return decided.again_seconds

    async def _contents(self, namespace: str) -> Contents:
        """From the API itself: a cache could miss what was made a moment ago."""
        found: dict[Resource, tuple[ObjectMeta, ...]] = {}
        seen: set[str] = set()
        for kind in kinds_of(await self._client.discover()).listed:
            if kind.namespaced:
                page = await self._list(kind, namespace)
                found[kind] = tuple(metadata for metadata in page if metadata.uid not in seen)
                seen.update(metadata.uid for metadata in page)  # Events are served by two groups
        return Contents(found)

    async def _list(self, kind: Resource, namespace: str) -> tuple[ObjectMeta, ...]:
        try:
            page = await self._client.list(kind, namespace, metadata_only=True)
        except NotFound:
            return ()  # a kind that went away meanwhile took its objects along
        return tuple(decode(Named, raw).metadata for raw in page.items)

    async def _delete(self, kind: Resource, metadata: ObjectMeta) -> None:
        try:
            await self._client.delete(
                kind,
                metadata.name,
                namespace=metadata.namespace,
                uid=metadata.uid,
                propagation_policy="Background",
            )
        except (NotFound, Conflict):
            pass  # gone meanwhile, perhaps replaced: the next pass sees

    async def _report(self, name: str, contents: Contents) -> None:
        raw = await self._client.get(NAMESPACES, name)
        current = decode(_Conditions, raw).status.conditions
        wanted = conditions(current, contents, self._clock.now())
        if wanted != current:
            patch = {"status": {"conditions": [encode(condition) for condition in wanted]}}
            await self._client.patch(NAMESPACES, name, patch, subresource="status")

    async def _finalize(self, name: str) -> None:
        raw = await self._client.get(NAMESPACES, name)
        finalizers = (raw.get("spec") or {}).get("finalizers") or []
        raw["spec"] = {"finalizers": [finalizer for finalizer in finalizers if finalizer != FINALIZER]}
        try:
            await self._client.update(NAMESPACES, raw, subresource="finalize")
        except NotFound:
            pass
        log.info("emptied", namespace=name)

    def _maybe(self, name: str) -> None:
        namespace = self._namespaces.get(ObjectKey("", name))
        if namespace is not None and namespace.metadata.deletion_timestamp is not None:
            self.queue.add(namespace.metadata.key)


async def run(client: ApiClient, caches: Caches, clock: Clock) -> None:
    """Control until cancelled; the caches must be synced."""
    controller = NamespaceController(client, caches, clock)
    await run_keyed(ROOM, controller.queue, controller.reconcile)
