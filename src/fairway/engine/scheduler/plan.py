"""Where a pod goes, or why it cannot: filters, then a score (documentation "Kubernetes Scheduler")."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from fairway.engine.scheduler.snapshot import Place, host_ports, requests
from fairway.kube.api.config import Taint
from fairway.kube.api.placement import tolerates, wants
from fairway.kube.api.pods import Pod

NO_NODES = "no nodes available to schedule pods"
_UNSCHEDULABLE = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")
_COUNTED = ("cpu", "memory")


class Bind(msgspec.Struct, frozen=True):
    """The node it goes to."""

    node: str


class Unschedulable(msgspec.Struct, frozen=True):
    """Why no node takes it, in upstream's words."""

    message: str


class Reason(msgspec.Struct, frozen=True):
    """Why one node does not take it, and whether other pods leaving would help."""

    text: str
    resolvable: bool


def plan(pod: Pod, places: Sequence[Place]) -> Bind | Unschedulable:
    """Decide for one pod."""
    if not places:
        return Unschedulable(NO_NODES)
    refusals = {place.node.metadata.name: _refusals(pod, place) for place in places}
    fitting = [place for place in places if not refusals[place.node.metadata.name]]
    if not fitting:
        return Unschedulable(_message(refusals))
    return Bind(max(fitting, key=lambda place: _score(pod, place)).node.metadata.name)


def _refusals(pod: Pod, place: Place) -> tuple[Reason, ...]:
    """Why a node does not take it: the first filter that fails says so, as upstream does."""
    for check in (_unschedulable, _untolerated, _unwanted, _ports_taken, _too_little):
        if reasons := check(pod, place):
            return reasons
    return ()


def _unschedulable(pod: Pod, place: Place) -> tuple[Reason, ...]:
    if not place.node.spec.unschedulable or _tolerated(pod, _UNSCHEDULABLE):
        return ()
    return (Reason("node(s) were unschedulable", resolvable=False),)


def _untolerated(pod: Pod, place: Place) -> tuple[Reason, ...]:
    for taint in place.node.spec.taints:
        if taint.effect != "PreferNoSchedule" and not _tolerated(pod, taint):
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


def _tolerated(pod: Pod, taint: Taint) -> bool:
    return any(tolerates(toleration, taint) for toleration in pod.spec.tolerations)


def _score(pod: Pod, place: Place) -> tuple[int, Decimal]:
    """Fewer taints that should be avoided, then the larger part that stays free."""
    avoided = sum(
        1 for taint in place.node.spec.taints if taint.effect == "PreferNoSchedule" and not _tolerated(pod, taint)
    )
    allocatable, used, asked = place.allocatable, place.used, requests(pod)
    free = Decimal(0)
    for name in _COUNTED:
        most = allocatable.get(name, Decimal(0))
        if most:
            free += (most - used.get(name, Decimal(0)) - asked.get(name, Decimal(0))) / most
    return -avoided, free


def _message(refusals: dict[str, tuple[Reason, ...]]) -> str:
    total = len(refusals)
    reasons = Counter(reason.text for found in refusals.values() for reason in found)
    helpless = sum(1 for found in refusals.values() if not all(reason.resolvable for reason in found))
    preemption = Counter(
        {
            "Preemption is not helpful for scheduling": helpless,
            "No preemption victims found for incoming pod": total - helpless,
        }
    )
    return f"{_available(total, reasons)} preemption: {_available(total, preemption)}"


def _available(total: int, reasons: Counter[str]) -> str:
    listed = sorted(f"{count} {text}" for text, count in reasons.items() if count)
    return f"0/{total} nodes are available: {', '.join(listed)}."
