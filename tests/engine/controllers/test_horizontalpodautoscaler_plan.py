"""What an autoscaler decides from metrics, as tables."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fairway.engine.controllers.horizontalpodautoscaler.plan import Plan, no_scale, not_scaled, plan, scaled
from fairway.engine.controllers.horizontalpodautoscaler.snapshot import (
    Memory,
    Recommendation,
    ScaleEvent,
    Snapshot,
    Usage,
)
from fairway.kube.api.autoscaling import HorizontalPodAutoscaler, Scale
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import Pod

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LONG_AGO = "2026-01-01T00:00:00Z"
SELECTOR = "app=web"


def autoscaler(target: int | str = 50, *, least: int = 1, most: int = 10, **spec: Any) -> HorizontalPodAutoscaler:
    wanted = {"type": "Utilization", "averageUtilization": target}
    if isinstance(target, str):
        wanted = {"type": "AverageValue", "averageValue": target}
    metrics = [{"type": "Resource", "resource": {"name": "cpu", "target": wanted}}]
    raw = {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": least,
            "maxReplicas": most,
            "metrics": metrics,
            **spec,
        },
    }
    return decode(HorizontalPodAutoscaler, raw)


def pod(name: str, *, ready: bool = True, phase: str = "Running", since: str = LONG_AGO, request: str = "100m") -> Pod:
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": since}
    container = {"name": "main", "resources": {"requests": {"cpu": request}} if request else {}}
    return decode(
        Pod,
        {
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"containers": [container]},
            "status": {"phase": phase, "conditions": [condition], "startTime": since},
        },
    )


def used(millis: int) -> Usage:
    return Usage({"main": {"cpu": Decimal(millis) / 1000}}, NOW, 15)


def snapshot(
    owner: HorizontalPodAutoscaler,
    replicas: int,
    usage: Mapping[str, int] | str,
    *pods: Pod,
    memory: Memory | None = None,
    selector: str = SELECTOR,
) -> Snapshot:
    scale = decode(Scale, {"spec": {"replicas": replicas}, "status": {"replicas": replicas, "selector": selector}})
    samples = usage if isinstance(usage, str) else {name: used(millis) for name, millis in usage.items()}
    found = pods or tuple(pod(f"web-{number}") for number in range(replicas))
    return Snapshot(owner, scale, found, samples, NOW, memory or Memory((Recommendation(NOW, 0),)))


def even(replicas: int, millis: int) -> dict[str, int]:
    return {f"web-{number}": millis for number in range(replicas)}


def met(found: Plan) -> dict[str, tuple[str, str]]:
    return {item.type: (item.status, item.reason) for item in found.status.conditions}


@pytest.mark.parametrize(
    ("replicas", "millis", "wanted", "reason"),
    [
        (2, 50, None, ""),  # exactly on target
        (2, 54, None, ""),  # within the tolerance
        (2, 46, None, ""),
        (2, 75, 3, "cpu resource utilization (percentage of request) above target"),
        (2, 100, 4, "cpu resource utilization (percentage of request) above target"),
        (4, 25, 2, "All metrics below target"),
        (4, 0, 1, "All metrics below target"),  # not below the minimum
        (3, 400, 6, "cpu resource utilization (percentage of request) above target"),  # at most double
        (8, 100, 10, "cpu resource utilization (percentage of request) above target"),  # at most the maximum
    ],
)
def test_sizes_by_utilization(replicas: int, millis: int, wanted: int | None, reason: str) -> None:
    found = plan(snapshot(autoscaler(), replicas, even(replicas, millis)))
    assert (found.replicas, found.reason) == (wanted, reason)
    assert found.status.desired_replicas == (wanted or replicas)
    current = found.status.current_metrics[0]["resource"]["current"]
    assert current == {"averageUtilization": millis, "averageValue": f"{millis}m" if millis else "0"}
    assert met(found)["ScalingActive"] == ("True", "ValidMetricFound")


def test_sizes_by_value() -> None:
    found = plan(snapshot(autoscaler("20m"), 2, even(2, 50)))
    assert (found.replicas, found.reason) == (4, "cpu resource above target")  # 5, but at most double
    assert met(found)["ScalingLimited"] == ("True", "ScaleUpLimit")


@pytest.mark.parametrize(
    ("replicas", "wanted", "reason"),
    [
        (20, 10, "Current number of replicas above Spec.MaxReplicas"),
        (1, 2, "Current number of replicas below Spec.MinReplicas"),
        (0, None, ""),
    ],
)
def test_bounds_need_no_metrics(replicas: int, wanted: int | None, reason: str) -> None:
    found = plan(snapshot(autoscaler(least=2), replicas, "no metrics"))
    assert (found.replicas, found.reason) == (wanted, reason)
    if not replicas:
        assert met(found)["ScalingActive"] == ("False", "ScalingDisabled")


def test_without_metrics_nothing_is_done_and_everything_is_told() -> None:
    why = "unable to fetch metrics from resource metrics API: the server could not find the requested resource"
    found = plan(snapshot(autoscaler(), 2, why))
    assert found.replicas is None
    assert met(found) == {
        "AbleToScale": ("True", "SucceededGetScale"),
        "ScalingActive": ("False", "FailedGetResourceMetric"),
    }
    first, second = found.news
    inner = f"failed to get cpu utilization: unable to get metrics for resource cpu: {why}"
    assert (first.reason, first.message) == ("FailedGetResourceMetric", inner)
    assert second.reason == "FailedComputeMetricsReplicas"
    assert second.message == (
        f"invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: {inner}"
    )


@pytest.mark.parametrize(
    ("pods", "usage", "says"),
    [
        ([pod("a", request="")], {"a": 10}, "missing request for cpu in container main of Pod a"),
        ([pod("a", phase="Pending")], {"a": 10}, "did not receive metrics for targeted pods"),
        ([pod("a")], {}, "no metrics returned from resource metrics API"),
    ],
)
def test_why_a_metric_says_nothing(pods: list[Pod], usage: dict[str, int], says: str) -> None:
    found = plan(snapshot(autoscaler(), 1, usage, *pods))
    assert says in found.news[0].message


def test_a_target_without_a_selector() -> None:
    found = plan(snapshot(autoscaler(), 2, {}, selector=""))
    assert met(found)["ScalingActive"] == ("False", "InvalidSelector")


@pytest.mark.parametrize(
    ("usage", "pods", "wanted"),
    [
        # Going up, pods of which nothing is known use nothing.
        ({"a": 100, "b": 100}, ["a", "b", "c", "d"], None),
        ({"a": 200, "b": 200}, ["a", "b", "c", "d"], 8),
        # Going down, they use all that they ask for.
        ({"a": 10, "b": 10}, ["a", "b", "c", "d"], None),
        ({"a": 10, "b": 10, "c": 10}, ["a", "b", "c", "d"], 3),
    ],
)
def test_missing_pods_damp_the_change(usage: dict[str, int], pods: list[str], wanted: int | None) -> None:
    found = plan(snapshot(autoscaler(), 4, usage, *(pod(name) for name in pods)))
    assert found.replicas == wanted


def test_pods_that_start_do_not_count_as_busy() -> None:
    starting = pod("b", ready=False, since="2026-01-01T11:59:30Z")
    found = plan(snapshot(autoscaler(), 2, {"a": 100, "b": 1000}, pod("a"), starting))
    assert found.replicas is None  # 100 m over two pods is on target


def test_scaling_down_waits_for_what_was_asked_before() -> None:
    memory = Memory((Recommendation(NOW - timedelta(seconds=200), 4),))
    found = plan(snapshot(autoscaler(), 4, even(4, 10), memory=memory))
    assert found.replicas is None
    assert met(found)["AbleToScale"] == ("True", "ScaleDownStabilized")
    late = Memory((Recommendation(NOW - timedelta(seconds=301), 4),))
    assert plan(snapshot(autoscaler(), 4, even(4, 10), memory=late)).replicas == 1


def test_the_first_look_scales_nothing_down() -> None:
    seen = snapshot(autoscaler(), 4, even(4, 10))
    found = plan(replace(seen, memory=Memory()))
    assert found.replicas is None
    assert [item.replicas for item in found.memory.recommendations] == [4, 1]


UP = {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}
DOWN = {
    "scaleDown": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Percent", "value": 25, "periodSeconds": 60}]}
}


@pytest.mark.parametrize(
    ("behavior", "replicas", "millis", "memory", "wanted", "limited"),
    [
        (UP, 2, 200, Memory(), 3, "ScaleUpLimit"),
        (UP, 3, 200, Memory(ups=(ScaleEvent(NOW - timedelta(seconds=30), 1),)), None, "ScaleUpLimit"),
        (UP, 3, 200, Memory(ups=(ScaleEvent(NOW - timedelta(seconds=90), 1),)), 4, "ScaleUpLimit"),
        (DOWN, 8, 1, Memory((Recommendation(NOW, 0),)), 6, "ScaleDownLimit"),
        (
            DOWN,
            6,
            1,
            Memory((Recommendation(NOW, 0),), downs=(ScaleEvent(NOW - timedelta(seconds=30), 2),)),
            None,
            "ScaleDownLimit",
        ),
        ({"scaleUp": {"selectPolicy": "Disabled"}}, 2, 200, Memory(), None, "ScaleUpLimit"),
        ({"scaleUp": {"stabilizationWindowSeconds": 60}}, 2, 75, Memory((Recommendation(NOW, 2),)), None, ""),
        ({"scaleUp": {}}, 2, 5000, Memory(), 6, "ScaleUpLimit"),  # four pods at once, or double
    ],
)
def test_behavior(
    behavior: dict[str, Any], replicas: int, millis: int, memory: Memory, wanted: int | None, limited: str
) -> None:
    found = plan(snapshot(autoscaler(behavior=behavior), replicas, even(replicas, millis), memory=memory))
    assert found.replicas == wanted
    assert met(found)["ScalingLimited"][1] == (limited or "DesiredWithinRange")


def test_what_is_told_afterwards() -> None:
    seen = snapshot(autoscaler(), 2, even(2, 100))
    decided = plan(seen)
    done = scaled(seen, decided)
    assert done.news[-1].message == "New size: 4; reason: cpu resource utilization (percentage of request) above target"
    assert met(done)["AbleToScale"] == ("True", "SucceededRescale")
    assert done.status.last_scale_time == NOW
    assert done.memory.ups[-1] == ScaleEvent(NOW, 2)
    failed = not_scaled(seen, decided, "refused")
    assert met(failed)["AbleToScale"] == ("False", "FailedUpdateScale")
    assert failed.status.desired_replicas == 2
    status, item = no_scale(autoscaler(), 'deployments.apps "web" not found', NOW)
    assert item.reason == "FailedGetScale"
    assert status.conditions[0].message.endswith('target\'s current scale: deployments.apps "web" not found')


@given(
    replicas=st.integers(1, 10),
    usage=st.lists(st.integers(0, 500), min_size=1, max_size=12),
    target=st.integers(1, 100),
)
def test_the_size_stays_within_the_bounds_and_never_turns_round(replicas: int, usage: list[int], target: int) -> None:
    names = [f"web-{number}" for number in range(len(usage))]
    seen = snapshot(autoscaler(target), replicas, dict(zip(names, usage, strict=True)), *(pod(name) for name in names))
    found = plan(seen)
    size = found.status.desired_replicas
    assert 1 <= size <= 10
    average = sum(usage) / len(usage)
    if average <= target:
        assert size <= max(replicas, math.ceil(len(usage) * 1.0))
    again = plan(replace(seen, memory=found.memory))
    assert again.status.desired_replicas >= size or again.replicas is not None
