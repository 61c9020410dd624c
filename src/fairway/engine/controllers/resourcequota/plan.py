"""What a ResourceQuota reports."""

from collections.abc import Iterable, Mapping
from typing import Any

from fairway.kube.api import quota_usage
from fairway.kube.api.policies import ResourceQuota, ResourceQuotaStatus

Objects = Mapping[str, Iterable[Mapping[str, Any]]]


def counted(quota: ResourceQuota) -> frozenset[str]:
    """The collections (`plural` or `plural.group`) that have to be counted."""
    found = {quota_usage.resource_of(name) or quota_usage.PODS for name in quota.spec.hard}
    scoped = quota.spec.scopes or quota.spec.scope_selector
    return frozenset({quota_usage.PODS} if scoped else found)


def status(quota: ResourceQuota, objects: Objects) -> ResourceQuotaStatus:
    """`objects` are raw, of every collection in `counted`."""
    used = quota_usage.used(quota, objects)
    return ResourceQuotaStatus(
        hard=quota.spec.hard, used={name: quota_usage.text(name, amount) for name, amount in used.items()}
    )
