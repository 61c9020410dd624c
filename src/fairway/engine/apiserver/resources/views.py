"""Kinds that are stored as another kind and look different: events.k8s.io events, autoscaling/v1 autoscalers."""

from datetime import datetime

from msgspec.structs import replace

from fairway.engine.apiserver.resources import ages, events, policies
from fairway.engine.apiserver.resources.kind import Cause, Conversion, Object

# Their names in the core kind: events.k8s.io name, core name.
_EVENT_FIELDS = (
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("reportingController", "reportingComponent"),
)
_TARGET = "targetCPUUtilizationPercentage"


def _always(revision: int, data: bytes) -> bool:
    """What is stored is never in this kind's form."""
    return True


def _event_shown(obj: Object) -> Object:
    shown = {**obj, "apiVersion": "events.k8s.io/v1"}
    for ours, core in _EVENT_FIELDS:
        if core in shown:
            shown[ours] = shown.pop(core)
    return shown


def _event_stored(obj: Object) -> Object:
    stored = {**obj, "apiVersion": "v1"}
    for ours, core in _EVENT_FIELDS:
        if ours in stored:
            stored[core] = stored.pop(ours)
    stored.setdefault("involvedObject", {})
    stored.setdefault("source", {})
    return stored


def _event_row(obj: Object, now: datetime) -> list[object]:
    core = _event_stored(obj)
    last = (core.get("series") or {}).get("lastObservedTime") or core.get("lastTimestamp") or core.get("eventTime")
    return [ages.since(last, now), *events.row(core, now)[1:]]


def _event_validate(new: Object, old: Object | None) -> list[Cause]:
    return events.validate(_event_stored(new), None if old is None else _event_stored(old))


EVENTS_V1 = replace(
    events.EVENTS,
    group="events.k8s.io",
    stored_as="events",
    default=lambda obj: None,
    row=_event_row,
    validate=_event_validate,
    selectable=lambda obj: events.selectable(_event_stored(obj)),
    conversion=Conversion(_always, _event_shown, _event_stored),
)


def _cpu(metric: Object) -> bool:
    return metric.get("type") == "Resource" and (metric.get("resource") or {}).get("name") == "cpu"


def _autoscaler_shown(obj: Object) -> Object:
    """Only the share of CPU has a field of its own in v1."""
    shown = {**obj, "apiVersion": "autoscaling/v1"}
    spec, status = dict(shown.get("spec") or {}), dict(shown.get("status") or {})
    for metric in spec.pop("metrics", None) or ():
        share = ((metric.get("resource") or {}).get("target") or {}).get("averageUtilization")
        if _cpu(metric) and share is not None:
            spec[_TARGET] = share
    for metric in status.pop("currentMetrics", None) or ():
        share = ((metric.get("resource") or {}).get("current") or {}).get("averageUtilization")
        if _cpu(metric) and share is not None:
            status["currentCPUUtilizationPercentage"] = share
    spec.pop("behavior", None)
    status.pop("conditions", None)
    return {**shown, "spec": spec, "status": status}


def _autoscaler_stored(obj: Object) -> Object:
    stored = {**obj, "apiVersion": "autoscaling/v2"}
    spec, status = dict(stored.get("spec") or {}), dict(stored.get("status") or {})
    share = spec.pop(_TARGET, None)
    if share is not None:
        target = {"type": "Utilization", "averageUtilization": share}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    used = status.pop("currentCPUUtilizationPercentage", None)
    if used is not None:
        current = {"name": "cpu", "current": {"averageUtilization": used}}
        status["currentMetrics"] = [{"type": "Resource", "resource": current}]
    stored["spec"], stored["status"] = spec, status
    policies.default_autoscaler(stored)
    return stored


def _autoscaler_row(obj: Object, now: datetime) -> list[object]:
    return policies.autoscaler_row(_autoscaler_stored(obj), now)


def _autoscaler_validate(new: Object, old: Object | None) -> list[Cause]:
    before = None if old is None else _autoscaler_stored(old)
    return policies.validate_autoscaler(_autoscaler_stored(new), before)


def _autoscaler_default(obj: Object) -> None:
    spec = obj.setdefault("spec", None) or {}
    obj["spec"] = spec
    if spec.get("minReplicas") is None:
        spec["minReplicas"] = 1


HORIZONTAL_POD_AUTOSCALERS_V1 = replace(
    policies.HORIZONTAL_POD_AUTOSCALERS,
    version="v1",
    stored_as="autoscaling/horizontalpodautoscalers",
    default=_autoscaler_default,
    row=_autoscaler_row,
    validate=_autoscaler_validate,
    conversion=Conversion(_always, _autoscaler_shown, _autoscaler_stored),
)
