"""What one decision about a Deployment is made from."""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cached_property

import msgspec

from fairway.engine.controllers.deployment.template import same_template
from fairway.kube.api.workloads import Deployment, DeploymentSpec, ReplicaSet, RollingUpdate

_NO_DEADLINE = 2**31 - 1
_OLDEST = datetime(1, 1, 1, tzinfo=UTC)


class Snapshot(msgspec.Struct, frozen=True, dict=True):
    """A Deployment, the ReplicaSets it owns (any order), and the uids of those whose pods have not all ended."""

    deployment: Deployment
    replica_sets: tuple[ReplicaSet, ...]
    now: datetime
    running: frozenset[str] = frozenset()

    @property
    def spec(self) -> DeploymentSpec:
        return self.deployment.spec

    @cached_property
    def new(self) -> ReplicaSet | None:
        """The ReplicaSet of the current template: the oldest one, should there be several."""
        matching = (owned for owned in self.by_age if same_template(owned.spec.template, self.spec.template))
        return next(matching, None)

    @cached_property
    def old(self) -> tuple[ReplicaSet, ...]:
        """All others, oldest first."""
        return tuple(owned for owned in self.by_age if owned is not self.new)

    @cached_property
    def by_age(self) -> tuple[ReplicaSet, ...]:
        """All ReplicaSets, oldest first."""
        return tuple(sorted(self.replica_sets, key=_age_key))

    @property
    def active(self) -> tuple[ReplicaSet, ...]:
        """Those that want pods, oldest first."""
        return tuple(owned for owned in self.by_age if owned.spec.replicas > 0)

    @property
    def max_surge(self) -> int:
        """How many pods more than wanted there may be."""
        return _limits(self.spec)[0] if self.spec.strategy.type == "RollingUpdate" else 0

    @property
    def max_unavailable(self) -> int:
        """How many pods fewer than wanted may be available."""
        if self.spec.strategy.type != "RollingUpdate" or not self.spec.replicas:
            return 0
        return min(_limits(self.spec)[1], self.spec.replicas)

    @property
    def deadline_seconds(self) -> int | None:
        """How long a rollout may make no progress; None is for ever."""
        seconds = self.spec.progress_deadline_seconds
        return None if seconds == _NO_DEADLINE else seconds


def wanted(replica_sets: Iterable[ReplicaSet]) -> int:
    """How many pods they want."""
    return sum(owned.spec.replicas for owned in replica_sets)


def available(replica_sets: Iterable[ReplicaSet]) -> int:
    """How many pods they say they have that serve."""
    return sum(owned.status.available_replicas for owned in replica_sets)


def serving(replica_sets: Iterable[ReplicaSet]) -> int:
    """How many pods will go on to serve: no more than wanted, whatever a status from before a scaling still says."""
    return sum(min(owned.spec.replicas, owned.status.available_replicas) for owned in replica_sets)


def _age_key(owned: ReplicaSet) -> tuple[datetime, str]:
    return owned.metadata.creation_timestamp or _OLDEST, owned.metadata.name


def _limits(spec: DeploymentSpec) -> tuple[int, int]:
    """(surge, unavailable) as numbers. They are never both zero, or the rollout could not move."""
    rolling = spec.strategy.rolling_update or RollingUpdate()
    surge = _resolved(rolling.max_surge, spec.replicas, round_up=True)
    unavailable = _resolved(rolling.max_unavailable, spec.replicas, round_up=False)
    return (surge, unavailable) if surge or unavailable else (0, 1)


def _resolved(value: int | str, total: int, *, round_up: bool) -> int:
    if isinstance(value, int):
        return value
    percent = int(value.removesuffix("%")) * total
    return -(-percent // 100) if round_up else percent // 100
