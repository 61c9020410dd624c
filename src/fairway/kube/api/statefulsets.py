"""StatefulSet, ControllerRevision and PersistentVolumeClaim."""

from collections.abc import Mapping
from typing import Any

from fairway.kube.api.meta import Condition, LabelSelector, ObjectMeta
from fairway.kube.api.noun import Noun


class RollingUpdateFrom(Noun, frozen=True):
    """Pods with a smaller ordinal than `partition` keep their revision."""

    partition: int = 0


class StatefulSetUpdateStrategy(Noun, frozen=True):
    type: str = "RollingUpdate"
    rolling_update: RollingUpdateFrom | None = None


class ClaimRetentionPolicy(Noun, frozen=True):
    """What becomes of claims: Retain or Delete."""

    when_deleted: str = "Retain"
    when_scaled: str = "Retain"


class StatefulSetOrdinals(Noun, frozen=True):
    start: int = 0


class StatefulSetSpec(Noun, frozen=True):
    """`template` and `volume_claim_templates` stay raw: they are copied whole."""

    selector: LabelSelector = LabelSelector()
    template: Mapping[str, Any] = {}
    replicas: int = 1
    service_name: str = ""
    pod_management_policy: str = "OrderedReady"
    update_strategy: StatefulSetUpdateStrategy = StatefulSetUpdateStrategy()
    volume_claim_templates: tuple[Mapping[str, Any], ...] = ()
    persistent_volume_claim_retention_policy: ClaimRetentionPolicy = ClaimRetentionPolicy()
    ordinals: StatefulSetOrdinals = StatefulSetOrdinals()
    min_ready_seconds: int = 0
    revision_history_limit: int = 10


class StatefulSetStatus(Noun, frozen=True):
    observed_generation: int = 0
    replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    current_replicas: int = 0
    updated_replicas: int = 0
    current_revision: str = ""
    update_revision: str = ""
    collision_count: int | None = None
    conditions: tuple[Condition, ...] = ()


class StatefulSet(Noun, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: StatefulSetSpec = StatefulSetSpec()
    status: StatefulSetStatus = StatefulSetStatus()


class ControllerRevision(Noun, frozen=True):
    """A pod template as it was, as a patch of its owner."""

    metadata: ObjectMeta = ObjectMeta()
    data: Mapping[str, Any] = {}
    revision: int = 0


class PersistentVolumeClaimStatus(Noun, frozen=True):
    phase: str = "Pending"
    access_modes: tuple[str, ...] = ()
    capacity: Mapping[str, str | int] = {}


class PersistentVolumeClaim(Noun, frozen=True):
    """`spec` stays raw: controllers only count what it asks for."""

    metadata: ObjectMeta = ObjectMeta()
    spec: Mapping[str, Any] = {}
    status: PersistentVolumeClaimStatus = PersistentVolumeClaimStatus()
