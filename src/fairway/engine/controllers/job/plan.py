"""What to do about a Job now: pods to make and to end, finalizers to let go, what to report."""

from collections.abc import Iterable
from datetime import datetime

import msgspec
from msgspec.structs import replace

from fairway.engine.controllers.conditions import Conditions, find, put
from fairway.engine.controllers.job import indexes
from fairway.engine.controllers.job.ending import (
    COMPLETE,
    Ending,
    ending,
    seconds_to_deadline,
    seconds_to_removal,
)
from fairway.engine.controllers.job.sizing import New, Size, size
from fairway.engine.controllers.job.snapshot import FINALIZER, Counts, Snapshot, count
from fairway.kube.api.jobs import JobStatus
from fairway.kube.api.meta import Condition
from fairway.kube.api.pods import Pod

SUSPENDED = "Suspended"
CONTROLLER = "kubernetes.io/job-controller"


class News(msgspec.Struct, frozen=True):
    """An event on the job."""

    type: str
    reason: str
    message: str


class Plan(msgspec.Struct, frozen=True):
    """In this order: make `create`, take away `drop` uncounted, end `kill`, report, let go of `release`, tell `news`.

    `remove` says that the job itself has been kept for long enough.
    """

    status: JobStatus
    create: tuple[New, ...] = ()
    drop: tuple[Pod, ...] = ()
    kill: tuple[Pod, ...] = ()
    release: tuple[Pod, ...] = ()
    news: tuple[News, ...] = ()
    remove: bool = False
    again_seconds: float | None = None


def plan(seen: Snapshot) -> Plan:
    """Decide. A job that somebody else manages is left alone."""
    job = seen.job
    if job.spec.managed_by not in (None, CONTROLLER):
        return Plan(job.status)
    if (finished := job.finished) is not None:
        return _over(seen, finished)
    counts = count(seen)
    end = ending(seen, counts)
    if end is not None:
        return _end(seen, count(seen, ended=end.type != COMPLETE), end)
    if job.metadata.deletion_timestamp is not None:
        return Plan(_status(seen, counts, ()), release=_holding(seen))
    return _suspended(seen, counts) if job.spec.suspend else _running(seen, counts)


def _over(seen: Snapshot, finished: Condition) -> Plan:
    end = seen.job.status.completion_time or finished.last_transition_time
    left = seconds_to_removal(seen, end)
    if left is not None and left <= 0 and seen.job.metadata.deletion_timestamp is None:
        return Plan(seen.job.status, release=_holding(seen), remove=True)
    return Plan(seen.job.status, release=_holding(seen), again_seconds=left)


def _end(seen: Snapshot, counts: Counts, end: Ending) -> Plan:
    """End what still runs; when all of it is gone and counted, say so for good."""
    conditions = put(seen.job.status.conditions, _condition(end.herald, "True", end.reason, end.message, seen.now))
    busy = seen.active or seen.terminating or seen.unseen
    counted = not counts.uncounted.succeeded and not counts.uncounted.failed
    news: tuple[News, ...] = ()
    reported = _status(seen, counts, conditions)
    if not busy and counted:
        conditions = put(conditions, _condition(end.type, "True", end.reason, end.message, seen.now))
        done = seen.now.replace(microsecond=0) if end.type == COMPLETE else None
        reported = replace(reported, conditions=conditions, completion_time=done)
        message = News("Normal", "Completed", "Job completed")
        news = (message if end.type == COMPLETE else News("Warning", end.reason, end.message),)
    release = _noted(seen, counts) if seen.job.metadata.deletion_timestamp is None else _holding(seen)
    return Plan(reported, kill=seen.active, release=release, news=news)


def _suspended(seen: Snapshot, counts: Counts) -> Plan:
    conditions = seen.job.status.conditions
    news: tuple[News, ...] = ()
    if not _is(conditions, SUSPENDED):
        news = (News("Normal", "Suspended", "Job suspended"),)
        conditions = put(conditions, _condition(SUSPENDED, "True", "JobSuspended", "Job suspended", seen.now))
    reported = _status(seen, counts, conditions, less=len(seen.active))
    return Plan(replace(reported, start_time=None), drop=seen.active, release=_noted(seen, counts), news=news)


def _running(seen: Snapshot, counts: Counts) -> Plan:
    conditions, start = seen.job.status.conditions, seen.job.status.start_time
    news: tuple[News, ...] = ()
    if _is(conditions, SUSPENDED):
        news = (News("Normal", "Resumed", "Job resumed"),)
        conditions = put(conditions, _condition(SUSPENDED, "False", "JobResumed", "Job resumed", seen.now))
        start = None
    change = size(seen, counts)
    reported = _status(seen, counts, conditions, more=len(change.create), less=len(change.delete))
    return Plan(
        replace(reported, start_time=start or seen.now.replace(microsecond=0)),
        create=change.create,
        drop=change.delete,
        release=_noted(seen, counts),
        news=news,
        again_seconds=_again(seen, change),
    )


def _again(seen: Snapshot, change: Size) -> float | None:
    deadline = seconds_to_deadline(seen)
    if deadline is None and seen.spec.active_deadline_seconds is not None:
        deadline = float(seen.spec.active_deadline_seconds)  # it starts now
    waits = [seconds for seconds in (deadline, change.again_seconds) if seconds is not None]
    return max(0.0, min(waits)) if waits else None


def _status(seen: Snapshot, counts: Counts, conditions: Conditions, *, more: int = 0, less: int = 0) -> JobStatus:
    failed = counts.failed_indexes
    return JobStatus(
        active=len(seen.active) + len(seen.unseen) + more - less,
        ready=sum(pod.ready for pod in seen.active),
        terminating=len(seen.terminating) + less,
        succeeded=counts.succeeded,
        failed=counts.failed,
        start_time=seen.job.status.start_time,
        completed_indexes=indexes.render(counts.completed),
        failed_indexes=None if failed is None else indexes.render(failed),
        uncounted_terminated_pods=counts.uncounted,
        conditions=conditions or seen.job.status.conditions,
    )


def _noted(seen: Snapshot, counts: Counts) -> tuple[Pod, ...]:
    """Pods that are written down as ended, or that do not count: their finalizer has done its work."""
    noted = {*counts.uncounted.succeeded, *counts.uncounted.failed}
    return tuple(pod for pod in _holding(seen) if pod.metadata.uid in noted or pod.finished)


def _holding(seen: Snapshot) -> tuple[Pod, ...]:
    return tuple(pod for pod in seen.pods if FINALIZER in pod.metadata.finalizers)


def _is(conditions: Iterable[Condition], type: str) -> bool:
    condition = find(tuple(conditions), type)
    return condition is not None and condition.status == "True"


def _condition(type: str, status: str, reason: str, message: str, now: datetime) -> Condition:
    moment = now.replace(microsecond=0)
    return Condition(
        type=type,
        status=status,
        reason=reason,
        message=message,
        last_probe_time=moment,
        last_transition_time=moment,
    )
