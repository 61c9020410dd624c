"""What to do about a Deployment now: one step, as a value."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from fairway.engine.controllers.deployment import revisions, rolling, status
from fairway.engine.controllers.deployment.snapshot import Snapshot
from fairway.engine.controllers.deployment.template import HASH_LABEL, plain, template_hash
from fairway.kube.api.meta import LabelSelector, OwnerReference
from fairway.kube.api.noun import encode
from fairway.kube.api.workloads import DeploymentStatus, ReplicaSet

_NO_LIMIT = 2**31 - 1


class Create(msgspec.Struct, frozen=True):
    """Make this ReplicaSet (raw JSON)."""

    replica_set: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.replica_set["metadata"]["name"])

    @property
    def replicas(self) -> int:
        return int(self.replica_set["spec"]["replicas"])


class Scale(msgspec.Struct, frozen=True):
    """Let this ReplicaSet want another number of pods (or the same, noting what the Deployment wanted)."""

    replica_set: ReplicaSet
    replicas: int
    annotations: Mapping[str, str]


class Revise(msgspec.Struct, frozen=True):
    """Give the current ReplicaSet these annotations and this readiness time."""

    replica_set: ReplicaSet
    annotations: Mapping[str, str]
    min_ready_seconds: int


class Delete(msgspec.Struct, frozen=True):
    """Forget an old revision."""

    replica_set: ReplicaSet


Action = Create | Scale | Revise | Delete


class Plan(msgspec.Struct, frozen=True):
    """The actions of this step, what to report afterwards, and when to look again if nothing happens."""

    actions: tuple[Action, ...]
    status: DeploymentStatus
    revision: int
    again_seconds: float | None = None


def plan(seen: Snapshot) -> Plan:
    """Decide one step. A step that changes the world ends; what it changed brings the next one."""
    paused = status.pausing(seen, status.counts(seen, seen.new))
    if seen.deployment.metadata.deletion_timestamp is not None:
        return _report(seen, (), paused)
    if seen.spec.paused or rolling.is_scaling(seen):
        return _report(seen, _scales(seen, rolling.scaling(seen)) + _forget(seen, paused), paused)
    if seen.spec.strategy.type == "Recreate" and (halt := _recreate_first(seen)) is not None:
        return _report(seen, halt, status.rollout(seen, paused, seen.new))
    if seen.new is None:
        return _create(seen, paused)
    return _advance(seen, seen.new, paused)


def _recreate_first(seen: Snapshot) -> tuple[Action, ...] | None:
    """What has to happen before the new pods may start; None when the old ones are gone."""
    if sizes := rolling.recreate(seen):
        return _scales(seen, sizes)
    return () if any(owned.metadata.uid in seen.running for owned in seen.old) else None


def _create(seen: Snapshot, reported: DeploymentStatus) -> Plan:
    number = revisions.next_revision(seen.old)
    action = Create(_draft(seen, number))
    return Plan((action,), status.created(seen, reported, action.name), number)


def _advance(seen: Snapshot, new: ReplicaSet, reported: DeploymentStatus) -> Plan:
    number = max(revisions.next_revision(seen.old), revisions.revision(new.metadata.annotations))
    reported = status.found_new(seen, reported, new.metadata.name)
    annotations = revisions.changed_annotations(seen.deployment, new, number)
    actions: tuple[Action, ...]
    if annotations or new.spec.min_ready_seconds != seen.spec.min_ready_seconds:
        actions = (Revise(new, annotations, seen.spec.min_ready_seconds),)
    elif seen.spec.strategy.type == "Recreate":
        wanted = seen.spec.replicas
        actions = _scales(seen, {} if new.spec.replicas == wanted else {new.metadata.name: wanted})
    else:
        actions = _scales(seen, rolling.rolling(seen, new))
    reported = status.rollout(seen, reported, new)
    return _report(seen, actions + _forget(seen, reported), reported, number)


def _report(seen: Snapshot, actions: tuple[Action, ...], reported: DeploymentStatus, number: int | None = None) -> Plan:
    if number is None:
        number = revisions.revision(seen.deployment.metadata.annotations)
    return Plan(actions, reported, number, status.seconds_to_deadline(seen, reported))


def _scales(seen: Snapshot, sizes: Mapping[str, int]) -> tuple[Action, ...]:
    """One action for each size that is new, or whose reason (what the Deployment wanted) is."""
    notes = revisions.size_annotations(seen.spec.replicas, seen.spec.replicas + seen.max_surge)
    return tuple(
        Scale(owned, sizes[owned.metadata.name], notes)
        for owned in seen.by_age
        if owned.metadata.name in sizes
        and (owned.spec.replicas != sizes[owned.metadata.name] or _differs(owned.metadata.annotations, notes))
    )


def _forget(seen: Snapshot, reported: DeploymentStatus) -> tuple[Action, ...]:
    """Old revisions beyond the limit, lowest first, once the rollout is complete (or stands still)."""
    if seen.spec.revision_history_limit == _NO_LIMIT or not (seen.spec.paused or status.is_complete(seen, reported)):
        return ()
    kept = [owned for owned in seen.old if owned.metadata.deletion_timestamp is None]
    surplus = len(kept) - seen.spec.revision_history_limit
    lowest = sorted(kept, key=lambda owned: revisions.revision(owned.metadata.annotations))[: max(0, surplus)]
    return tuple(Delete(owned) for owned in lowest if _is_idle(owned))


def _is_idle(owned: ReplicaSet) -> bool:
    settled = owned.metadata.generation <= owned.status.observed_generation
    return settled and not owned.status.replicas and not owned.spec.replicas


def _draft(seen: Snapshot, number: int) -> dict[str, Any]:
    """The ReplicaSet of the current template."""
    deployment, spec = seen.deployment, seen.spec
    tag = {HASH_LABEL: template_hash(spec.template, deployment.status.collision_count or 0)}
    template = plain(spec.template)
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {**metadata.get("labels", {}), **tag}
    selector = msgspec.structs.replace(spec.selector, match_labels={**spec.selector.match_labels, **tag})
    maximum = spec.replicas + seen.max_surge
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{deployment.metadata.name}-{tag[HASH_LABEL]}",
            "namespace": deployment.metadata.namespace,
            "labels": metadata["labels"],
            "annotations": revisions.new_annotations(deployment, number, maximum),
            "ownerReferences": [encode(owner_reference(seen))],
        },
        "spec": {
            "replicas": rolling.first_size(seen),
            "minReadySeconds": spec.min_ready_seconds,
            "selector": encode_selector(selector),
            "template": template,
        },
    }


def owner_reference(seen: Snapshot) -> OwnerReference:
    """The Deployment as the owner of its ReplicaSets."""
    metadata = seen.deployment.metadata
    return OwnerReference(
        api_version="apps/v1",
        kind="Deployment",
        name=metadata.name,
        uid=metadata.uid,
        controller=True,
        block_owner_deletion=True,
    )


def encode_selector(selector: LabelSelector) -> dict[str, Any]:
    """A selector as raw JSON."""
    return encode(selector)


def _differs(has: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return any(has.get(key) != value for key, value in wanted.items())


def names(actions: Iterable[Action]) -> list[str]:
    """The kinds of actions, for logs."""
    return [type(action).__name__.lower() for action in actions]
