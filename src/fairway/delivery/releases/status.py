"""How far the objects of a Release have got."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from fairway.delivery.releases.objects import LiveMeta, Name
from fairway.kube.api.meta import Condition
from fairway.kube.api.noun import Noun
from fairway.kube.api.resource import DAEMON_SETS, DEPLOYMENTS, JOBS, STATEFUL_SETS

_API_DEADLINE_SECONDS = 600
WORKLOADS = (DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS, JOBS)


class WorkloadSpec(Noun, frozen=True):
    replicas: int = 1
    paused: bool = False
    update_strategy: Mapping[str, Any] = {}
    progress_deadline_seconds: int = 0


class WorkloadStatus(Noun, frozen=True):
    """The fields of Deployments, StatefulSets, DaemonSets and Jobs that tell of a rollout."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    current_revision: str = ""
    update_revision: str = ""
    desired_number_scheduled: int = 0
    updated_number_scheduled: int = 0
    number_available: int = 0
    succeeded: int = 0
    conditions: tuple[Condition, ...] = ()

    def condition(self, type: str) -> Condition | None:
        return next((one for one in self.conditions if one.type == type), None)


class Workload(Noun, frozen=True):
    """An object that makes pods, as it is in the cluster."""

    metadata: LiveMeta = LiveMeta()
    spec: WorkloadSpec = WorkloadSpec()
    status: WorkloadStatus = WorkloadStatus()


class Progress(msgspec.Struct, frozen=True):
    """`failed` is why it will not get there, "" while it may; `undated` when nobody but us measures its time."""

    ready: int = 0
    wanted: int = 0
    done: bool = False
    failed: str = ""
    reason: str = ""
    undated: bool = False


def progress(
    name: Name, live: Workload | None, generation: int, since: datetime | None = None, *, adopted: bool = False
) -> Progress:
    """Of one object, of which `generation` is the oldest that counts: that of the apply, or any later one.

    `since` is when the rollout began: what a Deployment says of an earlier one is no verdict. An `adopted` one with the
    API's own deadline has none that anybody wished for: the App's counts.
    """
    if live is None or live.metadata.generation < generation:
        return Progress(wanted=1)
    if name.resource is not JOBS and live.status.observed_generation < live.metadata.generation:
        return Progress(wanted=1)
    if name.resource is DEPLOYMENTS:
        found = _deployment(name, live, since)
        unwished = adopted and live.spec.progress_deadline_seconds == _API_DEADLINE_SECONDS
        return msgspec.structs.replace(found, undated=True) if unwished and not found.done else found
    return _RULES[name.resource](name, live)


def together(parts: Iterable[Progress]) -> Progress:
    """Of all objects of a Release; the first failure counts."""
    every = tuple(parts)
    failed = next((part for part in every if part.failed), Progress())
    return Progress(
        sum(part.ready for part in every),
        sum(part.wanted for part in every),
        all(part.done for part in every),
        failed.failed,
        failed.reason,
        any(part.undated and not part.done for part in every),
    )


def message(now: Progress) -> str:
    return f"{now.ready} of {now.wanted} pods ready" if now.wanted else "waiting for the objects"


def _deployment(name: Name, live: Workload, since: datetime | None) -> Progress:
    """As `kubectl rollout status` judges it.

    But going back to an older template neither renews nor removes the condition that the failed one left
    (`syncRolloutStatus` of the deployment controller), so one from before `since` counts for nothing.
    """
    spec, status = live.spec, live.status
    # Those of older versions are available too while they leave: what is sure to be new is what is left without them.
    fresh = min(
        status.updated_replicas, max(status.available_replicas - (status.replicas - status.updated_replicas), 0)
    )
    condition = status.condition("Progressing")
    timed_out = condition is not None and condition.reason == "ProgressDeadlineExceeded"
    fresh_verdict = condition is not None and _after(condition, since)
    if timed_out and fresh_verdict and condition is not None:
        text = f"{name}: {fresh} of {spec.replicas} pods became ready in time"
        return Progress(fresh, spec.replicas, failed=text, reason=condition.reason)
    if spec.paused:
        return Progress(fresh, spec.replicas, done=True)
    updated = status.updated_replicas >= spec.replicas and status.replicas <= status.updated_replicas
    done = updated and status.available_replicas >= status.updated_replicas
    return Progress(fresh, spec.replicas, done=done, undated=timed_out)


def _after(condition: Condition, since: datetime | None) -> bool:
    """Both are whole seconds, and a deadline is two at least."""
    said = condition.last_update_time or condition.last_transition_time
    return since is None or said is None or said > since


def _stateful_set(name: Name, live: Workload) -> Progress:
    spec, status = live.spec, live.status
    if spec.update_strategy.get("type") == "OnDelete":
        return Progress(status.ready_replicas, spec.replicas, done=True)
    done = status.ready_replicas >= spec.replicas and status.updated_replicas >= spec.replicas
    same = not status.update_revision or status.current_revision == status.update_revision
    partition = (spec.update_strategy.get("rollingUpdate") or {}).get("partition") or 0
    if partition:
        done, same = status.updated_replicas >= max(spec.replicas - partition, 0), True
    return Progress(
        min(status.updated_replicas, status.ready_replicas), spec.replicas, done=done and same, undated=True
    )


def _daemon_set(name: Name, live: Workload) -> Progress:
    status = live.status
    if live.spec.update_strategy.get("type") == "OnDelete":
        return Progress(status.number_available, status.desired_number_scheduled, done=True)
    fresh = min(status.updated_number_scheduled, status.number_available)
    return Progress(fresh, status.desired_number_scheduled, done=fresh >= status.desired_number_scheduled, undated=True)


def _job(name: Name, live: Workload) -> Progress:
    failed, complete = live.status.condition("Failed"), live.status.condition("Complete")
    if failed is not None and failed.status == "True":
        return Progress(0, 1, failed=f"{name}: {failed.message}", reason="JobFailed")
    done = complete is not None and complete.status == "True"
    return Progress(int(done), 1, done=done, undated=True)


_RULES = {STATEFUL_SETS: _stateful_set, DAEMON_SETS: _daemon_set, JOBS: _job}
