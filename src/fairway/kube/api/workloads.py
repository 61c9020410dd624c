"""Deployment and ReplicaSet."""

from collections.abc import Mapping
from typing import Any

from fairway.kube.api.meta import Condition, LabelSelector, ObjectMeta
from fairway.kube.api.noun import Noun


class RollingUpdate(Noun, frozen=True):
    max_unavailable: int | str = "25%"
    max_surge: int | str = "25%"


class DeploymentStrategy(Noun, frozen=True):
    type: str = "RollingUpdate"
    rolling_update: RollingUpdate | None = None


class DeploymentSpec(Noun, frozen=True):
    """`template` stays raw: it is copied whole into ReplicaSets and compared byte for byte."""

    selector: LabelSelector = LabelSelector()
    template: Mapping[str, Any] = {}
    replicas: int = 1
    strategy: DeploymentStrategy = DeploymentStrategy()
    min_ready_seconds: int = 0
    revision_history_limit: int = 10
    progress_deadline_seconds: int = 600
    paused: bool = False


class DeploymentStatus(Noun, frozen=True):
    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    collision_count: int | None = None
    conditions: tuple[Condition, ...] = ()


class Deployment(Noun, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()


class ReplicaSetSpec(Noun, frozen=True):
    selector: LabelSelector = LabelSelector()
    template: Mapping[str, Any] = {}
    replicas: int = 1
    min_ready_seconds: int = 0


class ReplicaSetStatus(Noun, frozen=True):
    observed_generation: int = 0
    replicas: int = 0
    fully_labeled_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    conditions: tuple[Condition, ...] = ()


class ReplicaSet(Noun, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: ReplicaSetSpec = ReplicaSetSpec()
    status: ReplicaSetStatus = ReplicaSetStatus()
