"""How many of a budget's pods may be disrupted now (documentation "Disruptions")."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from fairway.engine.controllers.conditions import put
from fairway.kube.api.meta import Condition
from fairway.kube.api.pods import Pod
from fairway.kube.api.policies import PodDisruptionBudget, PodDisruptionBudgetStatus

ALLOWED = "DisruptionAllowed"
_DELETION_TIMEOUT = timedelta(minutes=2)


class Scale(msgspec.Struct, frozen=True):
    """How many pods something wants; `uid` is that of what is scaled: a Deployment for its ReplicaSets."""

    uid: str
    replicas: int


class Snapshot(msgspec.Struct, frozen=True):
    """A budget, the pods that it selects, and by the uid of their controllers what is wanted.

    A controller that cannot be scaled has None.
    """

    budget: PodDisruptionBudget
    pods: tuple[Pod, ...]
    scales: Mapping[str, Scale | None]
    now: datetime


class News(msgspec.Struct, frozen=True):
    """An event on the budget."""

    type: str
    reason: str
    message: str


class Plan(msgspec.Struct, frozen=True):
    """What to report, pods whose announced deletion never came, and when to look again."""

    status: PodDisruptionBudgetStatus
    news: tuple[News, ...] = ()
    undeleted: tuple[Pod, ...] = ()
    again_seconds: float | None = None


class _Expected(msgspec.Struct, frozen=True):
    pods: int
    healthy: int


def plan(seen: Snapshot) -> Plan:
    """Decide."""
    news: tuple[News, ...] = () if seen.pods else (News("Normal", "NoPods", "No matching pods found"),)
    try:
        expected = _expected(seen)
    except ValueError as error:
        text = f"Failed to calculate the number of expected pods: {error}"
        return Plan(_failed(seen, str(error)), (*news, News("Warning", "CalculateExpectedPodCountFailed", text)))
    unmanaged = [pod.metadata.name for pod in seen.pods if pod.metadata.controller is None]
    if unmanaged and not isinstance(seen.budget.spec.min_available, int):
        news = (*news, News("Warning", "UnmanagedPods", _unmanaged(unmanaged)))
    pending, again_seconds = _disrupted(seen)
    current = sum(
        pod.ready and pod.metadata.deletion_timestamp is None and pod.metadata.name not in pending for pod in seen.pods
    )
    allowed = max(0, current - expected.healthy) if expected.pods > 0 else 0
    status = PodDisruptionBudgetStatus(
        observed_generation=seen.budget.metadata.generation,
        disruptions_allowed=allowed,
        current_healthy=current,
        desired_healthy=expected.healthy,
        expected_pods=expected.pods,
        disrupted_pods=pending,
        conditions=put(seen.budget.status.conditions, allowance(allowed, seen.budget.metadata.generation, seen.now)),
    )
    return Plan(status, news, _undeleted(seen, pending), again_seconds)


def allowance(allowed: int, generation: int, now: datetime) -> Condition:
    """Whether any pod may go."""
    ok = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
    return _condition(*ok, "", generation, now)


def resolved(value: int | str, total: int) -> int:
    """A count, or a percentage rounded up."""
    return value if isinstance(value, int) else -(-int(value.removesuffix("%")) * total // 100)


def _expected(seen: Snapshot) -> _Expected:
    """How many pods there should be and how many of them must serve.  Raises ValueError when nobody knows."""
    spec = seen.budget.spec
    if spec.max_unavailable is not None:
        total = _scale(seen)
        return _Expected(total, max(0, total - resolved(spec.max_unavailable, total)))
    if isinstance(spec.min_available, str):
        total = _scale(seen)
        return _Expected(total, resolved(spec.min_available, total))
    return _Expected(len(seen.pods), spec.min_available or 0)


def _scale(seen: Snapshot) -> int:
    """What the controllers of the pods want together."""
    found: dict[str, int] = {}
    for pod in seen.pods:
        owner = pod.metadata.controller
        if owner is None:
            continue
        wanted = seen.scales.get(owner.uid)
        if wanted is None:
            plural = f"{owner.kind.lower()}s.{owner.api_version.partition('/')[0]}"
            raise ValueError(f"{plural} does not implement the scale subresource")
        found[wanted.uid] = wanted.replicas
    return sum(found.values())


def _disrupted(seen: Snapshot) -> tuple[dict[str, datetime], float | None]:
    """Pods that were evicted a moment ago and are not known to be on their way out yet."""
    there = {pod.metadata.name for pod in seen.pods if pod.metadata.deletion_timestamp is None}
    left: dict[str, datetime] = {}
    waits: list[float] = []
    for name, since in seen.budget.status.disrupted_pods.items():
        wait = (since + _DELETION_TIMEOUT - seen.now).total_seconds()
        if name in there and wait > 0:
            left[name] = since
            waits.append(wait)
    return left, min(waits, default=None)


def _undeleted(seen: Snapshot, pending: Mapping[str, datetime]) -> tuple[Pod, ...]:
    announced = seen.budget.status.disrupted_pods
    return tuple(
        pod
        for pod in seen.pods
        if pod.metadata.name in announced
        and pod.metadata.name not in pending
        and pod.metadata.deletion_timestamp is None
    )


def _failed(seen: Snapshot, message: str) -> PodDisruptionBudgetStatus:
    """Nothing may go as long as nobody can count."""
    before, generation = seen.budget.status, seen.budget.metadata.generation
    failure = _condition("False", "SyncFailed", message, generation, seen.now)
    return replace(
        before, disruptions_allowed=0, observed_generation=generation, conditions=put(before.conditions, failure)
    )


def _unmanaged(names: Iterable[str]) -> str:
    return (
        f"Pods selected by this PodDisruptionBudget (selector: {sorted(names)}) were found to be unmanaged. As a "
        "result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To "
        'account for these pods please set ".spec.minAvailable" field of the PDB to an integer value.'
    )


def _condition(status: str, reason: str, message: str, generation: int, now: datetime) -> Condition:
    return Condition(
        type=ALLOWED,
        status=status,
        reason=reason,
        message=message,
        observed_generation=generation,
        last_transition_time=now.replace(microsecond=0),
    )
