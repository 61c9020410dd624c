"""The loop: whenever a StatefulSet, or something it owns, changes, take the next step."""

from collections.abc import Mapping
from typing import Any

from fairway.engine.controllers import revisions
from fairway.engine.controllers.caches import BY_NAMESPACE, Caches
from fairway.engine.controllers.ownership import adoption, claim, disowning
from fairway.engine.controllers.patches import seen_version, status_patch
from fairway.engine.controllers.pod_control import owners_of
from fairway.engine.controllers.references import object_reference, owner_reference
from fairway.engine.controllers.refusals import namespace_is_ending
from fairway.engine.controllers.revision_control import RevisionControl
from fairway.engine.controllers.statefulset.claims import CreateClaim, OwnClaim
from fairway.engine.controllers.statefulset.plan import Action, CreatePod, DeletePod, MendPod, plan
from fairway.engine.controllers.statefulset.snapshot import Snapshot, ordinal_of, revision_of
from fairway.kube.api.meta import ObjectKey, ObjectMeta
from fairway.kube.api.noun import decode, encode
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import (
    CONTROLLER_REVISIONS,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    STATEFUL_SETS,
    Resource,
)
from fairway.kube.api.selectors import from_object
from fairway.kube.api.statefulsets import ControllerRevision, PersistentVolumeClaim, StatefulSet, StatefulSetStatus
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import AlreadyExists, ApiError, Conflict, NotFound
from fairway.kube.reconcile.events import EventRecorder
from fairway.kube.reconcile.keyed import run_keyed
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

ROOM = "statefulset-controller"
log = logs.get(ROOM)
_ENDED = {
    "Failed": ("Warning", "RecreatingFailedPod", "failed"),
    "Succeeded": ("Normal", "RecreatingTerminatedPod", "terminated"),
}


class StatefulSetController:
    """Reads caches, decides with `plan`, and does what it says."""

    def __init__(self, client: ApiClient, caches: Caches, clock: Clock) -> None:
        self.queue: WorkQueue[ObjectKey] = WorkQueue()
        self._client = client
        self._clock = clock
        self._events = EventRecorder(client, ROOM, clock)
        self._revision_control = RevisionControl(client, caches.revisions.cache)
        self._sets = caches.stateful_sets.cache
        self._pods = caches.pods.cache
        self._revisions = caches.revisions.cache
        self._claims = caches.claims.cache
        self._sets.subscribe(lambda key, old, new: self.queue.add(key))
        self._pods.subscribe(owners_of("StatefulSet", self.queue.add))
        self._pods.subscribe(self._orphan_seen)
        self._claims.subscribe(self._claim_changed)
        for stateful_set in self._sets.values():
            self.queue.add(stateful_set.metadata.key)

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Take one step; returns after how many seconds to look again if nothing happens."""
        stateful_set = self._sets.get(key)
        if stateful_set is None:
            return None  # what it owned is the garbage collector's
        pods = await self._claimed_pods(stateful_set)
        known = await self._claimed_revisions(stateful_set)
        if pods is None or known is None:
            return None  # the claims themselves bring the next step
        if stateful_set.metadata.deletion_timestamp is None and not await self._record(stateful_set, known):
            return None  # the new collision count brings the next step
        seen = self._look(stateful_set, pods)
        if seen is None:
            return None
        decided = plan(seen)
        try:
            for action in decided.actions:
                await self._act(stateful_set, action)
        finally:
            await self._report(stateful_set, decided.status)
        await self._forget(seen)
        return decided.again_seconds

    def _look(self, stateful_set: StatefulSet, pods: tuple[Pod, ...]) -> Snapshot | None:
        known = self._owned_revisions(stateful_set)
        update = revisions.find(known, stateful_set.spec.template)
        if update is None:
            return None  # it is being deleted, and was never looked at before
        rolled_out = stateful_set.status.current_revision
        current = next((item for item in known if item.metadata.name == rolled_out), update)
        claims = self._claims.by_index(BY_NAMESPACE, stateful_set.metadata.namespace)
        return Snapshot(stateful_set, pods, current, update, self._clock.now(), claims)

    # --- revisions

    async def _record(self, stateful_set: StatefulSet, known: tuple[ControllerRevision, ...]) -> bool:
        metadata, count = stateful_set.metadata, stateful_set.status.collision_count or 0
        owner = owner_reference(STATEFUL_SETS, metadata)
        action = revisions.record(metadata, owner, stateful_set.spec.template, known, count)
        if action is None or await self._revision_control.record(action):
            return True
        await self._patch_status(stateful_set, {"collisionCount": count + 1})
        log.warning("collision", stateful_set=metadata.key, count=count + 1)
        return False

    async def _forget(self, seen: Snapshot) -> None:
        live = {seen.current.metadata.name, seen.update.metadata.name, *(revision_of(pod) for pod in seen.pods)}
        known = self._owned_revisions(seen.stateful_set)
        for revision in revisions.surplus(known, frozenset(live), seen.spec.revision_history_limit):
            await self._revision_control.forget(revision)

    def _owned_revisions(self, stateful_set: StatefulSet) -> tuple[ControllerRevision, ...]:
        candidates = self._revisions.by_index(BY_NAMESPACE, stateful_set.metadata.namespace)
        uid = stateful_set.metadata.uid
        return tuple(item for item in candidates if item.metadata.controller and item.metadata.controller.uid == uid)

    # --- acting

    async def _act(self, stateful_set: StatefulSet, action: Action) -> None:
        match action:
            case CreateClaim():
                await self._create_claim(stateful_set, action)
            case OwnClaim(owned, owners):
                references = [encode(owner) for owner in owners] or None
                patch = {"metadata": {**seen_version(owned.metadata), "ownerReferences": references}}
                await self._patch(PERSISTENT_VOLUME_CLAIMS, owned.metadata, patch)
            case CreatePod():
                await self._create_pod(stateful_set, action)
            case DeletePod():
                await self._delete_pod(stateful_set, action)
            case MendPod(pod, patch):
                await self._patch(PODS, pod.metadata, patch)

    async def _create_claim(self, stateful_set: StatefulSet, action: CreateClaim) -> None:
        what = f"Claim {action.name} Pod {action.pod_name} in StatefulSet {stateful_set.metadata.name}"
        try:
            self._claims.apply(await self._client.create(PERSISTENT_VOLUME_CLAIMS, action.claim))
        except AlreadyExists:
            return
        except ApiError as error:
            if not namespace_is_ending(error):
                await self._tell(stateful_set, "Warning", "FailedCreate", f"create {what} failed error: {error}")
            raise
        await self._tell(stateful_set, "Normal", "SuccessfulCreate", f"create {what} success")

    async def _create_pod(self, stateful_set: StatefulSet, action: CreatePod) -> None:
        what = f"Pod {action.name} in StatefulSet {stateful_set.metadata.name}"
        try:
            await self._client.create(PODS, action.pod)
        except AlreadyExists as error:
            if await self._is_foreign(stateful_set, action.name):
                await self._tell(stateful_set, "Warning", "FailedCreate", f"create {what} failed error: {error}")
                raise
            return  # made a moment ago: the watch brings it
        except ApiError as error:
            if namespace_is_ending(error):
                return
            await self._tell(stateful_set, "Warning", "FailedCreate", f"create {what} failed error: {error}")
            raise
        log.info("created", stateful_set=stateful_set.metadata.key, pod=action.name)
        await self._tell(stateful_set, "Normal", "SuccessfulCreate", f"create {what} successful")

    async def _is_foreign(self, stateful_set: StatefulSet, name: str) -> bool:
        try:
            pod = decode(Pod, await self._client.get(PODS, name, stateful_set.metadata.namespace))
        except NotFound:
            return False
        owner = pod.metadata.controller
        return owner is not None and owner.uid != stateful_set.metadata.uid

    async def _delete_pod(self, stateful_set: StatefulSet, action: DeletePod) -> None:
        metadata, set_metadata = action.pod.metadata, stateful_set.metadata
        if action.ended:
            severity, reason, word = _ENDED[action.ended]
            message = f"StatefulSet {set_metadata.key} is recreating {word} Pod {metadata.name}"
            await self._tell(stateful_set, severity, reason, message)
        what = f"Pod {metadata.name} in StatefulSet {set_metadata.name}"
        try:
            await self._client.delete(PODS, metadata.name, namespace=metadata.namespace, uid=metadata.uid)
        except (NotFound, Conflict):
            return  # gone meanwhile: the watch brings the next step
        except ApiError as error:
            await self._tell(stateful_set, "Warning", "FailedDelete", f"delete {what} failed error: {error}")
            raise
        log.info("deleted", stateful_set=set_metadata.key, pod=metadata.name)
        await self._tell(stateful_set, "Normal", "SuccessfulDelete", f"delete {what} successful")

    # --- reporting

    async def _report(self, stateful_set: StatefulSet, wanted: StatefulSetStatus) -> None:
        if wanted != stateful_set.status:
            always = {"replicas": 0, "availableReplicas": 0, "collisionCount": 0}
            await self._patch_status(stateful_set, status_patch(wanted, **always))

    async def _patch_status(self, stateful_set: StatefulSet, status: Mapping[str, Any]) -> None:
        metadata = stateful_set.metadata
        patch = {"metadata": seen_version(metadata), "status": status}
        try:
            await self._client.patch(
                STATEFUL_SETS, metadata.name, patch, namespace=metadata.namespace, subresource="status"
            )
        except NotFound:
            pass  # deleted meanwhile: nobody reads it any more

    async def _tell(self, stateful_set: StatefulSet, type: str, reason: str, message: str) -> None:
        await self._events.record(object_reference(STATEFUL_SETS, stateful_set.metadata), type, reason, message)

    # --- claiming

    async def _claimed_pods(self, stateful_set: StatefulSet) -> tuple[Pod, ...] | None:
        """The pods that are owned; None after any had to be adopted or released."""
        candidates = self._pods.by_index(BY_NAMESPACE, stateful_set.metadata.namespace)
        members = [pod for pod in candidates if ordinal_of(stateful_set, pod) is not None]
        claims = claim(stateful_set.metadata, from_object(stateful_set.spec.selector), members)
        await self._settle(stateful_set, PODS, claims.adopt, claims.release)
        return None if claims.adopt or claims.release else claims.owned

    async def _claimed_revisions(self, stateful_set: StatefulSet) -> tuple[ControllerRevision, ...] | None:
        candidates = self._revisions.by_index(BY_NAMESPACE, stateful_set.metadata.namespace)
        claims = claim(stateful_set.metadata, from_object(stateful_set.spec.selector), candidates)
        await self._settle(stateful_set, CONTROLLER_REVISIONS, claims.adopt, ())
        if claims.adopt:
            self.queue.add_after(stateful_set.metadata.key, 0.05)  # revisions are not subscribed to
            return None
        return (*claims.owned, *claims.release)

    async def _settle(
        self,
        stateful_set: StatefulSet,
        kind: Resource,
        adopt: tuple[Pod, ...] | tuple[ControllerRevision, ...],
        release: tuple[Pod, ...],
    ) -> None:
        owner = owner_reference(STATEFUL_SETS, stateful_set.metadata)
        for stray in adopt:
            await self._patch(kind, stray.metadata, adoption(stray.metadata, owner))
        for former in release:
            await self._patch(kind, former.metadata, disowning(former.metadata, frozenset({owner.uid})))

    async def _patch(self, kind: Resource, metadata: ObjectMeta, patch: Mapping[str, Any]) -> None:
        try:
            await self._client.patch(kind, metadata.name, patch, namespace=metadata.namespace)
        except NotFound:
            pass  # gone meanwhile

    # --- seeing

    def _orphan_seen(self, key: ObjectKey, old: Pod | None, new: Pod | None) -> None:
        if new is None or new.metadata.controller is not None:
            return
        for stateful_set in self._sets.by_index(BY_NAMESPACE, key.namespace):
            if ordinal_of(stateful_set, new) is not None:
                self.queue.add(stateful_set.metadata.key)

    def _claim_changed(
        self, key: ObjectKey, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None
    ) -> None:
        """A claim that is gone may be what a pod waits for."""
        if new is None:
            for stateful_set in self._sets.by_index(BY_NAMESPACE, key.namespace):
                if stateful_set.spec.volume_claim_templates:
                    self.queue.add(stateful_set.metadata.key)


async def run(client: ApiClient, caches: Caches, clock: Clock) -> None:
    """Control until cancelled; the caches must be synced."""
    controller = StatefulSetController(client, caches, clock)
    await run_keyed(ROOM, controller.queue, controller.reconcile)
