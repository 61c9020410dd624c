"""What a HorizontalPodAutoscaler does now: the new size of its target, if any, and what to report."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from msgspec.structs import replace

from fairway.engine.controllers.conditions import Conditions, without
from fairway.engine.controllers.horizontalpodautoscaler.normalizing import normalize, windows
from fairway.engine.controllers.horizontalpodautoscaler.proposals import TOLERANCE, Proposal, Unknown, propose
from fairway.engine.controllers.horizontalpodautoscaler.snapshot import Memory, Recommendation, ScaleEvent, Snapshot
from fairway.kube.api import quantities
from fairway.kube.api.autoscaling import (
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerStatus,
    MetricSpec,
    ResourceMetric,
    ScalingRules,
)
from fairway.kube.api.meta import Condition

ABLE, ACTIVE, LIMITED = "AbleToScale", "ScalingActive", "ScalingLimited"
_OTHER_SOURCES = {
    "Pods": ("FailedGetPodsMetric", "pods", "custom"),
    "Object": ("FailedGetObjectMetric", "object", "custom"),
    "External": ("FailedGetExternalMetric", "external", "external"),
}
_EVENTS_KEPT_SECONDS = 1800


class News(msgspec.Struct, frozen=True):
    """An event on the autoscaler."""

    type: str
    reason: str
    message: str


class Plan(msgspec.Struct, frozen=True):
    """The new size of the target (None: as it is) with the reason, what to report, tell and remember."""

    status: HorizontalPodAutoscalerStatus
    memory: Memory
    replicas: int | None = None
    reason: str = ""
    news: tuple[News, ...] = ()


class _Measured(msgspec.Struct, frozen=True):
    """What all metrics together ask for; `failure` is why nothing can be said."""

    replicas: int = 0
    name: str = ""
    shown: tuple[Mapping[str, Any], ...] = ()
    active: Condition | None = None
    failure: str = ""
    news: tuple[News, ...] = ()


def plan(seen: Snapshot) -> Plan:
    """Decide."""
    spec, current = seen.autoscaler.spec, seen.scale.spec.replicas
    able = ("True", "SucceededGetScale", "the HPA controller was able to get the target's current scale")
    conditions = _set(seen, seen.autoscaler.status.conditions, ABLE, *able)
    if current == 0 and spec.min_replicas != 0:
        says = ("False", "ScalingDisabled", "scaling is disabled since the replica count of the target is zero")
        return Plan(_status(seen, _set(seen, conditions, ACTIVE, *says), 0), seen.memory)
    if current > spec.max_replicas:
        return _bounded(seen, conditions, spec.max_replicas, "Current number of replicas above Spec.MaxReplicas")
    if current < spec.min_replicas:
        return _bounded(seen, conditions, spec.min_replicas, "Current number of replicas below Spec.MinReplicas")
    measured = _measure(seen)
    if measured.active is not None:
        conditions = _put(conditions, measured.active)
    if measured.failure:
        news = (*measured.news, News("Warning", "FailedComputeMetricsReplicas", measured.failure))
        kept = seen.autoscaler.status.desired_replicas
        return Plan(_status(seen, conditions, kept, measured.shown), seen.memory, news=news)
    return _normalized(seen, conditions, measured)


def scaled(seen: Snapshot, decided: Plan) -> Plan:
    """With the news that the target took its new size."""
    replicas = decided.replicas
    if replicas is None:
        return decided
    message = f"New size: {replicas}; reason: {decided.reason}"
    says = ("True", "SucceededRescale", f"the HPA controller was able to update the target scale to {replicas}")
    conditions = _set(seen, decided.status.conditions, ABLE, *says)
    status = replace(decided.status, conditions=conditions, last_scale_time=seen.now.replace(microsecond=0))
    change = ScaleEvent(seen.now, abs(replicas - seen.scale.spec.replicas))
    memory = decided.memory
    if replicas > seen.scale.spec.replicas:
        memory = replace(memory, ups=(*memory.ups, change))
    else:
        memory = replace(memory, downs=(*memory.downs, change))
    news = (*decided.news, News("Normal", "SuccessfulRescale", message))
    return replace(decided, status=status, memory=memory, news=news)


def not_scaled(seen: Snapshot, decided: Plan, error: str) -> Plan:
    """With the news that the target refused its new size."""
    message = f"New size: {decided.replicas}; reason: {decided.reason}; error: {error}"
    says = ("False", "FailedUpdateScale", f"the HPA controller was unable to update the target scale: {error}")
    conditions = _set(seen, decided.status.conditions, ABLE, *says)
    status = replace(decided.status, conditions=conditions, desired_replicas=seen.scale.spec.replicas)
    news = (*decided.news, News("Warning", "FailedRescale", message))
    return replace(decided, status=status, news=news)


def no_scale(
    autoscaler: HorizontalPodAutoscaler, error: str, now: datetime
) -> tuple[HorizontalPodAutoscalerStatus, News]:
    """What to report when the target has no scale."""
    says = f"the HPA controller was unable to get the target's current scale: {error}"
    condition = _condition(ABLE, "False", "FailedGetScale", says, now)
    conditions = _put(autoscaler.status.conditions, condition)
    return replace(autoscaler.status, conditions=conditions), News("Warning", "FailedGetScale", error)


def _bounded(seen: Snapshot, conditions: Conditions, replicas: int, reason: str) -> Plan:
    shown = seen.autoscaler.status.current_metrics
    return Plan(_status(seen, conditions, replicas, shown), seen.memory, replicas, reason)


def _normalized(seen: Snapshot, conditions: Conditions, measured: _Measured) -> Plan:
    current = seen.scale.spec.replicas
    seen = replace(seen, memory=_remember(seen, measured.replicas))
    found = normalize(seen, measured.replicas)
    conditions = _set(seen, conditions, ABLE, *found.able)
    conditions = _set(seen, conditions, LIMITED, *found.limited)
    status = _status(seen, conditions, found.replicas, measured.shown)
    if found.replicas == current:
        return Plan(status, seen.memory, news=measured.news)
    above = measured.replicas > current
    reason = f"{measured.name} above target" if above else "All metrics below target"
    return Plan(status, seen.memory, found.replicas, reason, measured.news)


def _remember(seen: Snapshot, wanted: int) -> Memory:
    """The first look remembers the size that it found, so that a restart scales nothing down in a hurry."""
    memory, now = seen.memory, seen.now
    known = memory.recommendations or (Recommendation(now, seen.scale.spec.replicas),)
    since = now - timedelta(seconds=max(windows(seen)))
    kept = tuple(item for item in known if item.at > since)
    events_since = now - timedelta(seconds=_EVENTS_KEPT_SECONDS)
    return Memory(
        (*kept, Recommendation(now, wanted)),
        tuple(event for event in memory.ups if event.at > events_since),
        tuple(event for event in memory.downs if event.at > events_since),
    )


# --- metrics


def _measure(seen: Snapshot) -> _Measured:
    if not seen.scale.status.selector:
        says = "the HPA target's scale is missing a selector"
        active = _condition(ACTIVE, "False", "InvalidSelector", says, seen.now)
        told = News("Warning", "SelectorRequired", "selector is required")
        return _Measured(active=active, failure="selector is required", news=(told,))
    specs = seen.autoscaler.spec.metrics
    best: tuple[int, str] = (0, "")
    shown: list[Mapping[str, Any]] = []
    failures: list[tuple[str, str, str]] = []
    for metric in specs:
        try:
            proposal, name = _propose(seen, metric)
        except Unknown as error:
            failures.append((_reason(metric), str(error), f"{_what(metric)}: {error}"))
            continue
        shown.append(_shown(metric, proposal))
        if not best[1] or proposal.replicas > best[0]:
            best = (proposal.replicas, name)
    news = tuple(News("Warning", reason, error) for reason, error, _ in failures)
    if len(failures) >= len(specs) or (failures and best[0] < seen.scale.spec.replicas):
        return _unmeasured(seen, failures, len(specs), tuple(shown), news)
    says = f"the HPA was able to successfully calculate a replica count from {best[1]}"
    active = _condition(ACTIVE, "True", "ValidMetricFound", says, seen.now)
    return _Measured(best[0], best[1], tuple(shown), active, news=news)


def _unmeasured(
    seen: Snapshot,
    failures: list[tuple[str, str, str]],
    total: int,
    shown: tuple[Mapping[str, Any], ...],
    news: tuple[News, ...],
) -> _Measured:
    """When any metric is unknown, nothing is scaled down."""
    reason, error, whole = failures[0] if failures else ("InvalidMetricSourceType", "no metrics", "no metrics")
    says = f"the HPA was unable to compute the replica count: {error}"
    active = _condition(ACTIVE, "False", reason, says, seen.now)
    failure = f"invalid metrics ({len(failures)} invalid out of {total}), first error is: {whole}"
    return _Measured(shown=shown, active=active, failure=failure, news=news)


def _propose(seen: Snapshot, metric: MetricSpec) -> tuple[Proposal, str]:
    """The proposal and what the metric is called in reasons.  Raises Unknown."""
    source = _source(metric)
    if source is None:
        kind = _OTHER_SOURCES.get(metric.type, ("", "", "custom"))[2]
        raise Unknown(f"unable to fetch metrics from {kind} metrics API: no {kind} metrics API registered")
    named = f"{source.name} container" if source.container else source.name
    try:
        proposal = propose(seen, source, _tolerances(seen))
    except Unknown as error:
        if source.target.average_utilization is None:
            raise Unknown(f"failed to get {source.name} usage: {error}") from None
        raise Unknown(f"failed to get {source.name} utilization: {error}") from None
    if source.target.average_utilization is None:
        return proposal, f"{named} resource"
    return proposal, f"{named} resource utilization (percentage of request)"


def _tolerances(seen: Snapshot) -> tuple[Decimal, Decimal]:
    behavior = seen.autoscaler.spec.behavior
    rules = (behavior.scale_up, behavior.scale_down) if behavior else (None, None)
    up, down = (_tolerance(item) for item in rules)
    return up, down


def _tolerance(rules: ScalingRules | None) -> Decimal:
    return TOLERANCE if rules is None or rules.tolerance is None else quantities.parse(rules.tolerance)


def _source(metric: MetricSpec) -> ResourceMetric | None:
    if metric.type == "Resource":
        return metric.resource
    return metric.container_resource if metric.type == "ContainerResource" else None


def _reason(metric: MetricSpec) -> str:
    own = {"Resource": "FailedGetResourceMetric", "ContainerResource": "FailedGetContainerResourceMetric"}
    return own.get(metric.type) or _OTHER_SOURCES.get(metric.type, ("InvalidMetricSourceType",))[0]


def _what(metric: MetricSpec) -> str:
    source = _source(metric)
    if source is None:
        return f"failed to get {_OTHER_SOURCES.get(metric.type, ('', 'unknown'))[1]} metric value"
    container = " container" if metric.type == "ContainerResource" else ""
    return f"failed to get {source.name}{container} resource metric value"


def _shown(metric: MetricSpec, proposal: Proposal) -> Mapping[str, Any]:
    """One entry of status.currentMetrics."""
    source = _source(metric)
    assert source is not None
    current: dict[str, Any] = {"averageValue": _text(proposal.average)}
    if proposal.utilization is not None:
        current["averageUtilization"] = proposal.utilization
    inner: dict[str, Any] = {"name": source.name, "current": current}
    if metric.type == "ContainerResource":
        return {"type": metric.type, "containerResource": {**inner, "container": source.container}}
    return {"type": metric.type, "resource": inner}


def _text(amount: Decimal) -> str:
    millis = int(amount * 1000)
    return f"{millis}m" if millis % 1000 else str(millis // 1000)


# --- status


def _status(
    seen: Snapshot, conditions: Conditions, desired: int, shown: Iterable[Mapping[str, Any]] = ()
) -> HorizontalPodAutoscalerStatus:
    before = seen.autoscaler.status
    return HorizontalPodAutoscalerStatus(
        observed_generation=seen.autoscaler.metadata.generation or None,
        last_scale_time=before.last_scale_time,
        current_replicas=seen.scale.spec.replicas,
        desired_replicas=desired,
        current_metrics=tuple(shown),
        conditions=conditions,
    )


def _set(seen: Snapshot, conditions: Conditions, type: str, status: str, reason: str, message: str) -> Conditions:
    return _put(conditions, _condition(type, status, reason, message, seen.now))


def _put(conditions: Conditions, new: Condition) -> Conditions:
    """In its place; the time changes with the status alone."""
    known = next((item for item in conditions if item.type == new.type), None)
    if known is None:
        return (*conditions, new)
    if known.status == new.status:
        new = replace(new, last_transition_time=known.last_transition_time)
    rest = {item.type: item for item in without(conditions, new.type)}
    return tuple(new if item.type == new.type else rest[item.type] for item in conditions)


def _condition(type: str, status: str, reason: str, message: str, now: datetime) -> Condition:
    return Condition(
        type=type, status=status, reason=reason, message=message, last_transition_time=now.replace(microsecond=0)
    )
