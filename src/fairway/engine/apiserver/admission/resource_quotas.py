"""A namespace uses no more than its ResourceQuotas allow (ResourceQuota).

What is used is counted from the stored objects, writes on their way included, so that no two requests can both take
the last place, and a status that lags behind refuses nothing.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.admission.review import CREATE, UPDATE, Review
from fairway.engine.apiserver.store import Entry
from fairway.kube.api import quantities, quota_usage
from fairway.kube.api.noun import decode
from fairway.kube.api.pod_resources import ZERO, Amounts, total
from fairway.kube.api.pods import Pod
from fairway.kube.api.policies import ResourceQuota

_QUOTAS = "resourcequotas"
_PODS = "pods"


def admit(review: Review) -> None:
    """Refuse what would exceed a quota. Raises ApiError."""
    if not _concerns(review) or review.obj is None:
        return
    quotas = review.store.select_latest(_QUOTAS, review.key.namespace)
    if not quotas:
        return
    resource = _counted_name(review.key.resource)
    try:
        for entry in quotas:
            _check(review, decode(ResourceQuota, entry.object()), resource, review.obj)
    except (ValueError, msgspec.ValidationError):
        return  # an object that cannot be counted is refused by its validation, in better words


def _concerns(review: Review) -> bool:
    """Creations of anything; changes of what may use more afterwards."""
    if review.key.resource == _PODS and review.subresource == "resize":
        return True
    if review.subresource or not review.key.namespace or review.key.resource == "events":
        return False
    changes = review.operation == UPDATE and review.key.resource in ("services", "persistentvolumeclaims")
    return review.operation == CREATE or changes


def _check(review: Review, quota: ResourceQuota, resource: str, obj: Mapping[str, Any]) -> None:
    if not quota_usage.in_scope(quota, resource, obj):
        return
    if resource == _PODS:
        _check_named(review, quota, decode(Pod, obj))
    asked = _asked(resource, obj, review.old)
    concerned = {name: amount for name, amount in asked.items() if name in quota.spec.hard and amount > 0}
    if not concerned:
        return
    stored = review.store.select_latest(review.key.resource, review.key.namespace)
    used = _used(quota, resource, stored)
    hard = {name: quantities.parse(amount) for name, amount in quota.spec.hard.items()}
    exceeded = [name for name in sorted(concerned) if used.get(name, ZERO) + concerned[name] > hard[name]]
    if exceeded:
        parts = (("requested", concerned), ("used", used), ("limited", hard))
        shown = ", ".join(f"{word}: {_listed(exceeded, amounts)}" for word, amounts in parts)
        raise errors.forbidden(review.subject, f"exceeded quota: {quota.metadata.name}, {shown}")


def _check_named(review: Review, quota: ResourceQuota, pod: Pod) -> None:
    missing = quota_usage.unnamed(quota, pod)
    if missing:
        text = "; ".join(f"{name} for: {','.join(sorted(missing[name]))}" for name in sorted(missing))
        raise errors.forbidden(review.subject, f"failed quota: {quota.metadata.name}: must specify {text}")


def _asked(resource: str, obj: Mapping[str, Any], old: Mapping[str, Any] | None) -> Amounts:
    """How much more than before."""
    before = quota_usage.usage(resource, old) if old is not None else {}
    return {name: amount - before.get(name, ZERO) for name, amount in quota_usage.usage(resource, obj).items()}


def _used(quota: ResourceQuota, resource: str, entries: Iterable[Entry]) -> dict[str, Decimal]:
    scoped = bool(quota.spec.scopes or quota.spec.scope_selector)
    counted = (
        _usage(resource, entry.data)
        for entry in entries
        if not scoped or quota_usage.in_scope(quota, resource, entry.object())
    )
    return total(counted)


@lru_cache(maxsize=4096)
def _usage(resource: str, data: bytes) -> Amounts:
    """Remembered, because every creation counts all the others again."""
    return quota_usage.usage(resource, msgspec.json.decode(data))


def _counted_name(resource: str) -> str:
    """`apps/deployments` as `deployments.apps`."""
    group, _, plural = resource.rpartition("/")
    return f"{plural}.{group}" if group else plural


def _listed(names: Iterable[str], amounts: Amounts) -> str:
    return ",".join(f"{name}={quota_usage.text(name, amounts.get(name, ZERO))}" for name in names)
