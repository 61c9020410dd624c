"""The loop: whenever a Deployment, or something it owns, changes, take the next step."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from fairway.engine.controllers.caches import BY_NAMESPACE, BY_OWNER, Caches
from fairway.engine.controllers.deployment.plan import Action, Create, Delete, Plan, Revise, Scale, names, plan
from fairway.engine.controllers.deployment.plan import owner_reference as reference_to
from fairway.engine.controllers.deployment.revisions import REVISION
from fairway.engine.controllers.deployment.snapshot import Snapshot
from fairway.engine.controllers.deployment.status import CREATE_ERROR, counts, create_failed
from fairway.engine.controllers.deployment.template import same_template
from fairway.engine.controllers.ownership import adoption, claim, disowning
from fairway.engine.controllers.patches import seen_version, status_patch
from fairway.engine.controllers.refusals import namespace_is_ending
from fairway.kube.api.meta import ObjectKey, ObjectReference
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import DEPLOYMENTS, REPLICA_SETS
from fairway.kube.api.selectors import from_object
from fairway.kube.api.workloads import Deployment, DeploymentStatus, ReplicaSet
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import AlreadyExists, ApiError, NotFound
from fairway.kube.reconcile.events import EventRecorder
from fairway.kube.reconcile.keyed import run_keyed
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

ROOM = "deployment-controller"
log = logs.get(ROOM)


class DeploymentController:
    """Reads caches, decides with `plan`, and does what it says."""

    def __init__(self, client: ApiClient, caches: Caches, clock: Clock) -> None:
        self.queue: WorkQueue[ObjectKey] = WorkQueue()
        self._client = client
        self._clock = clock
        self._events = EventRecorder(client, ROOM, clock)
        self._deployments = caches.deployments.cache
        self._replica_sets = caches.replica_sets.cache
        self._pods = caches.pods.cache
        self._deployments.subscribe(lambda key, old, new: self.queue.add(key))
        self._replica_sets.subscribe(self._replica_set_changed)
        self._pods.subscribe(self._pod_changed)
        for deployment in self._deployments.values():
            self.queue.add(deployment.metadata.key)

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Take one step; returns after how many seconds to look again if nothing happens."""
        deployment = self._deployments.get(key)
        if deployment is None:
            return None  # what it owned is the garbage collector's
        owned = await self._claimed(deployment)
        if owned is None:
            return None  # the claims themselves bring the next step
        seen = Snapshot(deployment, owned, self._clock.now(), self._running(owned))
        decided = plan(seen)
        for action in decided.actions:
            await self._act(seen, action)
        await self._report(deployment, decided)
        return decided.again_seconds

    # --- acting

    async def _act(self, seen: Snapshot, action: Action) -> None:
        match action:
            case Create():
                await self._create(seen, action)
            case Scale():
                await self._scale(seen.deployment, action)
            case Revise():
                await self._revise(action)
            case Delete(replica_set):
                metadata = replica_set.metadata
                await self._client.delete(REPLICA_SETS, metadata.name, namespace=metadata.namespace, uid=metadata.uid)

    async def _create(self, seen: Snapshot, action: Create) -> None:
        try:
            await self._client.create(REPLICA_SETS, action.replica_set)
        except AlreadyExists:
            await self._collide(seen, action)
            return
        except ApiError as error:
            if namespace_is_ending(error):
                return
            await self._tell_failure(seen, action, error)
            raise
        if action.replicas:
            message = f"Scaled up replica set {action.name} from 0 to {action.replicas}"
            await self._tell(seen.deployment, message)

    async def _collide(self, seen: Snapshot, action: Create) -> None:
        """The name is taken: by our own ReplicaSet that the cache has not seen, or by a stranger with the same hash."""
        deployment = seen.deployment
        raw = await self._client.get(REPLICA_SETS, action.name, deployment.metadata.namespace)
        found = decode(ReplicaSet, raw)
        owner = found.metadata.controller
        if owner and owner.uid == deployment.metadata.uid and same_template(found.spec.template, seen.spec.template):
            return
        count = (deployment.status.collision_count or 0) + 1
        await self._patch_status(deployment, {"status": {"collisionCount": count}})
        log.warning("collision", deployment=deployment.metadata.key, replica_set=action.name, count=count)

    async def _scale(self, deployment: Deployment, action: Scale) -> None:
        metadata, before = action.replica_set.metadata, action.replica_set.spec.replicas
        patch = {
            "metadata": {**seen_version(metadata), "annotations": action.annotations},
            "spec": {"replicas": action.replicas},
        }
        await self._client.patch(REPLICA_SETS, metadata.name, patch, namespace=metadata.namespace)
        if before != action.replicas:
            direction = "up" if action.replicas > before else "down"
            message = f"Scaled {direction} replica set {metadata.name} from {before} to {action.replicas}"
            await self._tell(deployment, message)

    async def _revise(self, action: Revise) -> None:
        metadata = action.replica_set.metadata
        patch = {
            "metadata": {**seen_version(metadata), "annotations": action.annotations},
            "spec": {"minReadySeconds": action.min_ready_seconds},
        }
        await self._client.patch(REPLICA_SETS, metadata.name, patch, namespace=metadata.namespace)

    # --- reporting

    async def _report(self, deployment: Deployment, decided: Plan) -> None:
        """Status and revision go through the status subresource, so that they are no new generation."""
        annotation = str(decided.revision) if decided.revision else None
        annotated = deployment.metadata.annotations.get(REVISION) == annotation
        if annotated and _settled(decided.status) == _settled(deployment.status):
            return
        patch = {"metadata": {"annotations": {REVISION: annotation}}, "status": status_patch(decided.status)}
        await self._patch_status(deployment, patch)
        log.info("step", deployment=deployment.metadata.key, actions=",".join(names(decided.actions)) or None)

    async def _patch_status(self, deployment: Deployment, patch: Mapping[str, Any]) -> None:
        metadata = deployment.metadata
        patch = {**patch, "metadata": {**seen_version(metadata), **patch.get("metadata", {})}}
        try:
            await self._client.patch(
                DEPLOYMENTS, metadata.name, patch, namespace=metadata.namespace, subresource="status"
            )
        except NotFound:
            pass  # deleted meanwhile: nobody reads it any more

    async def _tell_failure(self, seen: Snapshot, action: Create, error: ApiError) -> None:
        message = f'Failed to create new replica set "{action.name}": {error}'
        await self._events.record(reference(seen.deployment), "Warning", CREATE_ERROR, message)
        reported = create_failed(seen, counts(seen, seen.new), message)
        if reported != seen.deployment.status:
            await self._patch_status(seen.deployment, {"status": status_patch(reported)})

    async def _tell(self, deployment: Deployment, message: str) -> None:
        await self._events.record(reference(deployment), "Normal", "ScalingReplicaSet", message)

    # --- seeing

    async def _claimed(self, deployment: Deployment) -> tuple[ReplicaSet, ...] | None:
        """The ReplicaSets that are owned; None after any had to be adopted or released."""
        candidates = self._replica_sets.by_index(BY_NAMESPACE, deployment.metadata.namespace)
        claims = claim(deployment.metadata, from_object(deployment.spec.selector), candidates)
        owner = reference_to(Snapshot(deployment, (), self._clock.now()))
        for stray in claims.adopt:
            await self._patch_owner(stray, adoption(stray.metadata, owner))
        for former in claims.release:
            await self._patch_owner(former, disowning(former.metadata, frozenset({owner.uid})))
        return None if claims.adopt or claims.release else claims.owned

    async def _patch_owner(self, replica_set: ReplicaSet, patch: Mapping[str, Any]) -> None:
        metadata = replica_set.metadata
        try:
            await self._client.patch(REPLICA_SETS, metadata.name, patch, namespace=metadata.namespace)
        except NotFound:
            pass  # gone meanwhile: nothing left to claim

    def _running(self, owned: tuple[ReplicaSet, ...]) -> frozenset[str]:
        uids = (replica_set.metadata.uid for replica_set in owned)
        return frozenset(uid for uid in uids if any(not pod.finished for pod in self._pods.by_index(BY_OWNER, uid)))

    def _replica_set_changed(self, key: ObjectKey, old: ReplicaSet | None, new: ReplicaSet | None) -> None:
        for version in (old, new):
            owner = version.metadata.controller if version else None
            if owner and owner.kind == "Deployment":
                self.queue.add(ObjectKey(key.namespace, owner.name))
        if new is not None and new.metadata.controller is None:
            self._add_matching(new)

    def _add_matching(self, orphan: ReplicaSet) -> None:
        for deployment in self._deployments.by_index(BY_NAMESPACE, orphan.metadata.namespace):
            if from_object(deployment.spec.selector).matches(orphan.metadata.labels):
                self.queue.add(deployment.metadata.key)

    def _pod_changed(self, key: ObjectKey, old: Pod | None, new: Pod | None) -> None:
        """The end of a pod matters to Recreate alone: it waits for the last old one."""
        ended = old is not None and (new is None or new.finished)
        owner = old.metadata.controller if old and ended else None
        replica_set = self._replica_sets.get(ObjectKey(key.namespace, owner.name)) if owner else None
        if replica_set and replica_set.metadata.controller:
            self.queue.add(ObjectKey(key.namespace, replica_set.metadata.controller.name))


def reference(deployment: Deployment) -> ObjectReference:
    """The Deployment as events name it."""
    metadata = deployment.metadata
    return ObjectReference(
        api_version="apps/v1",
        kind="Deployment",
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        resource_version=metadata.resource_version,
    )


def _settled(status: DeploymentStatus) -> DeploymentStatus:
    return replace(status, conditions=tuple(sorted(status.conditions, key=lambda item: item.type)))


async def run(client: ApiClient, caches: Caches, clock: Clock) -> None:
    """Control until cancelled; the caches must be synced."""
    controller = DeploymentController(client, caches, clock)
    await run_keyed(ROOM, controller.queue, controller.reconcile)
