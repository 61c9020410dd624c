"""Which of the nodes that take a pod is the best one: weighted points, each scaled to 0…100 over the nodes."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from fairway.engine.scheduler.affinity import Affinity
from fairway.engine.scheduler.filters import tolerated
from fairway.engine.scheduler.snapshot import Place, requests
from fairway.engine.scheduler.spread import Spread
from fairway.kube.api.placement import matches_term
from fairway.kube.api.pods import Pod

_COUNTED = ("cpu", "memory")
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_FULL = Decimal(100)

Points = Callable[[Place], Decimal]


def scores(pod: Pod, places: Sequence[Place], affinity: Affinity, spread: Spread) -> Mapping[str, Decimal]:
    """By node name; the weights are those of the default scheduler."""
    rated: tuple[tuple[int, Points], ...] = (
        (3, lambda place: Decimal(-_avoided(pod, place))),
        (2, lambda place: Decimal(_wished(pod, place))),
        (2, lambda place: Decimal(affinity.score(place))),
        (2, lambda place: Decimal(spread.score(place))),
    )
    # What stays free is a share already: scaling it would blow up small differences.
    total = {place.node.metadata.name: _free(pod, place) for place in places}
    for weight, points in rated:
        for name, value in _scaled(places, points).items():
            total[name] += weight * value
    return total


def _scaled(places: Sequence[Place], points: Points) -> Mapping[str, Decimal]:
    """The worst node has 0, the best one 100; when all are alike none has any."""
    found = {place.node.metadata.name: points(place) for place in places}
    least, most = min(found.values()), max(found.values())
    span = most - least
    return {name: (value - least) * _FULL / span if span else Decimal(0) for name, value in found.items()}


def _avoided(pod: Pod, place: Place) -> int:
    """Taints that should be avoided."""
    taints = place.node.spec.taints
    return sum(taint.effect == "PreferNoSchedule" and not tolerated(pod, taint) for taint in taints)


def _wished(pod: Pod, place: Place) -> int:
    """The weights of preferred node affinity that hold."""
    rules = ((pod.spec.affinity or {}).get("nodeAffinity") or {}).get(_PREFERRED) or ()
    return sum(int(rule["weight"]) for rule in rules if matches_term(rule.get("preference") or {}, place.node))


def _free(pod: Pod, place: Place) -> Decimal:
    """The larger share that stays free, in percent."""
    allocatable, used, asked = place.allocatable, place.used, requests(pod)
    free = Decimal(0)
    for name in _COUNTED:
        most = allocatable.get(name, Decimal(0))
        if most:
            free += (most - used.get(name, Decimal(0)) - asked.get(name, Decimal(0))) / most
    return free * _FULL / len(_COUNTED)
