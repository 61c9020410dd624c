"""ResourceQuotas and LimitRanges: how much a namespace and its pods may use."""

from datetime import datetime

from fairway.engine.apiserver.resources import causes
from fairway.engine.apiserver.resources.container_resources import validate_quantity
from fairway.engine.apiserver.resources.defaulting import child
from fairway.engine.apiserver.resources.kind import (
    AGE,
    NAME,
    Cause,
    Column,
    Kind,
    Object,
    age_of,
    keep_nothing,
    keep_status,
    name_of,
    nothing,
)

_LIMIT_FIELDS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")


def validate_quota(new: Object, old: Object | None) -> list[Cause]:
    """Amounts; scopes are set once."""
    spec = new.get("spec") or {}
    found: list[Cause] = []
    for name, amount in (spec.get("hard") or {}).items():
        found += validate_quantity(amount, f"spec.hard[{name}]")
    if old is not None:
        before = old.get("spec") or {}
        found += causes.immutable("spec.scopes", spec.get("scopes"), before.get("scopes"))
    return found


def quota_row(quota: Object, now: datetime) -> list[object]:
    """One cell per column."""
    status = quota.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    pairs = [(name, f"{name}: {used.get(name, '0')}/{hard[name]}") for name in sorted(hard)]
    requests = ", ".join(text for name, text in pairs if not name.startswith("limits."))
    limits = ", ".join(text for name, text in pairs if name.startswith("limits."))
    return [name_of(quota), requests, limits, age_of(quota, now)]


def default_limits(limit_range: Object) -> None:
    """core/v1 SetDefaults_LimitRangeItem: the default is the maximum, the default request the default or minimum."""
    for item in child(limit_range, "spec").get("limits") or ():
        if item.get("type") != "Container":
            continue
        usual, asked = child(item, "default"), child(item, "defaultRequest")
        for name, amount in (item.get("max") or {}).items():
            usual.setdefault(name, amount)
        for source in (usual, item.get("min") or {}):
            for name, amount in source.items():
                asked.setdefault(name, amount)


def validate_limits(new: Object, old: Object | None) -> list[Cause]:
    """Types and amounts."""
    found: list[Cause] = []
    for index, item in enumerate((new.get("spec") or {}).get("limits") or ()):
        path = f"spec.limits[{index}]"
        if not item.get("type"):
            found.append(causes.required(f"{path}.type"))
        for field in _LIMIT_FIELDS:
            for name, amount in (item.get(field) or {}).items():
                found += validate_quantity(amount, f"{path}.{field}[{name}]")
    return found


def limits_row(limit_range: Object, now: datetime) -> list[object]:
    """One cell per column."""
    return [name_of(limit_range), (limit_range.get("metadata") or {}).get("creationTimestamp")]


RESOURCE_QUOTAS = Kind(
    group="",
    version="v1",
    kind="ResourceQuota",
    plural="resourcequotas",
    singular="resourcequota",
    namespaced=True,
    list_kind="ResourceQuotaList",
    short_names=("quota",),
    subresources=("status",),
    columns=(
        NAME,
        Column("Request", "string", "Requests that are used, of those that are allowed."),
        Column("Limit", "string", "Limits that are used, of those that are allowed."),
        AGE,
    ),
    row=quota_row,
    prepare_update=keep_status,
    validate=validate_quota,
    delete_returns_object=True,
)
LIMIT_RANGES = Kind(
    group="",
    version="v1",
    kind="LimitRange",
    plural="limitranges",
    singular="limitrange",
    namespaced=True,
    list_kind="LimitRangeList",
    create_on_update=True,
    short_names=("limits",),
    columns=(NAME, Column("Created At", "date", "When the object was created.")),
    row=limits_row,
    default=default_limits,
    prepare_create=nothing,
    prepare_update=keep_nothing,
    validate=validate_limits,
)
