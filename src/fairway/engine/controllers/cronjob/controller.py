"""The loop: when a CronJob is due, or it or one of its jobs changes, start and forget jobs."""

from typing import Any

from fairway.engine.controllers.caches import BY_OWNER, Caches
from fairway.engine.controllers.cronjob.plan import News, Plan, Snapshot, Start, plan, started
from fairway.engine.controllers.patches import seen_version
from fairway.engine.controllers.references import object_reference
from fairway.engine.controllers.refusals import namespace_is_ending
from fairway.kube.api.jobs import CronJob, CronJobStatus, Job
from fairway.kube.api.meta import ObjectKey, timestamp
from fairway.kube.api.noun import decode, encode
from fairway.kube.api.resource import CRON_JOBS, JOBS
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import AlreadyExists, ApiError, NotFound
from fairway.kube.reconcile.events import EventRecorder
from fairway.kube.reconcile.keyed import run_keyed
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

ROOM = "cronjob-controller"
log = logs.get(ROOM)
_WAIT_SECONDS_MAX = 600.0  # the clock may be set: look again now and then


class CronJobController:
    """Reads caches, decides with `plan`, and does what it says."""

    def __init__(self, client: ApiClient, caches: Caches, clock: Clock) -> None:
        self.queue: WorkQueue[ObjectKey] = WorkQueue()
        self._client = client
        self._clock = clock
        self._events = EventRecorder(client, ROOM, clock)
        self._cron_jobs = caches.cron_jobs.cache
        self._jobs = caches.jobs.cache
        self._cron_jobs.subscribe(lambda key, old, new: self.queue.add(key))
        self._jobs.subscribe(self._job_changed)
        for cron_job in self._cron_jobs.values():
            self.queue.add(cron_job.metadata.key)

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Take one step; returns in how many seconds it is due next."""
        cron_job = self._cron_jobs.get(key)
        if cron_job is None:
            return None  # its jobs are the garbage collector's
        seen = Snapshot(cron_job, self._jobs.by_index(BY_OWNER, cron_job.metadata.uid), self._clock.now())
        decided = plan(seen)
        for item in decided.news:
            await self._tell(cron_job, item)
        for job in decided.forget:
            await self._delete(cron_job, job)
        status = await self._act(cron_job, decided)
        await self._report(cron_job, status)
        return None if decided.again_seconds is None else min(decided.again_seconds, _WAIT_SECONDS_MAX)

    async def _act(self, cron_job: CronJob, decided: Plan) -> CronJobStatus:
        for job in decided.replace:
            await self._delete(cron_job, job)
        if decided.start is None:
            return decided.status
        job_made = await self._start(cron_job, decided.start)
        if job_made is None:
            return decided.status
        return started(decided.status, job_made, decided.start.at)

    async def _start(self, cron_job: CronJob, start: Start) -> Job | None:
        """The job that was made, also by an earlier attempt; None when the namespace is ending."""
        try:
            raw = await self._client.create(JOBS, start.job)
        except AlreadyExists:
            return await self._found(cron_job, start)
        except ApiError as error:
            if namespace_is_ending(error):
                return None
            await self._tell(cron_job, News("Warning", "FailedCreate", f"Error creating job: {error}"))
            raise
        log.info("started", cron_job=cron_job.metadata.key, job=start.name)
        await self._tell(cron_job, News("Normal", "SuccessfulCreate", f"Created job {start.name}"))
        self._jobs.apply(raw)  # the status names it, so the next look must know it
        return decode(Job, raw)

    async def _found(self, cron_job: CronJob, start: Start) -> Job | None:
        raw = await self._client.get(JOBS, start.name, cron_job.metadata.namespace)
        found = decode(Job, raw)
        owner = found.metadata.controller
        if owner is None or owner.uid != cron_job.metadata.uid:
            text = f'Error creating job: jobs.batch "{start.name}" already exists and belongs to something else'
            await self._tell(cron_job, News("Warning", "FailedCreate", text))
            return None
        return found

    async def _delete(self, cron_job: CronJob, job: Job) -> None:
        metadata = job.metadata
        try:
            await self._client.delete(
                JOBS, metadata.name, namespace=metadata.namespace, uid=metadata.uid, propagation_policy="Background"
            )
        except NotFound:
            return
        log.info("deleted", cron_job=cron_job.metadata.key, job=metadata.name)
        await self._tell(cron_job, News("Normal", "SuccessfulDelete", f"Deleted job {metadata.name}"))

    # --- reporting

    async def _report(self, cron_job: CronJob, wanted: CronJobStatus) -> None:
        if wanted == cron_job.status:
            return
        metadata = cron_job.metadata
        patch = {"metadata": seen_version(metadata), "status": _status_patch(wanted)}
        try:
            await self._client.patch(
                CRON_JOBS, metadata.name, patch, namespace=metadata.namespace, subresource="status"
            )
        except NotFound:
            pass  # deleted meanwhile: nobody reads it any more

    async def _tell(self, cron_job: CronJob, item: News) -> None:
        reference = object_reference(CRON_JOBS, cron_job.metadata)
        await self._events.record(reference, item.type, item.reason, item.message)

    # --- seeing

    def _job_changed(self, key: ObjectKey, old: Job | None, new: Job | None) -> None:
        for version in (old, new):
            owner = version.metadata.controller if version else None
            if owner and owner.kind == "CronJob":
                self.queue.add(ObjectKey(key.namespace, owner.name))


def _status_patch(status: CronJobStatus) -> dict[str, Any]:
    """Times have whole seconds."""
    return {
        "active": [encode(reference) for reference in status.active] or None,
        "lastScheduleTime": timestamp(status.last_schedule_time) if status.last_schedule_time else None,
        "lastSuccessfulTime": timestamp(status.last_successful_time) if status.last_successful_time else None,
    }


async def run(client: ApiClient, caches: Caches, clock: Clock) -> None:
    """Control until cancelled; the caches must be synced."""
    controller = CronJobController(client, caches, clock)
    await run_keyed(ROOM, controller.queue, controller.reconcile)
