"""DaemonSet."""

from collections.abc import Mapping
from typing import Any

from fairway.kube.api.meta import Condition, LabelSelector, ObjectMeta
from fairway.kube.api.noun import Noun


class RollingUpdateDaemonSet(Noun, frozen=True):
    max_unavailable: int | str = 1
    max_surge: int | str = 0


class DaemonSetUpdateStrategy(Noun, frozen=True):
    type: str = "RollingUpdate"
    rolling_update: RollingUpdateDaemonSet | None = None


class DaemonSetSpec(Noun, frozen=True):
    """`template` stays raw: it is copied whole into pods and revisions."""

    selector: LabelSelector = LabelSelector()
    template: Mapping[str, Any] = {}
    update_strategy: DaemonSetUpdateStrategy = DaemonSetUpdateStrategy()
    min_ready_seconds: int = 0
    revision_history_limit: int = 10


class DaemonSetStatus(Noun, frozen=True):
    observed_generation: int = 0
    current_number_scheduled: int = 0
    desired_number_scheduled: int = 0
    number_misscheduled: int = 0
    number_ready: int = 0
    updated_number_scheduled: int = 0
    number_available: int = 0
    number_unavailable: int = 0
    collision_count: int | None = None
    conditions: tuple[Condition, ...] = ()


class DaemonSet(Noun, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: DaemonSetSpec = DaemonSetSpec()
    status: DaemonSetStatus = DaemonSetStatus()
