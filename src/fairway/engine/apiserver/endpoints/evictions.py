"""Whether a pod may be evicted: its PodDisruptionBudget pays for it (documentation "API-initiated Eviction")."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.errors import Subject
from fairway.engine.apiserver.registry import Registry
from fairway.engine.apiserver.registry.options import WriteOptions
from fairway.engine.apiserver.resources import Kind
from fairway.engine.apiserver.store import Entry
from fairway.engine.apiserver.store.entries import Object
from fairway.kube.api.meta import timestamp
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import Pod
from fairway.kube.api.policies import PodDisruptionBudget
from fairway.kube.api.selectors import from_object

_BUDGETS = ("policy", "v1", "poddisruptionbudgets")
_RESOURCE = "policy/poddisruptionbudgets"
_RETRY_SECONDS = 10
_DISRUPTED_MAX = 2000


async def charge(registry: Registry, pod: Object, options: WriteOptions, now: datetime) -> None:
    """Take one disruption from the budget of a pod that is about to be evicted. Raises ApiError 429 when none is left.

    The budget is written before the pod is deleted, so two evictions cannot both take the last one.
    """
    seen = decode(Pod, pod)
    if seen.finished or seen.status.phase == "Pending" or seen.metadata.deletion_timestamp is not None:
        return
    kind = registry.kinds.find(*_BUDGETS)
    found = [
        (entry, budget)
        for entry in registry.store.select_latest(_RESOURCE, seen.metadata.namespace)
        if _selects(budget := decode(PodDisruptionBudget, entry.object()), seen)
    ]
    if not found or kind is None:
        return
    if len(found) > 1:
        says = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise errors.ApiError(500, "InternalError", says)
    entry, budget = found[0]
    if not seen.ready and _free_of_charge(budget):
        return
    _check(budget)
    await _take(registry, kind, entry, seen, options, now)


def _selects(budget: PodDisruptionBudget, pod: Pod) -> bool:
    selector = budget.spec.selector
    return selector is not None and from_object(selector).matches(pod.metadata.labels)


def _free_of_charge(budget: PodDisruptionBudget) -> bool:
    """Whether a pod that does not serve anyway may go (KEP-3017)."""
    if budget.spec.unhealthy_pod_eviction_policy == "AlwaysAllow":
        return True
    return budget.status.current_healthy >= budget.status.desired_healthy > 0


def _check(budget: PodDisruptionBudget) -> None:
    name, status = budget.metadata.name, budget.status
    if status.observed_generation < budget.metadata.generation:
        text = f"The disruption budget {name} is still being processed by the server."
        raise _refusal(text, _RETRY_SECONDS)
    if len(status.disrupted_pods) > _DISRUPTED_MAX:
        subject = Subject("policy", "poddisruptionbudgets", name, "PodDisruptionBudget")
        raise errors.forbidden(
            subject, "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        )
    if status.disruptions_allowed <= 0:
        needs = f"{status.desired_healthy} healthy pods and has {status.current_healthy} currently"
        raise _refusal(f"The disruption budget {name} needs {needs}")


def _refusal(why: str, retry_after_seconds: int = 0) -> errors.ApiError:
    """Without a time to retry after, because clients would wait for it ten times before they tell anybody."""
    message = "Cannot evict pod as it would violate the pod's disruption budget."
    causes = [{"reason": "DisruptionBudget", "message": why}]
    return errors.too_many_requests(message, retry_after_seconds, {"causes": causes})


async def _take(registry: Registry, kind: Kind, entry: Entry, pod: Pod, options: WriteOptions, now: datetime) -> None:
    obj = entry.object()
    status: dict[str, Any] = obj.setdefault("status", {})
    left = int(status.get("disruptionsAllowed") or 0) - 1
    status["disruptionsAllowed"] = left
    status["disruptedPods"] = {**(status.get("disruptedPods") or {}), pod.metadata.name: timestamp(now)}
    if left == 0:
        status["conditions"] = [_spent(item) for item in status.get("conditions") or ()]
    await registry.modify(kind, entry, obj, options, "status")


def _spent(condition: Mapping[str, Any]) -> Mapping[str, Any]:
    if condition.get("type") != "DisruptionAllowed":
        return condition
    return {**condition, "status": "False", "reason": "InsufficientPods"}
