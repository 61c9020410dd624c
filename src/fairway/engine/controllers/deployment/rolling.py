"""How many pods each ReplicaSet should have next: rolling update, recreate, scaling.

Every function gives the sizes that change, by ReplicaSet name; an empty answer means: nothing to do now. The rules are
those of the Deployment controller ("Rolling Update Deployment", "Proportional scaling" in its documentation).
"""

from collections.abc import Sequence
from fractions import Fraction

from fairway.engine.controllers.deployment.revisions import DESIRED, MAXIMUM
from fairway.engine.controllers.deployment.snapshot import Snapshot, serving, wanted
from fairway.kube.api.workloads import ReplicaSet

Sizes = dict[str, int]


def first_size(seen: Snapshot) -> int:
    """With how many pods a new ReplicaSet starts: as many as the surge leaves room for."""
    if seen.spec.strategy.type != "RollingUpdate":
        return seen.spec.replicas
    return _grown(seen, 0)


def rolling(seen: Snapshot, new: ReplicaSet) -> Sizes:
    """One step of a rolling update: the new one up, or else the old ones down."""
    size = seen.spec.replicas if new.spec.replicas >= seen.spec.replicas else _grown(seen, new.spec.replicas)
    if size != new.spec.replicas:
        return {new.metadata.name: size}
    return _shrink_old(seen, new)


def recreate(seen: Snapshot) -> Sizes:
    """Every old one to nothing."""
    return {owned.metadata.name: 0 for owned in seen.old if owned.spec.replicas}


def is_scaling(seen: Snapshot) -> bool:
    """Whether the number of replicas changed since the ReplicaSets were last sized."""
    desired = (owned.metadata.annotations.get(DESIRED, "") for owned in seen.active)
    return any(text.isdecimal() and int(text) != seen.spec.replicas for text in desired)


def scaling(seen: Snapshot) -> Sizes:
    """Bring the ReplicaSets to a changed number of replicas without moving a rollout on."""
    only = _only_one(seen)
    if only is not None:
        return {only.metadata.name: seen.spec.replicas}
    if seen.new is not None and _saturated(seen, seen.new):
        return recreate(seen)
    return _proportional(seen) if seen.spec.strategy.type == "RollingUpdate" else {}


def _grown(seen: Snapshot, size: int) -> int:
    room = seen.spec.replicas + seen.max_surge - wanted(seen.replica_sets)
    return size + max(0, min(room, seen.spec.replicas - size))


def _shrink_old(seen: Snapshot, new: ReplicaSet) -> Sizes:
    """Take away old pods, first those that do not serve, and never more than may be missing."""
    least = seen.spec.replicas - seen.max_unavailable
    not_serving = new.spec.replicas - serving((new,))
    removable = wanted(seen.replica_sets) - least - not_serving
    if not wanted(seen.old) or removable <= 0:
        return {}
    sizes = _without_broken(seen.old, removable)
    spare = serving(seen.replica_sets) - least
    for owned in seen.old:
        size = sizes.get(owned.metadata.name, owned.spec.replicas)
        taken = max(0, min(size, spare))
        if taken:
            sizes[owned.metadata.name] = size - taken
            spare -= taken
    return sizes


def _without_broken(old: Sequence[ReplicaSet], removable: int) -> Sizes:
    sizes: Sizes = {}
    for owned in old:
        taken = min(removable, owned.spec.replicas - owned.status.available_replicas)
        if owned.spec.replicas and taken > 0:
            sizes[owned.metadata.name] = owned.spec.replicas - taken
            removable -= taken
    return sizes


def _only_one(seen: Snapshot) -> ReplicaSet | None:
    """The one ReplicaSet that any change goes to, unless a rollout is under way."""
    if len(seen.active) > 1:
        return None
    if seen.active:
        return seen.active[0]
    return seen.new or (seen.old[-1] if seen.old else None)


def _saturated(seen: Snapshot, new: ReplicaSet) -> bool:
    """Whether the new ReplicaSet carries everything already."""
    counts = {new.spec.replicas, new.status.available_replicas}
    return counts == {seen.spec.replicas} and new.metadata.annotations.get(DESIRED) == str(seen.spec.replicas)


def _proportional(seen: Snapshot) -> Sizes:
    """Share the change among the active ReplicaSets by their size; what is left over goes to the largest."""
    allowed = seen.spec.replicas + seen.max_surge if seen.spec.replicas else 0
    change = allowed - wanted(seen.active)
    if not change:
        return {owned.metadata.name: owned.spec.replicas for owned in seen.active}
    ordered = _by_size(seen.active, newer_first=change > 0)
    sizes: Sizes = {}
    shared = 0
    for owned in ordered:
        share = _share(seen, owned, change - shared)
        sizes[owned.metadata.name] = owned.spec.replicas + share
        shared += share
    left = change - shared
    for owned in ordered:
        rest = max(left, -sizes[owned.metadata.name])
        sizes[owned.metadata.name] += rest
        left -= rest
    return sizes


def _by_size(active: tuple[ReplicaSet, ...], *, newer_first: bool) -> list[ReplicaSet]:
    by_age = list(reversed(active)) if newer_first else list(active)
    return sorted(by_age, key=lambda owned: -owned.spec.replicas)


def _share(seen: Snapshot, owned: ReplicaSet, left: int) -> int:
    """What one ReplicaSet gains (or loses) so that it keeps its part of the whole."""
    size = owned.spec.replicas
    if not seen.spec.replicas:
        return max(-size, left)
    text = owned.metadata.annotations.get(MAXIMUM, "")
    before = int(text) if text.isdecimal() and int(text) else seen.deployment.status.replicas
    if not before:
        return 0
    exact = Fraction(size * (seen.spec.replicas + seen.max_surge), before)
    share = int(exact + Fraction(1, 2)) - size
    return max(0, min(share, left)) if left > 0 else min(0, max(share, left))
