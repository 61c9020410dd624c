"""Pods that want to be near other pods, or away from them (documentation "Inter-pod affinity and anti-affinity")."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from fairway.engine.scheduler.filters import Reason
from fairway.engine.scheduler.snapshot import Labels, Place
from fairway.kube.api.meta import LabelSelector
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import Pod
from fairway.kube.api.selectors import Requirement, Selector, from_object

Pair = tuple[str, str]
"""A topology key and its value on a node."""

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_FAR = Reason("node(s) didn't match pod affinity rules", resolvable=False)
_NEAR = Reason("node(s) didn't match pod anti-affinity rules", resolvable=True)
_UNWELCOME = Reason("node(s) didn't satisfy existing pods anti-affinity rules", resolvable=True)


class Term(msgspec.Struct, frozen=True):
    """Which pods are meant, and what counts as the same place. `namespaces` None means: picked by their labels."""

    selector: Selector | None
    topology_key: str
    namespaces: frozenset[str]
    namespace_selector: Selector | None = None
    weight: int = 0

    def matches(self, pod: Pod, namespaces: Mapping[str, Labels]) -> bool:
        """Whether a pod is one of those meant."""
        if self.selector is None or not self.selector.matches(pod.metadata.labels):
            return False
        name = pod.metadata.namespace
        if name in self.namespaces:
            return True
        return self.namespace_selector is not None and self.namespace_selector.matches(namespaces.get(name, {}))

    def pair(self, place: Place) -> Pair | None:
        """Where a node lies for this term; None when it has no such label."""
        value = place.node.metadata.labels.get(self.topology_key)
        return None if value is None else (self.topology_key, value)


class Affinity(msgspec.Struct, frozen=True):
    """What is required of each node, counted once for a pod, and by how much each place is preferred."""

    near: tuple[Term, ...] = ()
    away: tuple[Term, ...] = ()
    near_pairs: frozenset[Pair] = frozenset()
    away_pairs: frozenset[Pair] = frozenset()
    closed_pairs: frozenset[Pair] = frozenset()
    alone: bool = False
    preferred: Mapping[Pair, int] = {}

    @classmethod
    def of(cls, pod: Pod, places: Sequence[Place], namespaces: Mapping[str, Labels]) -> "Affinity":
        """Look at all pods once."""
        near, away = required(pod, "podAffinity"), required(pod, "podAntiAffinity")
        near_pairs: set[Pair] = set()
        away_pairs: set[Pair] = set()
        closed_pairs: set[Pair] = set()
        for place in places:
            for other in place.pods:
                if near and all(term.matches(other, namespaces) for term in near):
                    near_pairs |= _pairs(near, place)
                away_pairs |= _pairs((term for term in away if term.matches(other, namespaces)), place)
                theirs = required(other, "podAntiAffinity")
                closed_pairs |= _pairs((term for term in theirs if term.matches(pod, namespaces)), place)
        # The first pod of a group that wants to be together has nobody to be near to.
        alone = bool(near) and not near_pairs and all(term.matches(pod, namespaces) for term in near)
        return cls(
            near,
            away,
            frozenset(near_pairs),
            frozenset(away_pairs),
            frozenset(closed_pairs),
            alone,
            _preferred(pod, places, namespaces),
        )

    def refusals(self, place: Place) -> tuple[Reason, ...]:
        """Why the other pods keep this one from a node."""
        if not all(self._is_near(term, place) for term in self.near):
            return (_FAR,)
        if any(term.pair(place) in self.away_pairs for term in self.away):
            return (_NEAR,)
        labels = place.node.metadata.labels
        if any(labels.get(key) == value for key, value in self.closed_pairs):
            return (_UNWELCOME,)
        return ()

    def score(self, place: Place) -> int:
        """How much the pods around are preferred."""
        labels = place.node.metadata.labels
        return sum(weight for (key, value), weight in self.preferred.items() if labels.get(key) == value)

    def _is_near(self, term: Term, place: Place) -> bool:
        pair = term.pair(place)
        return pair is not None and (self.alone or pair in self.near_pairs)


def required(pod: Pod, kind: str) -> tuple[Term, ...]:
    """The terms of `podAffinity` or `podAntiAffinity` that must hold."""
    rules = (pod.spec.affinity or {}).get(kind)
    return tuple(_term(pod, raw) for raw in rules.get(_REQUIRED) or ()) if rules else ()


def _wished(pod: Pod, kind: str) -> tuple[Term, ...]:
    rules = (pod.spec.affinity or {}).get(kind)
    sign = 1 if kind == "podAffinity" else -1
    listed = rules.get(_PREFERRED) or () if rules else ()
    return tuple(_term(pod, raw["podAffinityTerm"], sign * int(raw["weight"])) for raw in listed)


def _preferred(pod: Pod, places: Sequence[Place], namespaces: Mapping[str, Labels]) -> Mapping[Pair, int]:
    """Both what this pod prefers and what the pods that are there prefer about it."""
    own = (*_wished(pod, "podAffinity"), *_wished(pod, "podAntiAffinity"))
    found: Counter[Pair] = Counter()
    for place in places:
        for other in place.pods:
            theirs = (*_wished(other, "podAffinity"), *_wished(other, "podAntiAffinity")) if other.spec.affinity else ()
            matching = [term for term in own if term.matches(other, namespaces)]
            matching += [term for term in theirs if term.matches(pod, namespaces)]
            for term in matching:
                if pair := term.pair(place):
                    found[pair] += term.weight
    return found


def _pairs(terms: Iterable[Term], place: Place) -> set[Pair]:
    return {pair for term in terms if (pair := term.pair(place))}


def _term(pod: Pod, raw: Mapping[str, Any], weight: int = 0) -> Term:
    given = raw.get("labelSelector")
    selector = None if given is None else with_keys(pod, from_object(decode(LabelSelector, given)), raw)
    chosen = raw.get("namespaceSelector")
    named = frozenset(raw.get("namespaces") or ())
    return Term(
        selector=selector,
        topology_key=str(raw.get("topologyKey", "")),
        namespaces=named if named or chosen is not None else frozenset({pod.metadata.namespace}),
        namespace_selector=None if chosen is None else from_object(decode(LabelSelector, chosen)),
        weight=weight,
    )


def with_keys(pod: Pod, selector: Selector, raw: Mapping[str, Any]) -> Selector:
    """With `matchLabelKeys` and `mismatchLabelKeys`: the pod's own values, or any other ones (KEP-3633, KEP-3243)."""
    labels = pod.metadata.labels
    keys = [(key, "In") for key in raw.get("matchLabelKeys") or ()]
    keys += [(key, "NotIn") for key in raw.get("mismatchLabelKeys") or ()]
    added = tuple(Requirement(key, operator, (labels[key],)) for key, operator in keys if key in labels)
    return Selector((*selector.requirements, *added))
