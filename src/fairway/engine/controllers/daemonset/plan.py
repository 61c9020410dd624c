"""What to do about a DaemonSet now: where to make pods, which to delete, what to report."""

from collections.abc import Sequence

import msgspec

from fairway.engine.controllers.availability import next_available_seconds
from fairway.engine.controllers.daemonset.rolling import replaced, surged
from fairway.engine.controllers.daemonset.snapshot import Snapshot, node_of
from fairway.engine.controllers.daemonset.status import status
from fairway.kube.api.daemonsets import DaemonSetStatus
from fairway.kube.api.pods import Pod

BURST_MAX = 250


class Plan(msgspec.Struct, frozen=True):
    """Nodes that get a pod, pods that go (`ended` are those among them that ended by themselves), and the rest."""

    create: tuple[str, ...]
    delete: tuple[Pod, ...]
    ended: tuple[Pod, ...]
    status: DaemonSetStatus
    again_seconds: float | None = None


class _Settled(msgspec.Struct, frozen=True):
    create: bool = False
    delete: tuple[Pod, ...] = ()
    ended: tuple[Pod, ...] = ()


def plan(seen: Snapshot) -> Plan:
    """Decide. Only when every node has the pods that it should have, an update moves on."""
    again_seconds = _again(seen)
    reported = status(seen)
    if seen.daemon_set.metadata.deletion_timestamp is not None:
        return Plan((), (), (), reported, again_seconds)
    settled = {name: _settle(seen, name) for name in seen.fits}
    create = [name for name, found in settled.items() if found.create]
    delete = [pod for found in settled.values() for pod in found.delete]
    ended = [pod for found in settled.values() for pod in found.ended]
    delete += _stranded(seen)
    if seen.spec.update_strategy.type == "RollingUpdate" and not create and not delete and not seen.coming:
        if seen.surges:
            create += surged(seen)
        else:
            delete += replaced(seen)
    return Plan(tuple(create[:BURST_MAX]), tuple(delete[:BURST_MAX]), tuple(ended), reported, again_seconds)


def _again(seen: Snapshot) -> float | None:
    available = next_available_seconds(seen.pods, seen.spec.min_ready_seconds, seen.now)
    held = [seen.patient[node_of(pod)] for pod in seen.pods if pod.finished and node_of(pod) in seen.patient]
    return min((*held, *(() if available is None else (available,))), default=None)


def _settle(seen: Snapshot, name: str) -> _Settled:
    """One node as if there were no update."""
    fit, pods = seen.fits[name], seen.by_node.get(name, ())
    if not fit.go_on:
        return _Settled(delete=tuple(pod for pod in pods if not seen.is_leaving(pod)))
    if not pods:
        return _Settled(create=fit.start and name not in seen.coming)
    staying = [pod for pod in pods if not seen.is_leaving(pod)]
    patient = name in seen.patient
    ended = tuple(pod for pod in staying if pod.finished and not (patient and pod.status.phase == "Failed"))
    running = [pod for pod in staying if not pod.finished]
    surplus = _surplus_of_surge(seen, running) if seen.surges else tuple(running[1:])
    return _Settled(delete=(*ended, *surplus), ended=ended)


def _surplus_of_surge(seen: Snapshot, running: Sequence[Pod]) -> tuple[Pod, ...]:
    """Beside the oldest new pod one old pod may stay until the new one serves."""
    new = [pod for pod in running if seen.is_new(pod)]
    old = [pod for pod in running if not seen.is_new(pod)]
    surplus = [*new[1:], *old[1:]]
    if new and old and (not old[0].ready or seen.is_available(new[0])):
        surplus.append(old[0])
    return tuple(surplus)


def _stranded(seen: Snapshot) -> list[Pod]:
    """Pods made for nodes that are gone, and never bound."""
    return [
        pod
        for pod in seen.pods
        if not pod.spec.node_name and node_of(pod) not in seen.fits and not seen.is_leaving(pod)
    ]
