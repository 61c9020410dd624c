"""Job and CronJob."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fairway.kube.api.meta import Condition, LabelSelector, ObjectMeta, ObjectReference
from fairway.kube.api.noun import Noun


class OnExitCodes(Noun, frozen=True):
    """Matches containers by exit code; without a name any container."""

    operator: str
    values: tuple[int, ...] = ()
    container_name: str | None = None


class OnPodCondition(Noun, frozen=True):
    type: str
    status: str = "True"


class PodFailurePolicyRule(Noun, frozen=True):
    """`action` is FailJob, FailIndex, Ignore or Count."""

    action: str
    on_exit_codes: OnExitCodes | None = None
    on_pod_conditions: tuple[OnPodCondition, ...] = ()


class PodFailurePolicy(Noun, frozen=True):
    rules: tuple[PodFailurePolicyRule, ...] = ()


class SuccessPolicyRule(Noun, frozen=True):
    succeeded_indexes: str | None = None
    succeeded_count: int | None = None


class SuccessPolicy(Noun, frozen=True):
    rules: tuple[SuccessPolicyRule, ...] = ()


class JobSpec(Noun, frozen=True):
    """`template` stays raw: it is copied whole into pods."""

    selector: LabelSelector = LabelSelector()
    template: Mapping[str, Any] = {}
    parallelism: int = 1
    completions: int | None = None
    completion_mode: str = "NonIndexed"
    backoff_limit: int = 6
    backoff_limit_per_index: int | None = None
    max_failed_indexes: int | None = None
    active_deadline_seconds: int | None = None
    ttl_seconds_after_finished: int | None = None
    suspend: bool = False
    manual_selector: bool = False
    pod_failure_policy: PodFailurePolicy | None = None
    pod_replacement_policy: str = "TerminatingOrFailed"
    success_policy: SuccessPolicy | None = None
    managed_by: str | None = None


class UncountedTerminatedPods(Noun, frozen=True):
    """Uids of pods that have ended, whose finalizer is not known to be gone yet."""

    succeeded: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class JobStatus(Noun, frozen=True):
    active: int = 0
    ready: int | None = None
    terminating: int | None = None
    succeeded: int = 0
    failed: int = 0
    start_time: datetime | None = None
    completion_time: datetime | None = None
    completed_indexes: str = ""
    failed_indexes: str | None = None
    uncounted_terminated_pods: UncountedTerminatedPods | None = None
    conditions: tuple[Condition, ...] = ()


class Job(Noun, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()

    @property
    def finished(self) -> Condition | None:
        """The condition Complete or Failed, when it is met."""
        ended = (item for item in self.status.conditions if item.type in ("Complete", "Failed"))
        return next((item for item in ended if item.status == "True"), None)


class JobTemplate(Noun, frozen=True):
    """The metadata and the raw spec of jobs to be made."""

    metadata: ObjectMeta = ObjectMeta()
    spec: Mapping[str, Any] = {}


class CronJobSpec(Noun, frozen=True):
    schedule: str = ""
    time_zone: str | None = None
    starting_deadline_seconds: int | None = None
    concurrency_policy: str = "Allow"
    suspend: bool = False
    job_template: JobTemplate = JobTemplate()
    successful_jobs_history_limit: int | None = None
    failed_jobs_history_limit: int | None = None


class CronJobStatus(Noun, frozen=True):
    active: tuple[ObjectReference, ...] = ()
    last_schedule_time: datetime | None = None
    last_successful_time: datetime | None = None


class CronJob(Noun, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: CronJobSpec = CronJobSpec()
    status: CronJobStatus = CronJobStatus()
