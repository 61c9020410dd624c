"""What to do about a ReplicaSet now: how many pods to make, which to delete, what to report."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from fairway.engine.controllers.conditions import Conditions, find, without
from fairway.engine.controllers.replicaset.ranking import first_to_go
from fairway.kube.api.meta import Condition, OwnerReference
from fairway.kube.api.noun import encode, without_nulls
from fairway.kube.api.pods import Pod
from fairway.kube.api.workloads import ReplicaSet, ReplicaSetStatus

BURST_MAX = 500
FAILURE = "ReplicaFailure"
_NAME_LENGTH_MAX = 63


class Snapshot(msgspec.Struct, frozen=True):
    """A ReplicaSet, the pods it owns, and what is under way: names of pods to come, uids of pods to go."""

    replica_set: ReplicaSet
    pods: tuple[Pod, ...]
    now: datetime
    coming: frozenset[str] = frozenset()
    going: frozenset[str] = frozenset()

    @property
    def active(self) -> tuple[Pod, ...]:
        """Pods that count: not ended, not on their way out."""
        return tuple(
            pod
            for pod in self.pods
            if not pod.finished and pod.metadata.deletion_timestamp is None and pod.metadata.uid not in self.going
        )


class Plan(msgspec.Struct, frozen=True):
    """How many pods to make, which to delete, and when to look again if nothing happens."""

    create: int = 0
    delete: tuple[Pod, ...] = ()
    again_seconds: float | None = None


def plan(seen: Snapshot) -> Plan:
    """Decide. A ReplicaSet that is being deleted neither makes nor deletes pods."""
    again_seconds = _seconds_to_availability(seen)
    if seen.replica_set.metadata.deletion_timestamp is not None:
        return Plan(again_seconds=again_seconds)
    active = seen.active
    unseen = seen.coming - {pod.metadata.name for pod in seen.pods}
    missing = seen.replica_set.spec.replicas - len(active) - len(unseen)
    if missing >= 0:
        return Plan(min(missing, BURST_MAX), (), again_seconds)
    surplus = min(-missing, BURST_MAX)
    return Plan(0, tuple(first_to_go(active)[:surplus]), again_seconds)


def status(seen: Snapshot, failure: Condition | None) -> ReplicaSetStatus:
    """The counts, and the last failure to reach them."""
    replica_set, pods = seen.replica_set, seen.active
    labels = replica_set.spec.template.get("metadata", {}).get("labels") or {}
    ready = [pod for pod in pods if pod.ready]
    return ReplicaSetStatus(
        observed_generation=replica_set.metadata.generation,
        replicas=len(pods),
        fully_labeled_replicas=sum(1 for pod in pods if labels.items() <= dict(pod.metadata.labels).items()),
        ready_replicas=len(ready),
        available_replicas=sum(1 for pod in ready if _seconds_left(seen, pod) <= 0),
        conditions=_conditions(replica_set.status.conditions, failure),
    )


def failed(now: datetime, reason: str, message: str) -> Condition:
    """That pods could not be made (FailedCreate) or deleted (FailedDelete)."""
    moment = now.replace(microsecond=0)
    return Condition(type=FAILURE, status="True", reason=reason, message=message, last_transition_time=moment)


def draft(replica_set: ReplicaSet, suffix: str) -> dict[str, Any]:
    """The next pod, in raw JSON; `suffix` makes its name unique."""
    template: Mapping[str, Any] = without_nulls(replica_set.spec.template)
    given = template.get("metadata", {})
    prefix = f"{replica_set.metadata.name}-"[: _NAME_LENGTH_MAX - len(suffix)]
    metadata = {key: given[key] for key in ("labels", "annotations", "finalizers") if given.get(key)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{replica_set.metadata.name}-",
            "name": prefix + suffix,
            "namespace": replica_set.metadata.namespace,
            **metadata,
            "ownerReferences": [encode(owner_reference(replica_set))],
        },
        "spec": template.get("spec", {}),
    }


def owner_reference(replica_set: ReplicaSet) -> OwnerReference:
    """The ReplicaSet as the owner of its pods."""
    return OwnerReference(
        api_version="apps/v1",
        kind="ReplicaSet",
        name=replica_set.metadata.name,
        uid=replica_set.metadata.uid,
        controller=True,
        block_owner_deletion=True,
    )


def batches(count: int) -> Iterable[int]:
    """1, 2, 4 … that add up to `count`: a mistake that every pod shares is found out cheaply."""
    size = 1
    while count > 0:
        yield min(size, count)
        count -= size
        size *= 2


def _seconds_to_availability(seen: Snapshot) -> float | None:
    waits = [_seconds_left(seen, pod) for pod in seen.active if pod.ready]
    return min((wait for wait in waits if wait > 0), default=None)


def _seconds_left(seen: Snapshot, pod: Pod) -> float:
    """How long a ready pod has to stay so until it counts as available; 0 when it does."""
    least = seen.replica_set.spec.min_ready_seconds
    condition = pod.status.condition("Ready")
    if not least or condition is None or condition.last_transition_time is None:
        return 0.0
    return (condition.last_transition_time + timedelta(seconds=least) - seen.now).total_seconds()


def _conditions(current: Conditions, failure: Condition | None) -> Conditions:
    before = find(current, FAILURE)
    if failure is None:
        return without(current, FAILURE)
    if before is not None and before.reason == failure.reason:
        failure = replace(failure, last_transition_time=before.last_transition_time, message=before.message)
    return (*without(current, FAILURE), failure)
