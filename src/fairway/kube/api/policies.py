"""PodDisruptionBudget and ResourceQuota."""

from collections.abc import Mapping
from datetime import datetime

from fairway.kube.api.meta import Condition, LabelSelector, ObjectMeta
from fairway.kube.api.noun import Noun


class PodDisruptionBudgetSpec(Noun, frozen=True):
    """Exactly one of the two limits is set; a selector that is absent matches nothing."""

    selector: LabelSelector | None = None
    min_available: int | str | None = None
    max_unavailable: int | str | None = None
    unhealthy_pod_eviction_policy: str | None = None


class PodDisruptionBudgetStatus(Noun, frozen=True):
    observed_generation: int = 0
    disruptions_allowed: int = 0
    current_healthy: int = 0
    desired_healthy: int = 0
    expected_pods: int = 0
    disrupted_pods: Mapping[str, datetime] = {}
    conditions: tuple[Condition, ...] = ()


class PodDisruptionBudget(Noun, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: PodDisruptionBudgetSpec = PodDisruptionBudgetSpec()
    status: PodDisruptionBudgetStatus = PodDisruptionBudgetStatus()


class ScopeRequirement(Noun, frozen=True):
    scope_name: str
    operator: str
    values: tuple[str, ...] = ()


class ScopeSelector(Noun, frozen=True):
    match_expressions: tuple[ScopeRequirement, ...] = ()


class ResourceQuotaSpec(Noun, frozen=True):
    hard: Mapping[str, str | int | float] = {}
    scopes: tuple[str, ...] = ()
    scope_selector: ScopeSelector | None = None


class ResourceQuotaStatus(Noun, frozen=True):
    hard: Mapping[str, str | int | float] = {}
    used: Mapping[str, str | int | float] = {}


class ResourceQuota(Noun, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: ResourceQuotaSpec = ResourceQuotaSpec()
    status: ResourceQuotaStatus = ResourceQuotaStatus()
