"""The loop: whenever a DaemonSet, a node or one of its pods changes, bring each node what it should have."""

from collections.abc import Mapping
from typing import Any

from fairway.engine.controllers import revisions
from fairway.engine.controllers.caches import BY_NAMESPACE, Caches
from fairway.engine.controllers.daemonset.patience import Patience
from fairway.engine.controllers.daemonset.plan import Plan, plan
from fairway.engine.controllers.daemonset.pods import new_pod
from fairway.engine.controllers.daemonset.snapshot import Snapshot, node_of
from fairway.engine.controllers.ownership import adoption, claim, disowning
from fairway.engine.controllers.patches import seen_version, status_patch
from fairway.engine.controllers.pod_control import PodControl, owners_of, suffix
from fairway.engine.controllers.references import object_reference, owner_reference
from fairway.engine.controllers.revision_control import RevisionControl
from fairway.engine.controllers.revisions import HASH_LABEL, REVISION_LABEL
from fairway.kube.api.config import Node
from fairway.kube.api.daemonsets import DaemonSet
from fairway.kube.api.meta import ObjectKey, ObjectMeta
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import CONTROLLER_REVISIONS, DAEMON_SETS, PODS, Resource
from fairway.kube.api.selectors import from_object
from fairway.kube.api.statefulsets import ControllerRevision
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound
from fairway.kube.reconcile.events import EventRecorder
from fairway.kube.reconcile.keyed import run_keyed
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

ROOM = "daemonset-controller"
log = logs.get(ROOM)


class DaemonSetController:
    """Reads caches, decides with `plan`, and does what it says."""

    def __init__(self, client: ApiClient, caches: Caches, clock: Clock) -> None:
        self.queue: WorkQueue[ObjectKey] = WorkQueue()
        self._client = client
        self._clock = clock
        self._events = EventRecorder(client, ROOM, clock)
        self._control = PodControl(client, self._events, clock)
        self._revision_control = RevisionControl(client, caches.revisions.cache)
        self._made_for: dict[str, str] = {}
        self._patience = Patience(clock.monotonic)
        self._sets = caches.daemon_sets.cache
        self._pods = caches.pods.cache
        self._nodes = caches.nodes.cache
        self._revisions = caches.revisions.cache
        self._sets.subscribe(lambda key, old, new: self.queue.add(key))
        self._pods.subscribe(self._pod_changed)
        self._pods.subscribe(owners_of("DaemonSet", self.queue.add))
        self._nodes.subscribe(self._node_changed)
        for daemon_set in self._sets.values():
            self.queue.add(daemon_set.metadata.key)

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Take one step; returns after how many seconds to look again if nothing happens."""
        daemon_set = self._sets.get(key)
        if daemon_set is None:
            self._control.expected.forget(key)
            self._patience.forget(key)
            return None  # what it owned is the garbage collector's
        if not await self._settled(daemon_set):
            return None  # the claims themselves bring the next step
        if daemon_set.metadata.deletion_timestamp is None and not await self._record(daemon_set):
            return None  # the new collision count brings the next step
        seen = self._look(daemon_set)
        if seen is None:
            return None
        decided = plan(seen)
        error = await self._act(seen, decided)
        await self._report(daemon_set, decided)
        await self._forget(seen)
        if error is not None:
            raise error  # to be tried again with a growing delay
        return decided.again_seconds

    def _look(self, daemon_set: DaemonSet) -> Snapshot | None:
        key = daemon_set.metadata.key
        current = revisions.find(self._owned_revisions(daemon_set), daemon_set.spec.template)
        if current is None:
            return None  # it is being deleted, and was never looked at before
        tag = current.metadata.labels.get(REVISION_LABEL) or current.metadata.labels.get(HASH_LABEL, "")
        pods = claim(daemon_set.metadata, from_object(daemon_set.spec.selector), self._candidates(daemon_set)).owned
        coming = frozenset(self._made_for.get(name, "") for name in self._control.expected.pods(key))
        going = self._control.expected.deletions(key)
        patient = self._patience.waiting(key)
        return Snapshot(daemon_set, pods, self._nodes.values(), tag, self._clock.now(), coming, going, patient)

    # --- acting

    async def _act(self, seen: Snapshot, decided: Plan) -> Exception | None:
        daemon_set = seen.daemon_set
        owner = object_reference(DAEMON_SETS, daemon_set.metadata)
        for pod in decided.ended:
            await self._tell_ended(daemon_set, pod)
            if pod.status.phase == "Failed":
                self._patience.failed(daemon_set.metadata.key, node_of(pod))
        drafts = [new_pod(daemon_set, node, seen.hash, suffix()) for node in decided.create]
        for node, draft in zip(decided.create, drafts, strict=True):
            self._made_for[draft["metadata"]["name"]] = node
        error = await self._control.make(owner, drafts)
        for draft in drafts:
            if draft["metadata"]["name"] not in self._control.expected.pods(daemon_set.metadata.key):
                self._made_for.pop(draft["metadata"]["name"], None)
        if drafts or decided.delete:
            log.info("step", daemon_set=daemon_set.metadata.key, created=len(drafts), deleted=len(decided.delete))
        return error or await self._control.delete(owner, decided.delete)

    async def _tell_ended(self, daemon_set: DaemonSet, pod: Pod) -> None:
        failed = pod.status.phase == "Failed"
        reason = "FailedDaemonPod" if failed else "SucceededDaemonPod"
        word, act = ("failed", "kill") if failed else ("succeeded", "delete")
        message = f"Found {word} daemon pod {pod.metadata.key} on node {node_of(pod)}, will try to {act} it"
        severity = "Warning" if failed else "Normal"
        await self._events.record(object_reference(DAEMON_SETS, daemon_set.metadata), severity, reason, message)

    # --- revisions

    async def _record(self, daemon_set: DaemonSet) -> bool:
        metadata, count = daemon_set.metadata, daemon_set.status.collision_count or 0
        known = self._owned_revisions(daemon_set)
        owner = owner_reference(DAEMON_SETS, metadata)
        action = revisions.record(metadata, owner, daemon_set.spec.template, known, count)
        if action is None or await self._revision_control.record(action):
            return True
        await self._patch_status(daemon_set, {"collisionCount": count + 1})
        log.warning("collision", daemon_set=metadata.key, count=count + 1)
        return False

    async def _forget(self, seen: Snapshot) -> None:
        known = self._owned_revisions(seen.daemon_set)
        hashes = {seen.hash, *(pod.metadata.labels.get(REVISION_LABEL, "") for pod in seen.pods)}
        live = frozenset(item.metadata.name for item in known if item.metadata.labels.get(REVISION_LABEL) in hashes)
        for revision in revisions.surplus(known, live, seen.spec.revision_history_limit):
            await self._revision_control.forget(revision)

    def _owned_revisions(self, daemon_set: DaemonSet) -> tuple[ControllerRevision, ...]:
        candidates = self._revisions.by_index(BY_NAMESPACE, daemon_set.metadata.namespace)
        uid = daemon_set.metadata.uid
        return tuple(item for item in candidates if item.metadata.controller and item.metadata.controller.uid == uid)

    # --- reporting

    async def _report(self, daemon_set: DaemonSet, decided: Plan) -> None:
        if decided.status != daemon_set.status:
            required = ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady")
            await self._patch_status(daemon_set, status_patch(decided.status, **dict.fromkeys(required, 0)))

    async def _patch_status(self, daemon_set: DaemonSet, status: Mapping[str, Any]) -> None:
        metadata = daemon_set.metadata
        patch = {"metadata": seen_version(metadata), "status": status}
        try:
            await self._client.patch(
                DAEMON_SETS, metadata.name, patch, namespace=metadata.namespace, subresource="status"
            )
        except NotFound:
            pass  # deleted meanwhile: nobody reads it any more

    # --- claiming

    def _candidates(self, daemon_set: DaemonSet) -> tuple[Pod, ...]:
        return self._pods.by_index(BY_NAMESPACE, daemon_set.metadata.namespace)

    async def _settled(self, daemon_set: DaemonSet) -> bool:
        """Whether all that matches is owned already; otherwise it is adopted and released now."""
        selector = from_object(daemon_set.spec.selector)
        pods = claim(daemon_set.metadata, selector, self._candidates(daemon_set))
        candidates = self._revisions.by_index(BY_NAMESPACE, daemon_set.metadata.namespace)
        known = claim(daemon_set.metadata, selector, candidates)
        owner = owner_reference(DAEMON_SETS, daemon_set.metadata)
        for stray in pods.adopt:
            await self._patch(PODS, stray.metadata, adoption(stray.metadata, owner))
        for former in pods.release:
            await self._patch(PODS, former.metadata, disowning(former.metadata, frozenset({owner.uid})))
        for revision in known.adopt:
            await self._patch(CONTROLLER_REVISIONS, revision.metadata, adoption(revision.metadata, owner))
        if known.adopt:
            self.queue.add_after(daemon_set.metadata.key, 0.05)  # revisions are not subscribed to
        return not (pods.adopt or pods.release or known.adopt)

    async def _patch(self, kind: Resource, metadata: ObjectMeta, patch: Mapping[str, Any]) -> None:
        try:
            await self._client.patch(kind, metadata.name, patch, namespace=metadata.namespace)
        except NotFound:
            pass  # gone meanwhile: nothing left to claim

    # --- seeing

    def _pod_changed(self, key: ObjectKey, old: Pod | None, new: Pod | None) -> None:
        self._made_for.pop(key.name, None)
        for version in (old, new):
            owner = version.metadata.controller if version else None
            if owner and owner.kind == "DaemonSet":
                self._control.observe(ObjectKey(key.namespace, owner.name), old, new)
        if new is not None and new.metadata.controller is None:
            self._add_matching(new)

    def _add_matching(self, orphan: Pod) -> None:
        for daemon_set in self._sets.by_index(BY_NAMESPACE, orphan.metadata.namespace):
            if from_object(daemon_set.spec.selector).matches(orphan.metadata.labels):
                self.queue.add(daemon_set.metadata.key)

    def _node_changed(self, key: ObjectKey, old: Node | None, new: Node | None) -> None:
        """Heartbeats are no news; labels and taints are."""
        if old is None or new is None or (old.metadata.labels, old.spec) != (new.metadata.labels, new.spec):
            for daemon_set in self._sets.values():
                self.queue.add(daemon_set.metadata.key)


async def run(client: ApiClient, caches: Caches, clock: Clock) -> None:
    """Control until cancelled; the caches must be synced."""
    controller = DaemonSetController(client, caches, clock)
    await run_keyed(ROOM, controller.queue, controller.reconcile)
