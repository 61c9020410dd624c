"""The loop: whenever a Job or one of its pods changes, make, end and count pods."""

from collections.abc import Mapping
from typing import Any

from fairway.engine.controllers.caches import BY_NAMESPACE, Caches
from fairway.engine.controllers.job.plan import Plan, plan
from fairway.engine.controllers.job.pods import new_indexed_pod, new_pod
from fairway.engine.controllers.job.sizing import New
from fairway.engine.controllers.job.snapshot import FINALIZER, Snapshot
from fairway.engine.controllers.ownership import adoption, claim, disowning
from fairway.engine.controllers.patches import seen_version, status_patch
from fairway.engine.controllers.pod_control import PodControl, owners_of, suffix
from fairway.engine.controllers.references import object_reference, owner_reference
from fairway.kube.api.jobs import Job, JobStatus, UncountedTerminatedPods
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import JOBS, PODS
from fairway.kube.api.selectors import from_object
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import Conflict, NotFound
from fairway.kube.reconcile.events import EventRecorder
from fairway.kube.reconcile.keyed import run_keyed
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

ROOM = "job-controller"
log = logs.get(ROOM)


class JobController:
    """Reads caches, decides with `plan`, and does what it says."""

    def __init__(self, client: ApiClient, caches: Caches, clock: Clock) -> None:
        self.queue: WorkQueue[ObjectKey] = WorkQueue()
        self._client = client
        self._clock = clock
        self._events = EventRecorder(client, ROOM, clock)
        self._control = PodControl(client, self._events, clock)
        self._jobs = caches.jobs.cache
        self._pods = caches.pods.cache
        self._jobs.subscribe(lambda key, old, new: self.queue.add(key))
        self._pods.subscribe(self._pod_changed)
        self._pods.subscribe(owners_of("Job", self.queue.add))
        for job in self._jobs.values():
            self.queue.add(job.metadata.key)
        for pod in self._pods.values():
            self._pod_changed(pod.metadata.key, None, pod)

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Take one step; returns after how many seconds to look again if nothing happens."""
        job = self._jobs.get(key)
        if job is None:
            self._control.expected.forget(key)
            await self._release_orphans(key)
            return None
        candidates = self._pods.by_index(BY_NAMESPACE, key.namespace)
        claims = claim(job.metadata, from_object(job.spec.selector), candidates)
        if claims.adopt or claims.release:
            await self._settle(job, claims.adopt, claims.release)
            return None  # the claims themselves bring the next step
        coming, going = self._control.expected.pods(key), self._control.expected.deletions(key)
        seen = Snapshot(job, claims.owned, self._clock.now(), coming, going)
        decided = plan(seen)
        error = await self._act(job, decided)
        await self._report(job, decided.status)
        for pod in decided.release:
            await self._release(pod)  # only after it is written down that the pod has ended
        await self._tell(job, decided)
        if error is not None:
            raise error  # to be tried again with a growing delay
        if decided.remove:
            await self._remove(job)
        return decided.again_seconds

    # --- acting

    async def _act(self, job: Job, decided: Plan) -> Exception | None:
        owner = object_reference(JOBS, job.metadata)
        drafts = [_draft(job, new) for new in decided.create]
        if drafts or decided.drop or decided.kill:
            ended = len(decided.drop) + len(decided.kill)
            log.info("step", job=job.metadata.key, created=len(drafts), ended=ended)
        error = await self._control.make(owner, drafts)
        for pod in decided.drop:
            await self._release(pod)  # these do not count: they are not wanted any more
        return await self._control.delete(owner, (*decided.drop, *decided.kill)) or error

    async def _release(self, pod: Pod) -> None:
        left = [name for name in pod.metadata.finalizers if name != FINALIZER]
        if len(left) == len(pod.metadata.finalizers):
            return
        patch = {"metadata": {"uid": pod.metadata.uid, "finalizers": left or None}}
        await self._patch_pod(pod, patch)

    async def _release_orphans(self, key: ObjectKey) -> None:
        """Pods of a job that is gone must not be held by a finalizer that nobody removes."""
        for pod in self._pods.by_index(BY_NAMESPACE, key.namespace):
            if FINALIZER not in pod.metadata.finalizers:
                continue
            owner = pod.metadata.controller
            if owner is not None and owner.kind == "Job" and owner.name == key.name:
                await self._release(pod)

    async def _remove(self, job: Job) -> None:
        metadata = job.metadata
        try:
            await self._client.delete(
                JOBS,
                metadata.name,
                namespace=metadata.namespace,
                uid=metadata.uid,
                resource_version=metadata.resource_version,
                propagation_policy="Foreground",
            )
        except (NotFound, Conflict):
            return  # gone or changed meanwhile: the watch brings the next step
        log.info("removed", job=metadata.key, reason="ttlSecondsAfterFinished")

    # --- reporting

    async def _report(self, job: Job, wanted: JobStatus) -> None:
        if wanted == job.status:
            return
        metadata = job.metadata
        pending = wanted.uncounted_terminated_pods or UncountedTerminatedPods()
        noted = status_patch(pending)  # each list by itself: a merge patch of an empty object would leave them
        patch = {
            "metadata": seen_version(metadata),
            "status": {**status_patch(wanted), "uncountedTerminatedPods": noted},
        }
        try:
            await self._client.patch(JOBS, metadata.name, patch, namespace=metadata.namespace, subresource="status")
        except NotFound:
            pass  # deleted meanwhile: nobody reads it any more

    async def _tell(self, job: Job, decided: Plan) -> None:
        for item in decided.news:
            await self._events.record(object_reference(JOBS, job.metadata), item.type, item.reason, item.message)

    # --- claiming

    async def _settle(self, job: Job, adopt: tuple[Pod, ...], release: tuple[Pod, ...]) -> None:
        owner = owner_reference(JOBS, job.metadata)
        for stray in adopt:
            patch = adoption(stray.metadata, owner)
            finalizers = [*(name for name in stray.metadata.finalizers if name != FINALIZER), FINALIZER]
            await self._patch_pod(stray, {"metadata": {**patch["metadata"], "finalizers": finalizers}})
        for former in release:
            patch = disowning(former.metadata, frozenset({owner.uid}))
            left = [name for name in former.metadata.finalizers if name != FINALIZER]
            await self._patch_pod(former, {"metadata": {**patch["metadata"], "finalizers": left or None}})

    async def _patch_pod(self, pod: Pod, patch: Mapping[str, Any]) -> None:
        try:
            await self._client.patch(PODS, pod.metadata.name, patch, namespace=pod.metadata.namespace)
        except NotFound:
            pass  # gone meanwhile

    # --- seeing

    def _pod_changed(self, key: ObjectKey, old: Pod | None, new: Pod | None) -> None:
        for version in (old, new):
            owner = version.metadata.controller if version else None
            if owner and owner.kind == "Job":
                self._control.observe(ObjectKey(key.namespace, owner.name), old, new)
                self.queue.add(ObjectKey(key.namespace, owner.name))
        if new is not None and new.metadata.controller is None:
            self._add_matching(new)

    def _add_matching(self, orphan: Pod) -> None:
        for job in self._jobs.by_index(BY_NAMESPACE, orphan.metadata.namespace):
            if from_object(job.spec.selector).matches(orphan.metadata.labels):
                self.queue.add(job.metadata.key)


def _draft(job: Job, new: New) -> dict[str, Any]:
    if new.index is None:
        return new_pod(job, suffix())
    return new_indexed_pod(job, new.index, new.failures, suffix())


async def run(client: ApiClient, caches: Caches, clock: Clock) -> None:
    """Control until cancelled; the caches must be synced."""
    controller = JobController(client, caches, clock)
    await run_keyed(ROOM, controller.queue, controller.reconcile)
