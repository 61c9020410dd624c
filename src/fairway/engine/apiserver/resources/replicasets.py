"""ReplicaSets: a number of equal pods."""

from datetime import datetime

from fairway.engine.apiserver.resources import causes
from fairway.engine.apiserver.resources.defaulting import child, fill_numbers
from fairway.engine.apiserver.resources.kind import (
    AGE,
    NAME,
    Cause,
    Column,
    Kind,
    Object,
    age_of,
    bump_generation,
    name_of,
)
from fairway.engine.apiserver.resources.pod_spec import validate_running_template
from fairway.engine.apiserver.resources.workloads import (
    WIDE_COLUMNS,
    default_template,
    validate_counts,
    validate_selector,
    wide_cells,
)

COLUMNS = (
    NAME,
    Column("Desired", "integer", "The number of desired pods."),
    Column("Current", "integer", "The most recently observed number of non-terminating pods."),
    Column("Ready", "integer", "The number of pods with a Ready condition."),
    AGE,
    *WIDE_COLUMNS,
)


def default(replica_set: Object) -> None:
    """apps/v1 SetDefaults_ReplicaSet."""
    spec = child(replica_set, "spec")
    fill_numbers(spec, {"replicas": 1})
    default_template(spec)


def prepare_create(replica_set: Object) -> None:
    """`status.replicas` is required, so it is there from the start."""
    replica_set["status"] = {"replicas": 0}
    replica_set["metadata"]["generation"] = 1


def validate(new: Object, old: Object | None) -> list[Cause]:
    """apps validation of a ReplicaSet; its selector never changes."""
    spec = new.get("spec") or {}
    found = [
        *validate_counts(spec, "replicas", "minReadySeconds"),
        *validate_selector(spec, "deployment"),
        *validate_running_template(spec.get("template"), "spec.template"),
    ]
    if old is not None:
        found += causes.immutable("spec.selector", spec.get("selector"), (old.get("spec") or {}).get("selector"))
    return found


def row(replica_set: Object, now: datetime) -> list[object]:
    """One cell per column."""
    spec, status = replica_set.get("spec") or {}, replica_set.get("status") or {}
    return [
        name_of(replica_set),
        spec.get("replicas") or 0,
        status.get("replicas") or 0,
        status.get("readyReplicas") or 0,
        age_of(replica_set, now),
        *wide_cells(spec),
    ]


def selectable(replica_set: Object) -> dict[str, str]:
    """What field selectors may name."""
    return {"status.replicas": str((replica_set.get("status") or {}).get("replicas") or 0)}


REPLICA_SETS = Kind(
    group="apps",
    version="v1",
    kind="ReplicaSet",
    plural="replicasets",
    singular="replicaset",
    namespaced=True,
    list_kind="ReplicaSetList",
    short_names=("rs",),
    categories=("all",),
    subresources=("scale", "status"),
    columns=COLUMNS,
    row=row,
    default=default,
    prepare_create=prepare_create,
    prepare_update=bump_generation,
    validate=validate,
    selectable=selectable,
)
