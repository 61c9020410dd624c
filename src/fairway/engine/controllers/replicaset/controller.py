"""The loop: whenever a ReplicaSet or one of its pods changes, make, delete and count pods."""

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any

from fairway.engine.controllers.caches import BY_NAMESPACE, Caches
from fairway.engine.controllers.ownership import adoption, claim, disowning
from fairway.engine.controllers.patches import seen_version, status_patch
from fairway.engine.controllers.refusals import namespace_is_ending
from fairway.engine.controllers.replicaset.expectations import Expectations
from fairway.engine.controllers.replicaset.plan import Snapshot, batches, draft, failed, owner_reference, plan, status
from fairway.kube.api.meta import Condition, ObjectKey, ObjectReference
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import PODS, REPLICA_SETS
from fairway.kube.api.selectors import from_object
from fairway.kube.api.workloads import ReplicaSet
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import ApiError, Conflict, NotFound, Unreachable
from fairway.kube.reconcile.events import EventRecorder
from fairway.kube.reconcile.keyed import run_keyed
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

ROOM = "replicaset-controller"
log = logs.get(ROOM)
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


class ReplicaSetController:
    """Reads caches, decides with `plan`, and does what it says."""

    def __init__(self, client: ApiClient, caches: Caches, clock: Clock) -> None:
        self.queue: WorkQueue[ObjectKey] = WorkQueue()
        self._client = client
        self._clock = clock
        self._events = EventRecorder(client, ROOM, clock)
        self._expected = Expectations(clock.monotonic)
        self._replica_sets = caches.replica_sets.cache
        self._pods = caches.pods.cache
        self._replica_sets.subscribe(lambda key, old, new: self.queue.add(key))
        self._pods.subscribe(self._pod_changed)
        for replica_set in self._replica_sets.values():
            self.queue.add(replica_set.metadata.key)

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Bring one ReplicaSet to its size and report; returns after how many seconds to look again."""
        replica_set = self._replica_sets.get(key)
        if replica_set is None:
            self._expected.forget(key)
            return None
        candidates = self._pods.by_index(BY_NAMESPACE, key.namespace)
        claims = claim(replica_set.metadata, from_object(replica_set.spec.selector), candidates)
        if claims.adopt or claims.release:
            await self._settle(replica_set, claims.adopt, claims.release)
            return None  # the claims themselves bring the next pass
        seen = self._look(replica_set, claims.owned)
        decided = plan(seen)
        failure = await self._make(replica_set, decided.create) or await self._delete(replica_set, decided.delete)
        await self._report(seen, failure[0] if failure else None)
        if failure:
            raise failure[1]  # to be tried again with a growing delay
        return decided.again_seconds

    def _look(self, replica_set: ReplicaSet, pods: tuple[Pod, ...]) -> Snapshot:
        key = replica_set.metadata.key
        coming, going = self._expected.pods(key), self._expected.deletions(key)
        return Snapshot(replica_set, pods, self._clock.now(), coming, going)

    # --- pods

    async def _make(self, replica_set: ReplicaSet, count: int) -> tuple[Condition, Exception] | None:
        for size in batches(count):
            results = await asyncio.gather(*(self._make_one(replica_set) for _ in range(size)))
            error = next((result for result in results if result is not None), None)
            if error is not None:
                return failed(self._clock.now(), "FailedCreate", str(error)), error
        if count:
            log.info("created", replica_set=replica_set.metadata.key, pods=count)
        return None

    async def _make_one(self, replica_set: ReplicaSet) -> Exception | None:
        """The error, if there was one. A pod that was made without an answer shows up in the cache."""
        pod = draft(replica_set, "".join(secrets.choice(_ALPHABET) for _ in range(5)))
        key, name = replica_set.metadata.key, pod["metadata"]["name"]
        self._expected.expect_pod(key, name)
        try:
            await self._client.create(PODS, pod)
        except (ApiError, Unreachable) as error:
            self._expected.pod_seen(key, name)
            if isinstance(error, ApiError) and namespace_is_ending(error):
                return None
            await self._tell(replica_set, "Warning", "FailedCreate", f"Error creating: {error}")
            return error
        await self._tell(replica_set, "Normal", "SuccessfulCreate", f"Created pod: {name}")
        return None

    async def _delete(self, replica_set: ReplicaSet, pods: tuple[Pod, ...]) -> tuple[Condition, Exception] | None:
        results = await asyncio.gather(*(self._delete_one(replica_set, pod) for pod in pods))
        error = next((result for result in results if result is not None), None)
        if error is not None:
            return failed(self._clock.now(), "FailedDelete", str(error)), error
        if pods:
            log.info("deleted", replica_set=replica_set.metadata.key, pods=len(pods))
        return None

    async def _delete_one(self, replica_set: ReplicaSet, pod: Pod) -> Exception | None:
        key, metadata = replica_set.metadata.key, pod.metadata
        self._expected.expect_deletion(key, metadata.uid)
        try:
            await self._client.delete(PODS, metadata.name, namespace=metadata.namespace, uid=metadata.uid)
        except (NotFound, Conflict):
            self._expected.deletion_seen(key, metadata.uid)  # gone, or another pod of that name
            return None
        except (ApiError, Unreachable) as error:
            self._expected.deletion_seen(key, metadata.uid)
            await self._tell(replica_set, "Warning", "FailedDelete", f"Error deleting: {error}")
            return error
        await self._tell(replica_set, "Normal", "SuccessfulDelete", f"Deleted pod: {metadata.name}")
        return None

    async def _settle(self, replica_set: ReplicaSet, adopt: tuple[Pod, ...], release: tuple[Pod, ...]) -> None:
        owner = owner_reference(replica_set)
        for stray in adopt:
            await self._patch_owner(stray, adoption(stray.metadata, owner))
        for former in release:
            await self._patch_owner(former, disowning(former.metadata, frozenset({owner.uid})))

    async def _patch_owner(self, pod: Pod, patch: Mapping[str, Any]) -> None:
        try:
            await self._client.patch(PODS, pod.metadata.name, patch, namespace=pod.metadata.namespace)
        except NotFound:
            pass  # gone meanwhile: nothing left to claim

    # --- reporting

    async def _report(self, seen: Snapshot, failure: Condition | None) -> None:
        wanted, metadata = status(seen, failure), seen.replica_set.metadata
        if wanted == seen.replica_set.status:
            return
        patch = {"metadata": seen_version(metadata), "status": status_patch(wanted, replicas=0)}
        try:
            await self._client.patch(
                REPLICA_SETS, metadata.name, patch, namespace=metadata.namespace, subresource="status"
            )
        except NotFound:
            pass  # deleted meanwhile: nobody reads it any more

    async def _tell(self, replica_set: ReplicaSet, type: str, reason: str, message: str) -> None:
        await self._events.record(reference(replica_set), type, reason, message)

    # --- seeing

    def _pod_changed(self, key: ObjectKey, old: Pod | None, new: Pod | None) -> None:
        for version in (old, new):
            owner = version.metadata.controller if version else None
            if owner and owner.kind == "ReplicaSet":
                self._observe(ObjectKey(key.namespace, owner.name), old, new)
        if new is not None and new.metadata.controller is None:
            self._add_matching(new)

    def _observe(self, owner: ObjectKey, old: Pod | None, new: Pod | None) -> None:
        if new is not None:
            self._expected.pod_seen(owner, new.metadata.name)
        if old is not None and (new is None or new.metadata.deletion_timestamp):
            self._expected.pod_seen(owner, old.metadata.name)
            self._expected.deletion_seen(owner, old.metadata.uid)
        self.queue.add(owner)

    def _add_matching(self, orphan: Pod) -> None:
        for replica_set in self._replica_sets.by_index(BY_NAMESPACE, orphan.metadata.namespace):
            if from_object(replica_set.spec.selector).matches(orphan.metadata.labels):
                self.queue.add(replica_set.metadata.key)


def reference(replica_set: ReplicaSet) -> ObjectReference:
    """The ReplicaSet as events name it."""
    metadata = replica_set.metadata
    return ObjectReference(
        api_version="apps/v1",
        kind="ReplicaSet",
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        resource_version=metadata.resource_version,
    )


async def run(client: ApiClient, caches: Caches, clock: Clock) -> None:
    """Control until cancelled; the caches must be synced."""
    controller = ReplicaSetController(client, caches, clock)
    await run_keyed(ROOM, controller.queue, controller.reconcile)
