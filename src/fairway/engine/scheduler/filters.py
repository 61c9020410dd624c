"""Whether one node takes a pod, whatever runs on the others."""

from decimal import Decimal

import msgspec

from fairway.engine.scheduler.snapshot import Place, host_ports, requests
from fairway.kube.api.config import Taint
from fairway.kube.api.placement import tolerates, wants
from fairway.kube.api.pods import Pod

_UNSCHEDULABLE = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")


class Reason(msgspec.Struct, frozen=True):
    """Why one node does not take it, and whether other pods leaving would help."""

    text: str
    resolvable: bool


def refusals(pod: Pod, place: Place) -> tuple[Reason, ...]:
    """Why a node does not take it: the first filter that fails says so, as upstream does."""
    for check in (_unschedulable, _untolerated, _unwanted, _ports_taken, _too_little):
        if reasons := check(pod, place):
            return reasons
    return ()


def _unschedulable(pod: Pod, place: Place) -> tuple[Reason, ...]:
    if not place.node.spec.unschedulable or tolerated(pod, _UNSCHEDULABLE):
        return ()
    return (Reason("node(s) were unschedulable", resolvable=False),)


def _untolerated(pod: Pod, place: Place) -> tuple[Reason, ...]:
    for taint in place.node.spec.taints:
        if taint.effect != "PreferNoSchedule" and not tolerated(pod, taint):
            return (Reason(f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}", resolvable=False),)
    return ()


def _unwanted(pod: Pod, place: Place) -> tuple[Reason, ...]:
    if wants(pod.spec, place.node):
        return ()
    return (Reason("node(s) didn't match Pod's node affinity/selector", resolvable=False),)


def _ports_taken(pod: Pod, place: Place) -> tuple[Reason, ...]:
    wanted = host_ports(pod)
    taken = [port for other in place.pods for port in host_ports(other)]
    if not any(_collide(one, other) for one in wanted for other in taken):
        return ()
    return (Reason("node(s) didn't have free ports for the requested pod ports", resolvable=True),)


def _collide(one: tuple[str, str, int], other: tuple[str, str, int]) -> bool:
    return one[1:] == other[1:] and (one[0] == other[0] or "" in (one[0], other[0]))


def _too_little(pod: Pod, place: Place) -> tuple[Reason, ...]:
    allocatable, used = place.allocatable, place.used
    short: list[Reason] = []
    if "pods" in allocatable and len(place.pods) + 1 > allocatable["pods"]:
        short.append(Reason("Too many pods", resolvable=True))
    for name, amount in sorted(requests(pod).items()):
        most = allocatable.get(name, Decimal(0))
        if amount and used.get(name, Decimal(0)) + amount > most:
            short.append(Reason(f"Insufficient {name}", resolvable=amount <= most))
    return tuple(short)


def tolerated(pod: Pod, taint: Taint) -> bool:
    """Whether the pod puts up with a taint."""
    return any(tolerates(toleration, taint) for toleration in pod.spec.tolerations)
