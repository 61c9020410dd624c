"""Where a pod goes, or why it cannot: filters, then a score (documentation "Kubernetes Scheduler")."""

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from fairway.engine.scheduler.affinity import Affinity
from fairway.engine.scheduler.filters import Reason, refusals
from fairway.engine.scheduler.scoring import scores
from fairway.engine.scheduler.snapshot import Labels, Place
from fairway.engine.scheduler.spread import Spread
from fairway.kube.api.pods import Pod

NO_NODES = "no nodes available to schedule pods"


class Bind(msgspec.Struct, frozen=True):
    """The node it goes to."""

    node: str


class Unschedulable(msgspec.Struct, frozen=True):
    """Why no node takes it, in upstream's words."""

    message: str


def plan(pod: Pod, places: Sequence[Place], namespaces: Mapping[str, Labels] | None = None) -> Bind | Unschedulable:
    """Decide for one pod; `namespaces` has the labels of each."""
    if not places:
        return Unschedulable(NO_NODES)
    affinity = Affinity.of(pod, places, namespaces or {})
    spread = Spread.of(pod, places)
    refused = {place.node.metadata.name: _refused(pod, place, affinity, spread) for place in places}
    fitting = [place for place in places if not refused[place.node.metadata.name]]
    if not fitting:
        return Unschedulable(_message(refused))
    if len(fitting) == 1:
        return Bind(fitting[0].node.metadata.name)
    found = scores(pod, fitting, affinity, spread)
    return Bind(max(fitting, key=lambda place: found[place.node.metadata.name]).node.metadata.name)


def _refused(pod: Pod, place: Place, affinity: Affinity, spread: Spread) -> tuple[Reason, ...]:
    """Why a node does not take it: the first filter that fails says so, as upstream does."""
    return refusals(pod, place) or spread.refusals(place) or affinity.refusals(place)


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
