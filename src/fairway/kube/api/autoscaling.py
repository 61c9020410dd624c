"""HorizontalPodAutoscaler v2 and Scale."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fairway.kube.api.meta import Condition, LabelSelector, ObjectMeta
from fairway.kube.api.noun import Noun

Amount = str | int | float


class CrossVersionObjectReference(Noun, frozen=True):
    kind: str
    name: str
    api_version: str = ""


class MetricTarget(Noun, frozen=True):
    """Utilization in percent of the request, or an amount per pod."""

    type: str
    average_utilization: int | None = None
    average_value: Amount | None = None
    value: Amount | None = None


class ResourceMetric(Noun, frozen=True):
    """`container` is empty for a metric of the whole pod."""

    name: str
    target: MetricTarget
    container: str = ""


class MetricIdentifier(Noun, frozen=True):
    name: str
    selector: LabelSelector | None = None


class CustomMetric(Noun, frozen=True):
    """What Pods, Object and External metrics have in common."""

    metric: MetricIdentifier
    target: MetricTarget


class MetricSpec(Noun, frozen=True):
    """One source is set, the one that `type` names."""

    type: str
    resource: ResourceMetric | None = None
    container_resource: ResourceMetric | None = None
    pods: CustomMetric | None = None
    object: CustomMetric | None = None
    external: CustomMetric | None = None


class ScalingPolicy(Noun, frozen=True):
    """`type` is Pods or Percent: at most so much in `period_seconds`."""

    type: str
    value: int
    period_seconds: int


class ScalingRules(Noun, frozen=True):
    stabilization_window_seconds: int | None = None
    select_policy: str = "Max"
    policies: tuple[ScalingPolicy, ...] = ()
    tolerance: Amount | None = None


class Behavior(Noun, frozen=True):
    scale_up: ScalingRules | None = None
    scale_down: ScalingRules | None = None


class HorizontalPodAutoscalerSpec(Noun, frozen=True):
    scale_target_ref: CrossVersionObjectReference = CrossVersionObjectReference(kind="", name="")
    min_replicas: int = 1
    max_replicas: int = 1
    metrics: tuple[MetricSpec, ...] = ()
    behavior: Behavior | None = None


class HorizontalPodAutoscalerStatus(Noun, frozen=True):
    observed_generation: int | None = None
    last_scale_time: datetime | None = None
    current_replicas: int = 0
    desired_replicas: int = 0
    current_metrics: tuple[Mapping[str, Any], ...] = ()
    conditions: tuple[Condition, ...] = ()


class HorizontalPodAutoscaler(Noun, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: HorizontalPodAutoscalerSpec = HorizontalPodAutoscalerSpec()
    status: HorizontalPodAutoscalerStatus = HorizontalPodAutoscalerStatus()


class ScaleSpec(Noun, frozen=True):
    replicas: int = 0


class ScaleStatus(Noun, frozen=True):
    """`selector` is in the text form of queries."""

    replicas: int = 0
    selector: str = ""


class Scale(Noun, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: ScaleSpec = ScaleSpec()
    status: ScaleStatus = ScaleStatus()
