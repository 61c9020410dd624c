"""Pods spread evenly over zones and nodes (documentation "Pod Topology Spread Constraints")."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fairway.engine.scheduler.affinity import with_keys
from fairway.engine.scheduler.filters import Reason
from fairway.engine.scheduler.snapshot import Place
from fairway.kube.api.meta import LabelSelector
from fairway.kube.api.noun import decode
from fairway.kube.api.placement import untolerated, wants
from fairway.kube.api.pods import Pod
from fairway.kube.api.selectors import from_object

_SKEWED = Reason("node(s) didn't match pod topology spread constraints", resolvable=True)
_UNLABELLED = Reason("node(s) didn't match pod topology spread constraints (missing required label)", resolvable=False)


class Constraint(msgspec.Struct, frozen=True):
    """One constraint and how many matching pods each domain has; `itself` is 1 when the pod matches, too."""

    key: str
    skew_max: int
    counts: Mapping[str, int]
    itself: int
    least: int
    required: bool

    def skew(self, domain: str) -> int:
        """How uneven it would be with the pod there."""
        return self.counts.get(domain, 0) + self.itself - self.least


class Spread(msgspec.Struct, frozen=True):
    """The constraints of a pod, counted once."""

    constraints: tuple[Constraint, ...] = ()

    @classmethod
    def of(cls, pod: Pod, places: Sequence[Place]) -> "Spread":
        """Look at all pods once."""
        given = pod.spec.topology_spread_constraints
        required = [raw["topologyKey"] for raw in given if _is_required(raw)]
        return cls(tuple(_count(pod, raw, places, required if _is_required(raw) else ()) for raw in given))

    def refusals(self, place: Place) -> tuple[Reason, ...]:
        """Why a node would make it too uneven."""
        labels = place.node.metadata.labels
        for constraint in self.constraints:
            if constraint.required:
                domain = labels.get(constraint.key)
                if domain is None:
                    return (_UNLABELLED,)
                if constraint.skew(domain) > constraint.skew_max:
                    return (_SKEWED,)
        return ()

    def score(self, place: Place) -> int:
        """Higher where fewer of the pods are, by the constraints that may be broken."""
        labels = place.node.metadata.labels
        soft = (constraint for constraint in self.constraints if not constraint.required)
        return -sum(constraint.counts.get(labels.get(constraint.key, ""), 0) for constraint in soft)


def _count(pod: Pod, raw: Mapping[str, Any], places: Sequence[Place], required: Sequence[str]) -> Constraint:
    key = str(raw["topologyKey"])
    given = raw.get("labelSelector")
    selector = None if given is None else with_keys(pod, from_object(decode(LabelSelector, given)), raw)
    counts: dict[str, int] = {}
    for place in places:
        labels = place.node.metadata.labels
        if key not in labels or any(other not in labels for other in required) or not _counts(pod, raw, place):
            continue
        near = [other for other in place.pods if _same_group(pod, other)]
        found = sum(selector is not None and selector.matches(other.metadata.labels) for other in near)
        counts[labels[key]] = counts.get(labels[key], 0) + found
    too_few = len(counts) < int(raw.get("minDomains") or 1)
    least = 0 if too_few else min(counts.values(), default=0)
    itself = int(selector is not None and selector.matches(pod.metadata.labels))
    return Constraint(key, int(raw.get("maxSkew", 1)), counts, itself, least, _is_required(raw))


def _is_required(raw: Mapping[str, Any]) -> bool:
    return bool(raw.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule")


def _same_group(pod: Pod, other: Pod) -> bool:
    return other.metadata.namespace == pod.metadata.namespace and other.metadata.deletion_timestamp is None


def _counts(pod: Pod, raw: Mapping[str, Any], place: Place) -> bool:
    """Whether a node is among those that are compared (`nodeAffinityPolicy`, `nodeTaintsPolicy`)."""
    if raw.get("nodeAffinityPolicy", "Honor") == "Honor" and not wants(pod.spec, place.node):
        return False
    if raw.get("nodeTaintsPolicy", "Ignore") == "Ignore":
        return True
    return untolerated(place.node.spec.taints, pod.spec.tolerations, "NoSchedule", "NoExecute") is None
