"""What a StatefulSet reports."""

from collections.abc import Iterable

from msgspec.structs import replace

from fairway.engine.controllers.statefulset.snapshot import Snapshot, exists, is_leaving, revision_of, serves
from fairway.kube.api.pods import Pod
from fairway.kube.api.statefulsets import StatefulSetStatus


def status(seen: Snapshot) -> StatefulSetStatus:
    """The counts; once a rolling update is complete, its revision is the current one."""
    before = seen.stateful_set.status
    pods = [pod for pod in seen.pods if exists(pod)]
    staying = [pod for pod in pods if not is_leaving(pod)]
    found = StatefulSetStatus(
        observed_generation=seen.stateful_set.metadata.generation,
        replicas=len(pods),
        ready_replicas=sum(serves(pod) for pod in pods),
        available_replicas=sum(seen.is_available(pod) for pod in pods),
        current_replicas=_of(staying, seen.current.metadata.name),
        updated_replicas=_of(staying, seen.update.metadata.name),
        current_revision=seen.current.metadata.name,
        update_revision=seen.update.metadata.name,
        collision_count=before.collision_count or 0,
        conditions=before.conditions,
    )
    return _completed(seen, found)


def _completed(seen: Snapshot, found: StatefulSetStatus) -> StatefulSetStatus:
    counts = {found.updated_replicas, found.ready_replicas, found.replicas}
    if seen.spec.update_strategy.type != "RollingUpdate" or counts != {seen.spec.replicas}:
        return found
    return replace(found, current_replicas=found.updated_replicas, current_revision=found.update_revision)


def _of(pods: Iterable[Pod], revision: str) -> int:
    return sum(revision_of(pod) == revision for pod in pods)
