"""Deployments: ReplicaSets that replace each other."""

from datetime import datetime

from fairway.engine.apiserver.resources import causes
from fairway.engine.apiserver.resources.defaulting import child, fill, fill_numbers
from fairway.engine.apiserver.resources.kind import (
    AGE,
    NAME,
    Cause,
    Column,
    Kind,
    Object,
    age_of,
    bump_generation,
    first_generation,
    name_of,
)
from fairway.engine.apiserver.resources.pod_spec import validate_running_template
from fairway.engine.apiserver.resources.workloads import (
    WIDE_COLUMNS,
    default_template,
    validate_at_most_all,
    validate_count_or_percent,
    validate_counts,
    validate_selector,
    wide_cells,
    zero,
)

ROLLING, RECREATE = "RollingUpdate", "Recreate"
COLUMNS = (
    NAME,
    Column("Ready", "string", "Number of the pod with ready state"),
    Column("Up-to-date", "string", "Pods that have the desired template."),
    Column("Available", "string", "Pods that are ready for at least minReadySeconds."),
    AGE,
    *WIDE_COLUMNS,
)


def default(deployment: Object) -> None:
    """apps/v1 SetDefaults_Deployment."""
    spec = child(deployment, "spec")
    fill_numbers(spec, {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600})
    strategy = child(spec, "strategy")
    fill(strategy, "type", ROLLING)
    if strategy["type"] == ROLLING:
        rolling = child(strategy, "rollingUpdate")
        fill(rolling, "maxUnavailable", "25%")
        fill(rolling, "maxSurge", "25%")
    default_template(spec)


def prepare_update(new: Object, old: Object) -> None:
    """Annotations count as specification, because they are copied to ReplicaSets."""
    bump_generation(new, old)
    same_generation = new["metadata"].get("generation") == old["metadata"].get("generation")
    annotations = [holder["metadata"].get("annotations") or {} for holder in (new, old)]
    if same_generation and annotations[0] != annotations[1]:
        new["metadata"]["generation"] = int(old["metadata"].get("generation") or 0) + 1


def validate(new: Object, old: Object | None) -> list[Cause]:
    """apps validation of a Deployment; its selector never changes."""
    spec = new.get("spec") or {}
    found = [
        *validate_counts(spec, "replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"),
        *validate_selector(spec, "deployment"),
        *validate_running_template(spec.get("template"), "spec.template"),
        *_strategy(spec.get("strategy") or {}),
        *_deadline(spec),
    ]
    if old is not None:
        found += causes.immutable("spec.selector", spec.get("selector"), (old.get("spec") or {}).get("selector"))
    return found


def row(deployment: Object, now: datetime) -> list[object]:
    """One cell per column."""
    spec, status = deployment.get("spec") or {}, deployment.get("status") or {}
    return [
        name_of(deployment),
        f"{status.get('readyReplicas') or 0}/{spec.get('replicas') or 0}",
        status.get("updatedReplicas") or 0,
        status.get("availableReplicas") or 0,
        age_of(deployment, now),
        *wide_cells(spec),
    ]


def _strategy(strategy: Object) -> list[Cause]:
    field, kind, rolling = "spec.strategy", strategy.get("type"), strategy.get("rollingUpdate")
    if kind == RECREATE:
        says = f"may not be specified when strategy `type` is '{RECREATE}'"
        return [causes.forbidden(f"{field}.rollingUpdate", says)] if rolling is not None else []
    if kind != ROLLING:
        return [causes.unsupported(f"{field}.type", kind, (RECREATE, ROLLING))]
    return _rolling(rolling or {}, f"{field}.rollingUpdate")


def _rolling(rolling: Object, field: str) -> list[Cause]:
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    found = validate_count_or_percent(unavailable, f"{field}.maxUnavailable")
    found += validate_count_or_percent(surge, f"{field}.maxSurge")
    if zero(unavailable) and zero(surge):
        says = "may not be 0 when `maxSurge` is 0"
        found.append(causes.invalid(f"{field}.maxUnavailable", unavailable, says))
    return found + validate_at_most_all(unavailable, f"{field}.maxUnavailable")


def _deadline(spec: Object) -> list[Cause]:
    deadline, least = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds") or 0
    if deadline is None or deadline > least:
        return []
    return [causes.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")]


DEPLOYMENTS = Kind(
    group="apps",
    version="v1",
    kind="Deployment",
    plural="deployments",
    singular="deployment",
    namespaced=True,
    list_kind="DeploymentList",
    short_names=("deploy",),
    categories=("all",),
    subresources=("scale", "status"),
    columns=COLUMNS,
    row=row,
    default=default,
    prepare_create=first_generation,
    prepare_update=prepare_update,
    validate=validate,
)
