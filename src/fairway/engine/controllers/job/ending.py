"""Whether a Job is over, and why."""

from datetime import datetime, timedelta

import msgspec

from fairway.engine.controllers.conditions import find
from fairway.engine.controllers.job import indexes
from fairway.engine.controllers.job.failures import FAIL_JOB, judge
from fairway.engine.controllers.job.snapshot import FINALIZER, Counts, Snapshot
from fairway.kube.api.pods import Pod

COMPLETE, FAILED = "Complete", "Failed"
SUCCEEDING, FAILING = "SuccessCriteriaMet", "FailureTarget"


class Ending(msgspec.Struct, frozen=True):
    """How it ends: `type` is Complete or Failed."""

    type: str
    reason: str
    message: str

    @property
    def herald(self) -> str:
        """The condition that says so while pods are still on their way out."""
        return SUCCEEDING if self.type == COMPLETE else FAILING


def ending(seen: Snapshot, counts: Counts) -> Ending | None:
    """What was decided before stands; otherwise the first reason, in upstream's order."""
    for herald, final in ((FAILING, FAILED), (SUCCEEDING, COMPLETE)):
        current = find(seen.job.status.conditions, herald)
        if current is not None and current.status == "True":
            return Ending(final, current.reason, current.message)
    return _failure(seen, counts) or _success(seen, counts)


def seconds_to_deadline(seen: Snapshot) -> float | None:
    """When the job has been active for too long; None when it may be for ever, or is not now."""
    start, limit = seen.job.status.start_time, seen.spec.active_deadline_seconds
    if limit is None or start is None or seen.spec.suspend:
        return None
    return (start + timedelta(seconds=limit) - seen.now).total_seconds()


def seconds_to_removal(seen: Snapshot, end: datetime | None) -> float | None:
    """When a job that ended has been kept for long enough (KEP-592); None when it is kept for ever."""
    ttl = seen.spec.ttl_seconds_after_finished
    return None if ttl is None or end is None else (end + timedelta(seconds=ttl) - seen.now).total_seconds()


def _failure(seen: Snapshot, counts: Counts) -> Ending | None:
    for pod in seen.pods:
        if FINALIZER in pod.metadata.finalizers and seen.has_failed(pod):
            verdict = judge(seen.job, pod)
            if verdict.action == FAIL_JOB:
                return Ending(FAILED, "PodFailurePolicy", verdict.message)
    if counts.all_failed > seen.spec.backoff_limit or _restarts_exceed(seen):
        return Ending(FAILED, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    left = seconds_to_deadline(seen)
    if left is not None and left <= 0:
        return Ending(FAILED, "DeadlineExceeded", "Job was active longer than specified deadline")
    return _failed_indexes(seen, counts)


def _failed_indexes(seen: Snapshot, counts: Counts) -> Ending | None:
    failed, most = counts.failed_indexes, seen.spec.max_failed_indexes
    if not failed:
        return None
    if most is not None and len(failed) > most:
        says = "Job has exceeded the specified maximal number of failed indexes"
        return Ending(FAILED, "MaxFailedIndexesExceeded", says)
    if len(failed) + counts.all_succeeded >= (seen.spec.completions or 0):
        return Ending(FAILED, "FailedIndexes", "Job has failed indexes")
    return None


def _success(seen: Snapshot, counts: Counts) -> Ending | None:
    if met := _policy_met(seen, counts):
        return Ending(COMPLETE, "SuccessPolicy", met)
    done, wanted = counts.all_succeeded, seen.spec.completions
    busy = seen.active or seen.unseen
    if (done > 0 and not busy) if wanted is None else (done >= wanted and not busy):
        return Ending(COMPLETE, "CompletionsReached", "Reached expected number of succeeded pods")
    return None


def _policy_met(seen: Snapshot, counts: Counts) -> str:
    """Which rule of the success policy is met (KEP-3998)."""
    policy = seen.spec.success_policy
    if policy is None or not seen.indexed:
        return ""
    for number, rule in enumerate(policy.rules):
        named = None if rule.succeeded_indexes is None else indexes.parse(rule.succeeded_indexes)
        hits = counts.completed if named is None else counts.completed & named
        needed = rule.succeeded_count if rule.succeeded_count is not None else len(named or ())
        if needed and len(hits) >= needed:
            return f"Matched rules at index {number}"
    return ""


def _restarts_exceed(seen: Snapshot) -> bool:
    """With OnFailure the pods stay and their containers' restarts count."""
    policy = seen.spec.template.get("spec", {}).get("restartPolicy")
    if policy != "OnFailure":
        return False
    restarts = sum(_restarts(pod) for pod in seen.pods if pod.status.phase in ("Running", "Pending"))
    limit = seen.spec.backoff_limit
    return restarts >= limit if limit else restarts > 0


def _restarts(pod: Pod) -> int:
    statuses = (*pod.status.init_container_statuses, *pod.status.container_statuses)
    return sum(status.restart_count for status in statuses)
