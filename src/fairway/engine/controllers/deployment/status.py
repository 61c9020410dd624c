"""What a Deployment reports: counts, and the conditions Available, Progressing and ReplicaFailure."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec.structs import replace

from fairway.engine.controllers.conditions import find, put, without
from fairway.engine.controllers.deployment.snapshot import Snapshot, available, wanted
from fairway.kube.api.meta import Condition
from fairway.kube.api.workloads import DeploymentStatus, ReplicaSet

AVAILABLE, PROGRESSING, FAILURE = "Available", "Progressing", "ReplicaFailure"
COMPLETE, TIMED_OUT, PAUSED = "NewReplicaSetAvailable", "ProgressDeadlineExceeded", "DeploymentPaused"
CREATE_ERROR = "ReplicaSetCreateError"


def counts(seen: Snapshot, new: ReplicaSet | None) -> DeploymentStatus:
    """The numbers, and whether enough pods serve. Conditions other than Available are as they were."""
    serving = available(seen.replica_sets)
    status = DeploymentStatus(
        observed_generation=seen.deployment.metadata.generation,
        replicas=sum(owned.status.replicas for owned in seen.replica_sets),
        updated_replicas=new.status.replicas if new else 0,
        ready_replicas=sum(owned.status.ready_replicas for owned in seen.replica_sets),
        available_replicas=serving,
        unavailable_replicas=max(0, wanted(seen.replica_sets) - serving),
        collision_count=seen.deployment.status.collision_count,
        conditions=seen.deployment.status.conditions,
    )
    if serving >= seen.spec.replicas - seen.max_unavailable:
        enough = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        enough = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    return with_condition(status, condition(AVAILABLE, *enough, seen.now))


def rollout(seen: Snapshot, status: DeploymentStatus, new: ReplicaSet | None) -> DeploymentStatus:
    """With the state of the rollout, and the failures that ReplicaSets report."""
    status = replace(status, conditions=_failures(seen, status))
    if seen.deadline_seconds is None:
        return replace(status, conditions=without(status.conditions, PROGRESSING))
    current = find(status.conditions, PROGRESSING)
    done = status.replicas == status.updated_replicas and current is not None and current.reason == COMPLETE
    if done:
        return status
    found = _progress(seen, status, new, current)
    if found is None:
        return status
    if found.reason == "ReplicaSetUpdated" and current is not None:
        # Each step forward starts the deadline anew, even when the condition says the same as before.
        started = current.last_transition_time if current.status == "True" else found.last_transition_time
        rest = without(status.conditions, PROGRESSING)
        return replace(status, conditions=(*rest, replace(found, last_transition_time=started)))
    return with_condition(status, found)


def is_complete(seen: Snapshot, status: DeploymentStatus) -> bool:
    """Whether every pod is of the current template and serves."""
    numbers = {status.updated_replicas, status.replicas, status.available_replicas}
    return numbers == {seen.spec.replicas} and status.observed_generation >= seen.deployment.metadata.generation


def pausing(seen: Snapshot, status: DeploymentStatus) -> DeploymentStatus:
    """Pausing stops the deadline's clock, and resuming starts it again."""
    current = find(status.conditions, PROGRESSING)
    if seen.deadline_seconds is None or (current and current.reason == TIMED_OUT):
        return status
    paused = current is not None and current.reason == PAUSED
    if seen.spec.paused and not paused:
        return with_condition(status, condition(PROGRESSING, "Unknown", PAUSED, "Deployment is paused", seen.now))
    if not seen.spec.paused and paused:
        resumed = ("Unknown", "DeploymentResumed", "Deployment is resumed")
        return with_condition(status, condition(PROGRESSING, *resumed, seen.now))
    return status


def created(seen: Snapshot, status: DeploymentStatus, name: str) -> DeploymentStatus:
    """With the news that a ReplicaSet was made for the current template."""
    if seen.deadline_seconds is None:
        return status
    message = f'Created new replica set "{name}"'
    return with_condition(status, condition(PROGRESSING, "True", "NewReplicaSetCreated", message, seen.now))


def create_failed(seen: Snapshot, status: DeploymentStatus, message: str) -> DeploymentStatus:
    """With the news that a ReplicaSet could not be made."""
    if seen.deadline_seconds is None:
        return status
    return with_condition(status, condition(PROGRESSING, "False", CREATE_ERROR, message, seen.now))


def found_new(seen: Snapshot, status: DeploymentStatus, name: str) -> DeploymentStatus:
    """With the news that the current template has a ReplicaSet already, if nothing was said of the rollout yet."""
    if seen.deadline_seconds is None or find(status.conditions, PROGRESSING) is not None:
        return status
    message = f'Found new replica set "{name}"'
    return with_condition(status, condition(PROGRESSING, "True", "FoundNewReplicaSet", message, seen.now))


def seconds_to_deadline(seen: Snapshot, status: DeploymentStatus) -> float | None:
    """When to look again whether the rollout is stuck; None when it is complete, paused or has no deadline."""
    current = find(status.conditions, PROGRESSING)
    if seen.deadline_seconds is None or seen.spec.paused or current is None or is_complete(seen, status):
        return None
    if current.reason in (COMPLETE, TIMED_OUT) or current.last_update_time is None:
        return None
    due = current.last_update_time + timedelta(seconds=seen.deadline_seconds)
    return max(1.0, (due - seen.now).total_seconds() + 1)


def condition(type: str, status: str, reason: str, message: str, now: datetime) -> Condition:
    """A condition that changes now."""
    moment = now.replace(microsecond=0)
    return Condition(
        type=type,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=moment,
        last_update_time=moment,
    )


def with_condition(status: DeploymentStatus, new: Condition) -> DeploymentStatus:
    """With a condition set; one that says the same as before keeps its times."""
    return replace(status, conditions=put(status.conditions, new))


def _progress(
    seen: Snapshot, status: DeploymentStatus, new: ReplicaSet | None, current: Condition | None
) -> Condition | None:
    who = f'ReplicaSet "{new.metadata.name}"' if new else f'Deployment "{seen.deployment.metadata.name}"'
    if is_complete(seen, status):
        return condition(PROGRESSING, "True", COMPLETE, f"{who} has successfully progressed.", seen.now)
    if _moved(seen.deployment.status, status):
        return condition(PROGRESSING, "True", "ReplicaSetUpdated", f"{who} is progressing.", seen.now)
    if _timed_out(seen, current):
        return condition(PROGRESSING, "False", TIMED_OUT, f"{who} has timed out progressing.", seen.now)
    return None


def _moved(before: DeploymentStatus, after: DeploymentStatus) -> bool:
    outdated = [status.replicas - status.updated_replicas for status in (before, after)]
    return (
        after.updated_replicas > before.updated_replicas
        or outdated[1] < outdated[0]
        or after.ready_replicas > before.ready_replicas
        or after.available_replicas > before.available_replicas
    )


def _timed_out(seen: Snapshot, current: Condition | None) -> bool:
    if current is None or current.reason == COMPLETE or seen.deadline_seconds is None:
        return False
    if current.reason == TIMED_OUT:
        return True
    since = current.last_update_time
    return since is not None and since + timedelta(seconds=seen.deadline_seconds) < seen.now


def _failures(seen: Snapshot, status: DeploymentStatus) -> tuple[Condition, ...]:
    reported = find_first((seen.new, *seen.old) if seen.new else seen.old, FAILURE)
    if reported is None:
        return without(status.conditions, FAILURE)
    again = condition(FAILURE, reported.status, reported.reason, reported.message, seen.now)
    return put(status.conditions, again)


def find_first(replica_sets: Iterable[ReplicaSet], type: str) -> Condition | None:
    """The condition of the first ReplicaSet that has it."""
    found = (find(owned.status.conditions, type) for owned in replica_sets)
    return next((item for item in found if item is not None), None)
