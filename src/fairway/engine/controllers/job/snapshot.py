"""What one decision about a Job is made from, and what its pods amount to."""

from datetime import UTC, datetime
from functools import cached_property

import msgspec

from fairway.engine.controllers.job import indexes
from fairway.engine.controllers.job.failures import IGNORE, judge
from fairway.kube.api.jobs import Job, JobSpec, UncountedTerminatedPods
from fairway.kube.api.pods import Pod

FINALIZER = "batch.kubernetes.io/job-tracking"
_OLDEST = datetime(1, 1, 1, tzinfo=UTC)


class Snapshot(msgspec.Struct, frozen=True, dict=True):
    """A Job, the pods it owns, and what is under way: names of pods to come, uids of pods to go."""

    job: Job
    pods: tuple[Pod, ...]
    now: datetime
    coming: frozenset[str] = frozenset()
    going: frozenset[str] = frozenset()

    @property
    def spec(self) -> JobSpec:
        return self.job.spec

    @property
    def indexed(self) -> bool:
        return self.spec.completion_mode == "Indexed"

    @cached_property
    def active(self) -> tuple[Pod, ...]:
        """Pods that have not ended and are not on their way out."""
        return tuple(pod for pod in self.pods if not pod.finished and not self.is_leaving(pod))

    @cached_property
    def terminating(self) -> tuple[Pod, ...]:
        """Pods on their way out that have not ended."""
        return tuple(pod for pod in self.pods if not pod.finished and self.is_leaving(pod))

    @property
    def unseen(self) -> frozenset[str]:
        """Names of pods that were made and have not shown up."""
        return self.coming - {pod.metadata.name for pod in self.pods}

    def is_leaving(self, pod: Pod) -> bool:
        return pod.metadata.deletion_timestamp is not None or pod.metadata.uid in self.going

    def has_failed(self, pod: Pod) -> bool:
        """Ended badly. A pod that is deleted counts at once, unless only pods that have ended may be replaced."""
        if pod.status.phase == "Failed":
            return True
        if self.replaces_failed_only:
            return False
        return pod.metadata.deletion_timestamp is not None and pod.status.phase != "Succeeded"

    @property
    def replaces_failed_only(self) -> bool:
        return self.spec.pod_replacement_policy == "Failed" or self.spec.pod_failure_policy is not None


class Counts(msgspec.Struct, frozen=True):
    """How many pods have ended well and badly: those counted for ever, and those that still hold a finalizer."""

    succeeded: int
    failed: int
    uncounted: UncountedTerminatedPods
    completed: frozenset[int] = frozenset()
    failed_indexes: frozenset[int] | None = None

    @property
    def all_succeeded(self) -> int:
        return self.succeeded + len(self.uncounted.succeeded)

    @property
    def all_failed(self) -> int:
        return self.failed + len(self.uncounted.failed)


def count(seen: Snapshot, *, ended: bool = False) -> Counts:
    """Count every ended pod once, whatever is restarted in between (KEP-2307).

    An ended pod is first noted by uid, then loses its finalizer, and only then raises the number. `ended` says that the
    job is over, so that every pod that still runs is a failed one.
    """
    status = seen.job.status
    noted = status.uncounted_terminated_pods or UncountedTerminatedPods()
    holding = {pod.metadata.uid for pod in seen.pods if FINALIZER in pod.metadata.finalizers}
    counted_well = [uid for uid in noted.succeeded if uid not in holding]
    counted_badly = [uid for uid in noted.failed if uid not in holding]
    well = [uid for uid in noted.succeeded if uid in holding]
    badly = [uid for uid in noted.failed if uid in holding]
    completed, failed_indexes = _indexes(seen)
    for pod in sorted(seen.pods, key=_end_key):
        uid = pod.metadata.uid
        if uid not in holding or uid in well or uid in badly:
            continue
        if pod.status.phase == "Succeeded":
            well += [] if seen.indexed else [uid]
        elif _counts_as_failed(seen, pod, ended=ended):
            badly.append(uid)
    succeeded = len(completed) if seen.indexed else status.succeeded + len(counted_well)
    uncounted = UncountedTerminatedPods(succeeded=tuple(well), failed=tuple(badly))
    return Counts(succeeded, status.failed + len(counted_badly), uncounted, completed, failed_indexes)


def _counts_as_failed(seen: Snapshot, pod: Pod, *, ended: bool) -> bool:
    failed = seen.has_failed(pod) or (ended and seen.is_leaving(pod))
    return failed and _in_range(seen, pod) and judge(seen.job, pod).action != IGNORE


def index_of(pod: Pod) -> int | None:
    """The completion index of a pod; None when it has none."""
    text = pod.metadata.annotations.get(indexes.INDEX, "")
    return int(text) if text.isdecimal() else None


def index_failures(pod: Pod) -> int:
    """How many pods of its index failed before it."""
    text = pod.metadata.annotations.get(indexes.FAILURES, "")
    return int(text) if text.isdecimal() else 0


def end_of(pod: Pod) -> datetime:
    """When it ended, as far as is known."""
    statuses = (*pod.status.container_statuses, *pod.status.init_container_statuses)
    ends = [status.state.terminated.finished_at for status in statuses if status.state.terminated]
    known = [end for end in ends if end is not None]
    fallback = pod.metadata.deletion_timestamp or pod.metadata.creation_timestamp or _OLDEST
    return max(known, default=fallback)


def _indexes(seen: Snapshot) -> tuple[frozenset[int], frozenset[int] | None]:
    """Which indexes have succeeded, and which have failed for good (None when that is not asked)."""
    if not seen.indexed:
        return frozenset(), None
    done = {number for pod in seen.pods if pod.status.phase == "Succeeded" and (number := index_of(pod)) is not None}
    most = seen.spec.completions or 0
    completed = {number for number in indexes.parse(seen.job.status.completed_indexes) | done if number < most}
    if seen.spec.backoff_limit_per_index is None:
        return frozenset(completed), None
    failed = set(indexes.parse(seen.job.status.failed_indexes))
    for pod in seen.pods:
        number = index_of(pod)
        if number is not None and number not in completed and _ends_index(seen, pod):
            failed.add(number)
    return frozenset(completed), frozenset(number for number in failed if number < most)


def _ends_index(seen: Snapshot, pod: Pod) -> bool:
    """Whether this pod's failure is the last that its index may have."""
    if FINALIZER not in pod.metadata.finalizers or not seen.has_failed(pod):
        return False
    action = judge(seen.job, pod).action
    limit = seen.spec.backoff_limit_per_index or 0
    return action == "FailIndex" or (action != IGNORE and index_failures(pod) >= limit)


def _in_range(seen: Snapshot, pod: Pod) -> bool:
    if not seen.indexed:
        return True
    number = index_of(pod)
    return number is not None and number < (seen.spec.completions or 0)


def _end_key(pod: Pod) -> tuple[datetime, str]:
    return end_of(pod), pod.metadata.name
