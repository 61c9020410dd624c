"""From what the metrics ask for to what is done: stabilization, rates, limits (KEP-853)."""

import math
from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from fairway.engine.controllers.horizontalpodautoscaler.snapshot import ScaleEvent, Snapshot
from fairway.kube.api.autoscaling import ScalingPolicy, ScalingRules

_UP_DEFAULT = (
    ScalingPolicy(type="Pods", value=4, period_seconds=15),
    ScalingPolicy(type="Percent", value=100, period_seconds=15),
)
_DOWN_DEFAULT = (ScalingPolicy(type="Percent", value=100, period_seconds=15),)
_STABILIZATION_SECONDS = 300
_FASTEST_FACTOR, _FASTEST_LEAST = 2, 4

_WITHIN = ("False", "DesiredWithinRange", "the desired count is within the acceptable range")
_TOO_MANY = ("True", "TooManyReplicas", "the desired replica count is more than the maximum replica count")
_TOO_FEW = ("True", "TooFewReplicas", "the desired replica count is less than the minimum replica count")
_UP_RATE = ("True", "ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
_DOWN_RATE = ("True", "ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")
_READY = ("True", "ReadyForNewScale", "recommended size matches current size")
_UP_STABLE = (
    "True",
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)
_DOWN_STABLE = (
    "True",
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
)

Says = tuple[str, str, str]
"""Status, reason and message of a condition."""


class Normalized(msgspec.Struct, frozen=True):
    """The size, and what the conditions AbleToScale and ScalingLimited say about it."""

    replicas: int
    able: Says
    limited: Says


def normalize(seen: Snapshot, wanted: int) -> Normalized:
    """`wanted` is what the metrics ask for now; it is among the recommendations already."""
    stable, able = _stabilized(seen, wanted)
    behavior, current = seen.autoscaler.spec.behavior, seen.scale.spec.replicas
    if behavior is None:
        replicas, limited = _plainly_limited(seen, stable)
    elif stable > current:
        replicas, limited = _up(seen, behavior.scale_up or ScalingRules(), stable)
    elif stable < current:
        replicas, limited = _down(seen, behavior.scale_down or ScalingRules(), stable)
    else:
        replicas, limited = stable, _WITHIN
    return Normalized(replicas, able, limited)


def windows(seen: Snapshot) -> tuple[int, int]:
    """For how many seconds recommendations hold back going up and going down."""
    behavior = seen.autoscaler.spec.behavior
    up = (behavior.scale_up if behavior else None) or ScalingRules()
    down = (behavior.scale_down if behavior else None) or ScalingRules()
    held = down.stabilization_window_seconds
    return up.stabilization_window_seconds or 0, _STABILIZATION_SECONDS if held is None else held


def _stabilized(seen: Snapshot, wanted: int) -> tuple[int, Says]:
    up_seconds, down_seconds = windows(seen)
    current = seen.scale.spec.replicas
    lowest = min((wanted, *_recent(seen, up_seconds)))
    highest = max((wanted, *_recent(seen, down_seconds)))
    if seen.autoscaler.spec.behavior is None:
        return highest, _READY if highest == wanted else _DOWN_STABLE
    found = min(max(current, lowest), highest)
    if found == wanted:
        return found, _READY
    return found, _UP_STABLE if found >= current else _DOWN_STABLE


def _recent(seen: Snapshot, seconds: int) -> Iterable[int]:
    since = seen.now - timedelta(seconds=seconds)
    return (item.replicas for item in seen.memory.recommendations if item.at > since)


def _plainly_limited(seen: Snapshot, wanted: int) -> tuple[int, Says]:
    """Without a behavior: at most double at once (or four), between the two limits."""
    spec, current = seen.autoscaler.spec, seen.scale.spec.replicas
    fastest = max(_FASTEST_FACTOR * current, _FASTEST_LEAST)
    most, reason = (fastest, _UP_RATE) if spec.max_replicas > fastest else (spec.max_replicas, _TOO_MANY)
    if wanted < spec.min_replicas:
        return spec.min_replicas, _TOO_FEW
    return (most, reason) if wanted > most else (wanted, _WITHIN)


def _up(seen: Snapshot, rules: ScalingRules, wanted: int) -> tuple[int, Says]:
    current, most = seen.scale.spec.replicas, seen.autoscaler.spec.max_replicas
    fastest = max(current, _limit_up(seen, rules))
    most, reason = (fastest, _UP_RATE) if most > fastest else (most, _TOO_MANY)
    return (most, reason) if wanted > most else (wanted, _WITHIN)


def _down(seen: Snapshot, rules: ScalingRules, wanted: int) -> tuple[int, Says]:
    current, least = seen.scale.spec.replicas, seen.autoscaler.spec.min_replicas
    fastest = min(current, _limit_down(seen, rules))
    least, reason = (fastest, _DOWN_RATE) if least < fastest else (least, _TOO_FEW)
    return (least, reason) if wanted < least else (wanted, _WITHIN)


def _limit_up(seen: Snapshot, rules: ScalingRules) -> int:
    current = seen.scale.spec.replicas
    if rules.select_policy == "Disabled":
        return current
    limits = []
    for policy in rules.policies or _UP_DEFAULT:
        start = current - _made(seen.memory.ups, policy, seen.now) + _made(seen.memory.downs, policy, seen.now)
        percent = math.ceil(start * (100 + policy.value) / 100)
        limits.append(start + policy.value if policy.type == "Pods" else percent)
    return min(limits) if rules.select_policy == "Min" else max(limits)


def _limit_down(seen: Snapshot, rules: ScalingRules) -> int:
    current = seen.scale.spec.replicas
    if rules.select_policy == "Disabled":
        return current
    limits = []
    for policy in rules.policies or _DOWN_DEFAULT:
        start = current + _made(seen.memory.downs, policy, seen.now) - _made(seen.memory.ups, policy, seen.now)
        percent = start * (100 - policy.value) // 100
        limits.append(start - policy.value if policy.type == "Pods" else percent)
    return max(limits) if rules.select_policy == "Min" else min(limits)


def _made(events: Iterable[ScaleEvent], policy: ScalingPolicy, now: datetime) -> int:
    since = now - timedelta(seconds=policy.period_seconds)
    return sum(event.change for event in events if event.at > since)
