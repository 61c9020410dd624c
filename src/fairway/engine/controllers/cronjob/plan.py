"""What to do about a CronJob now: a job to start, jobs to end or forget, what to report (documentation "CronJob")."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

import msgspec
from msgspec.structs import replace

from fairway.engine.controllers.cronjob.times import Clockwork, due, seconds_to_next, zone_of
from fairway.engine.controllers.references import object_reference, owner_reference
from fairway.kube.api.jobs import CronJob, CronJobStatus, Job
from fairway.kube.api.meta import ObjectReference
from fairway.kube.api.noun import encode, without_nulls
from fairway.kube.api.resource import CRON_JOBS, JOBS
from fairway.toolkit import cron

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_AFTER_SECONDS = 0.1  # a little later than the minute, so that clocks that differ agree
_OLDEST = datetime(1, 1, 1, tzinfo=UTC)


class News(msgspec.Struct, frozen=True):
    """An event on the CronJob."""

    type: str
    reason: str
    message: str


class Start(msgspec.Struct, frozen=True):
    """Make this job (raw JSON), due at that time."""

    job: Mapping[str, Any]
    at: datetime

    @property
    def name(self) -> str:
        return str(self.job["metadata"]["name"])


class Plan(msgspec.Struct, frozen=True):
    """In this order: tell, forget old jobs, end running ones that are replaced, start, report."""

    status: CronJobStatus
    news: tuple[News, ...] = ()
    forget: tuple[Job, ...] = ()
    replace: tuple[Job, ...] = ()
    start: Start | None = None
    again_seconds: float | None = None


class Snapshot(msgspec.Struct, frozen=True):
    """A CronJob and the jobs that it owns."""

    cron_job: CronJob
    jobs: tuple[Job, ...]
    now: datetime


def plan(seen: Snapshot) -> Plan:
    """Decide."""
    status, news = _active(seen)
    forgotten = _history(seen)
    base = Plan(status, news, forgotten)
    if seen.cron_job.metadata.deletion_timestamp is not None or seen.cron_job.spec.suspend:
        return base
    try:
        zone = zone_of(seen.cron_job.spec.time_zone)
    except ValueError as error:
        text = f'invalid timeZone: "{seen.cron_job.spec.time_zone}": {error}'
        return replace(base, news=(*news, News("Warning", "UnknownTimeZone", text)))
    try:
        schedule = cron.parse(seen.cron_job.spec.schedule)
    except ValueError as error:
        text = f'unparseable schedule: "{seen.cron_job.spec.schedule}" : {error}'
        return replace(base, news=(*news, News("Warning", "UnparseableSchedule", text)))
    return _by_clock(seen, base, schedule, zone)


def _by_clock(seen: Snapshot, base: Plan, schedule: Clockwork, zone: tzinfo) -> Plan:
    found = due(seen.cron_job, schedule, zone, seen.now)
    wait = seconds_to_next(schedule, zone, seen.now)
    base = replace(base, again_seconds=None if wait is None else wait + _AFTER_SECONDS)
    news = base.news
    if found.many_missed:
        says = (
            "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew, or set "
            ".spec.suspend to true to pause"
        )
        news = (*news, News("Warning", "TooManyMissedTimes", says))
    if found.at is None:
        return replace(base, news=news)
    return _start(seen, replace(base, news=news), found.at, zone)


def _start(seen: Snapshot, base: Plan, at: datetime, zone: tzinfo) -> Plan:
    spec = seen.cron_job.spec
    name = job_name(seen.cron_job, at)
    running = {reference.name for reference in base.status.active}
    if name in running or seen.cron_job.status.last_schedule_time == at:
        return base
    if spec.concurrency_policy == "Forbid" and running:
        says = "Not starting job because prior execution is running and concurrency policy is Forbid"
        return replace(base, news=(*base.news, News("Normal", "JobAlreadyActive", says)))
    replaced: tuple[Job, ...] = ()
    if spec.concurrency_policy == "Replace":
        replaced = tuple(job for job in seen.jobs if job.metadata.name in running)
        gone = {job.metadata.name for job in replaced}
        left = tuple(reference for reference in base.status.active if reference.name not in gone)
        base = replace(base, status=replace(base.status, active=left))
    return replace(base, replace=replaced, start=Start(_draft(seen.cron_job, name, at, zone), at))


def started(status: CronJobStatus, job: Job, at: datetime) -> CronJobStatus:
    """With the news that a job was started."""
    known = tuple(item for item in status.active if item.uid != job.metadata.uid)
    return replace(status, active=(*known, object_reference(JOBS, job.metadata)), last_schedule_time=at)


def job_name(cron_job: CronJob, at: datetime) -> str:
    """The same for the same time, so that no time is used twice."""
    return f"{cron_job.metadata.name}-{int(at.timestamp()) // 60}"


def _active(seen: Snapshot) -> tuple[CronJobStatus, tuple[News, ...]]:
    """Which jobs still run, and what became of those that do not."""
    before = seen.cron_job.status
    known = {reference.uid for reference in before.active}
    by_uid = {job.metadata.uid: job for job in seen.jobs}
    news: list[News] = []
    last = before.last_successful_time
    kept: list[ObjectReference] = []
    for job in sorted(seen.jobs, key=_start_key):
        end = job.finished
        if end is None and job.metadata.uid not in known and _is_recent(before, job):
            says = f"Saw a job that the controller did not create or forgot: {job.metadata.name}"
            news.append(News("Warning", "UnexpectedJob", says))
        elif end is not None and job.metadata.uid in known:
            says = f"Saw completed job: {job.metadata.name}, condition: {end.type}"
            news.append(News("Normal", "SawCompletedJob", says))
        done = job.status.completion_time
        if end is not None and end.type == "Complete" and done is not None:
            last = done if last is None else max(last, done)
    for reference in before.active:
        found = by_uid.get(reference.uid)
        if found is None:
            news.append(News("Normal", "MissingJob", f"Active job went missing: {reference.name}"))
        elif found.finished is None:
            kept.append(reference)
    return CronJobStatus(tuple(kept), before.last_schedule_time, last), tuple(news)


def _is_recent(status: CronJobStatus, job: Job) -> bool:
    """A job that is not in the status, although the status was written after it was made."""
    created, last = job.metadata.creation_timestamp, status.last_schedule_time
    return created is not None and last is not None and created < last


def _history(seen: Snapshot) -> tuple[Job, ...]:
    """Jobs that ended, the oldest first, beyond how many should be kept."""
    spec = seen.cron_job.spec
    ended = [job for job in seen.jobs if job.finished is not None and job.metadata.deletion_timestamp is None]
    well = [job for job in ended if job.finished and job.finished.type == "Complete"]
    badly = [job for job in ended if job.finished and job.finished.type == "Failed"]
    return (*_oldest(well, spec.successful_jobs_history_limit), *_oldest(badly, spec.failed_jobs_history_limit))


def _oldest(jobs: Iterable[Job], limit: int | None) -> tuple[Job, ...]:
    if limit is None:
        return ()
    ordered = sorted(jobs, key=_start_key)
    return tuple(ordered[: max(0, len(ordered) - limit)])


def _start_key(job: Job) -> tuple[datetime, str]:
    return job.status.start_time or job.metadata.creation_timestamp or _OLDEST, job.metadata.name


def _draft(cron_job: CronJob, name: str, at: datetime, zone: tzinfo) -> dict[str, Any]:
    template = cron_job.spec.job_template
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": cron_job.metadata.namespace,
            "labels": dict(template.metadata.labels),
            "annotations": {**template.metadata.annotations, SCHEDULED: _rfc3339(at, zone)},
            "ownerReferences": [encode(owner_reference(CRON_JOBS, cron_job.metadata))],
        },
        "spec": without_nulls(template.spec),
    }


def _rfc3339(at: datetime, zone: tzinfo) -> str:
    text = at.astimezone(zone).isoformat(timespec="seconds")
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text
