"""What one decision of a HorizontalPodAutoscaler is made from."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

import msgspec

from fairway.kube.api.autoscaling import HorizontalPodAutoscaler, Scale
from fairway.kube.api.pods import Pod


class Usage(msgspec.Struct, frozen=True):
    """What a pod used in a window of time that ended at `at`: amounts by container and resource."""

    containers: Mapping[str, Mapping[str, Decimal]]
    at: datetime
    window_seconds: float


class Recommendation(msgspec.Struct, frozen=True):
    """A size that the metrics asked for."""

    at: datetime
    replicas: int


class ScaleEvent(msgspec.Struct, frozen=True):
    """A change of the size that was made; `change` is not negative."""

    at: datetime
    change: int


class Memory(msgspec.Struct, frozen=True):
    """What is remembered between decisions, oldest first. It is lost when the process ends, as upstream's is."""

    recommendations: tuple[Recommendation, ...] = ()
    ups: tuple[ScaleEvent, ...] = ()
    downs: tuple[ScaleEvent, ...] = ()


class Snapshot(msgspec.Struct, frozen=True):
    """An autoscaler, the scale of its target, the pods that the scale selects and what they use.

    `usage` is a text when the metrics could not be had: why.
    """

    autoscaler: HorizontalPodAutoscaler
    scale: Scale
    pods: tuple[Pod, ...]
    usage: Mapping[str, Usage] | str
    now: datetime
    memory: Memory = Memory()
