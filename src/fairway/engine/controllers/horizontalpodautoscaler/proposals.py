"""How many replicas one resource metric asks for (documentation "Horizontal Pod Autoscaling", "Algorithm details")."""

import math
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

from fairway.engine.controllers.horizontalpodautoscaler.snapshot import Snapshot, Usage
from fairway.kube.api import quantities
from fairway.kube.api.autoscaling import ResourceMetric
from fairway.kube.api.pods import Pod

TOLERANCE = Decimal("0.1")
_STARTING = timedelta(minutes=5)
_READINESS_DELAY = timedelta(seconds=30)
_NO_PODS = "no pods returned by selector while calculating replica count"
_NO_METRICS = "did not receive metrics for targeted pods (pods might be unready)"

Amounts = dict[str, Decimal]


class Unknown(Exception):
    """The metric says nothing; the text tells why."""


class Proposal(msgspec.Struct, frozen=True):
    """The size, and what the pods use on average: an amount, and in percent of their requests if that is asked."""

    replicas: int
    average: Decimal
    utilization: int | None = None


class _Groups(msgspec.Struct, frozen=True):
    """Pods whose use counts; pods that do not serve yet; pods nothing is known of. By name."""

    used: Amounts
    ready: int
    unready: frozenset[str]
    missing: frozenset[str]


def propose(seen: Snapshot, metric: ResourceMetric, tolerances: tuple[Decimal, Decimal]) -> Proposal:
    """`tolerances` are those of scaling up and down.  Raises Unknown."""
    if isinstance(seen.usage, str):
        raise Unknown(f"unable to get metrics for resource {metric.name}: {seen.usage}")
    if not seen.usage:
        raise Unknown(
            f"unable to get metrics for resource {metric.name}: no metrics returned from resource metrics API"
        )
    if not seen.pods:
        raise Unknown(_NO_PODS)
    groups = _grouped(seen, metric, seen.usage)
    if not groups.used:
        raise Unknown(_NO_METRICS)
    if metric.target.average_utilization is not None:
        return _by_utilization(seen, metric, groups, metric.target.average_utilization, tolerances)
    return _by_value(seen, groups, quantities.parse(metric.target.average_value or 0), tolerances)


def _by_utilization(
    seen: Snapshot, metric: ResourceMetric, groups: _Groups, target: int, tolerances: tuple[Decimal, Decimal]
) -> Proposal:
    requests = {pod.metadata.name: _request(pod, metric) for pod in seen.pods}

    def utilization(used: Mapping[str, Decimal]) -> int:
        asked = sum((requests[name] for name in used), Decimal(0))
        if not asked:
            raise Unknown(f"no metrics returned matched known pods for {metric.name}")
        return int(sum(used.values(), Decimal(0)) * 100 / asked)

    now = utilization(groups.used)
    fallback = Decimal(max(100, target)) / 100
    replicas = _size(
        seen,
        groups,
        lambda used: Decimal(utilization(used)) / target,
        lambda name: requests[name] * fallback,
        tolerances,
    )
    return Proposal(replicas, _average(groups.used), now)


def _by_value(seen: Snapshot, groups: _Groups, target: Decimal, tolerances: tuple[Decimal, Decimal]) -> Proposal:
    if not target:
        raise Unknown("the target value is zero")
    replicas = _size(seen, groups, lambda used: _average(used) / target, lambda name: target, tolerances)
    return Proposal(replicas, _average(groups.used))


def _size(
    seen: Snapshot,
    groups: _Groups,
    ratio_of: Callable[[Mapping[str, Decimal]], Decimal],
    full: Callable[[str], Decimal],
    tolerances: tuple[Decimal, Decimal],
) -> int:
    """Pods of which nothing is known count so that they damp the change, never so that they turn it round."""
    current = seen.scale.spec.replicas
    ratio = ratio_of(groups.used)
    count_unready = bool(groups.unready) and ratio > 1
    if not count_unready and not groups.missing:
        return current if _within(ratio, tolerances) else math.ceil(ratio * groups.ready)
    used = dict(groups.used)
    if ratio < 1:
        used.update({name: full(name) for name in groups.missing})
    elif ratio > 1:
        used.update(dict.fromkeys(groups.missing, Decimal(0)))
    if count_unready:
        used.update(dict.fromkeys(groups.unready, Decimal(0)))
    damped = ratio_of(used)
    if _within(damped, tolerances) or (ratio < 1 < damped) or (damped < 1 < ratio):
        return current
    replicas = math.ceil(damped * len(used))
    turned = (damped < 1 and replicas > current) or (damped > 1 and replicas < current)
    return current if turned else replicas


def _within(ratio: Decimal, tolerances: tuple[Decimal, Decimal]) -> bool:
    up, down = tolerances
    return 1 - down <= ratio <= 1 + up


def _grouped(seen: Snapshot, metric: ResourceMetric, usage: Mapping[str, Usage]) -> _Groups:
    used: Amounts = {}
    unready: set[str] = set()
    missing: set[str] = set()
    for pod in seen.pods:
        name = pod.metadata.name
        if pod.metadata.deletion_timestamp is not None or pod.status.phase == "Failed":
            continue
        if pod.status.phase == "Pending":
            unready.add(name)
            continue
        sample = usage.get(name)
        amount = _amount(sample, metric) if sample else None
        if sample is None or amount is None:
            missing.add(name)
        elif metric.name == "cpu" and _is_starting(pod, sample, seen.now):
            unready.add(name)
        else:
            used[name] = amount
    return _Groups(used, len(used), frozenset(unready), frozenset(missing))


def _is_starting(pod: Pod, sample: Usage, now: datetime) -> bool:
    """Whether what it uses tells of its start rather than of its work."""
    condition, start = pod.status.condition("Ready"), pod.status.start_time
    if condition is None or start is None or condition.last_transition_time is None:
        return True
    if start + _STARTING > now:
        settled = condition.last_transition_time + timedelta(seconds=sample.window_seconds)
        return condition.status != "True" or sample.at < settled
    return condition.status != "True" and start + _READINESS_DELAY > condition.last_transition_time


def _amount(sample: Usage, metric: ResourceMetric) -> Decimal | None:
    """The sum over containers, or of the one that the metric names; None when it is not whole."""
    if metric.container:
        return sample.containers.get(metric.container, {}).get(metric.name)
    amounts = [amounts.get(metric.name) for amounts in sample.containers.values()]
    known = [amount for amount in amounts if amount is not None]
    return sum(known, Decimal(0)) if known and len(known) == len(amounts) else None


def _request(pod: Pod, metric: ResourceMetric) -> Decimal:
    sidecars = (item for item in pod.spec.init_containers if item.restart_policy == "Always")
    found = Decimal(0)
    for container in (*pod.spec.containers, *sidecars):
        if metric.container and container.name != metric.container:
            continue
        if metric.name not in container.resources.requests:
            where = f"container {container.name} of Pod {pod.metadata.name}"
            raise Unknown(f"missing request for {metric.name} in {where}")
        found += quantities.parse(container.resources.requests[metric.name])
    return found


def _average(used: Mapping[str, Decimal]) -> Decimal:
    return sum(used.values(), Decimal(0)) / len(used) if used else Decimal(0)
