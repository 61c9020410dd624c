"""What to do about a StatefulSet's pods now (documentation "StatefulSets", "Deployment and Scaling Guarantees")."""

from collections.abc import Mapping
from typing import Any

import msgspec

from fairway.engine.controllers.availability import next_available_seconds
from fairway.engine.controllers.statefulset import claims, pods
from fairway.engine.controllers.statefulset.claims import CreateClaim, OwnClaim
from fairway.engine.controllers.statefulset.snapshot import Snapshot, exists, is_leaving, revision_of, serves
from fairway.engine.controllers.statefulset.status import status
from fairway.kube.api.pods import Pod
from fairway.kube.api.statefulsets import StatefulSetStatus


class CreatePod(msgspec.Struct, frozen=True):
    """Make this pod (raw JSON)."""

    pod: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])


class DeletePod(msgspec.Struct, frozen=True):
    """Delete a pod; `ended` says how it ended by itself, if it did."""

    pod: Pod
    ended: str = ""


class MendPod(msgspec.Struct, frozen=True):
    """Put a pod's labels right with this patch."""

    pod: Pod
    patch: Mapping[str, Any]


Action = CreateClaim | OwnClaim | CreatePod | DeletePod | MendPod


class Plan(msgspec.Struct, frozen=True):
    """The actions of this pass in order, what to report, and when to look again if nothing happens."""

    actions: tuple[Action, ...]
    status: StatefulSetStatus
    again_seconds: float | None = None


class _Halt(msgspec.Struct, frozen=True):
    """Actions, and whether nothing more may be done before they have had their effect."""

    actions: tuple[Action, ...] = ()
    stop: bool = False


def plan(seen: Snapshot) -> Plan:
    """Decide: first the wanted pods in order, then the surplus ones, then those of an old revision."""
    again_seconds = next_available_seconds(seen.pods, seen.spec.min_ready_seconds, seen.now)
    if seen.stateful_set.metadata.deletion_timestamp is not None:
        return Plan((), status(seen), again_seconds)
    return Plan((*claims.to_own(seen), *_steps(seen)), status(seen), again_seconds)


def _steps(seen: Snapshot) -> tuple[Action, ...]:
    actions: list[Action] = []
    for ordinal, pod in seen.wanted.items():
        halt = _keep(seen, ordinal, pod)
        actions += halt.actions
        if halt.stop:
            return tuple(actions)
    for pod in seen.condemned:
        halt = _condemn(seen, pod)
        actions += halt.actions
        if halt.stop:
            return tuple(actions)
    return (*actions, *_replace_old(seen))


def _keep(seen: Snapshot, ordinal: int, pod: Pod | None) -> _Halt:
    """One wanted pod: make it, make it anew when it has ended, put it right, or wait for it."""
    if pod is None:
        return _create(seen, ordinal)
    if pod.finished:
        gone = () if is_leaving(pod) else (DeletePod(pod, pod.status.phase),)
        return _Halt(gone, stop=seen.ordered)
    created = claims.missing(seen, ordinal) if pod.status.phase == "Pending" else ()
    if seen.ordered and (is_leaving(pod) or not seen.is_available(pod)):
        return _Halt(created, stop=True)
    patch = pods.identity_patch(seen.stateful_set, pod, ordinal)
    return _Halt((*created, *((MendPod(pod, patch),) if patch else ())))


def _create(seen: Snapshot, ordinal: int) -> _Halt:
    if claims.any_leaving(seen, ordinal):
        return _Halt(stop=seen.ordered)
    new = CreatePod(pods.new_pod(seen, ordinal))
    return _Halt((*claims.missing(seen, ordinal), new), stop=seen.ordered)


def _condemn(seen: Snapshot, pod: Pod) -> _Halt:
    """One surplus pod. In order, only the first unhealthy pod of all may go before it is healthy."""
    if is_leaving(pod):
        return _Halt(stop=seen.ordered)
    healthy = serves(pod) and seen.is_available(pod)
    if seen.ordered and not healthy and pod is not _first_unhealthy(seen):
        return _Halt(stop=True)
    return _Halt((DeletePod(pod),), stop=seen.ordered)


def _first_unhealthy(seen: Snapshot) -> Pod | None:
    """The unhealthy pod of the lowest ordinal, wanted ones first."""
    everyone = (*(pod for pod in seen.wanted.values() if pod is not None), *reversed(seen.condemned))
    return next((pod for pod in everyone if is_leaving(pod) or not serves(pod)), None)


def _replace_old(seen: Snapshot) -> tuple[Action, ...]:
    """One pod of an old revision at a time, the highest ordinal first, none below the partition."""
    strategy = seen.spec.update_strategy
    if strategy.type == "OnDelete":
        return ()
    first = seen.start + (strategy.rolling_update.partition if strategy.rolling_update else 0)
    for ordinal, pod in reversed(seen.wanted.items()):
        if ordinal < first:
            break
        if pod is None or is_leaving(pod) or not exists(pod):
            return ()
        if revision_of(pod) != seen.update.metadata.name:
            return (DeletePod(pod),)
        if not seen.is_available(pod):
            return ()
    return ()
