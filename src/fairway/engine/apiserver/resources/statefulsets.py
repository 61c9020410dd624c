"""StatefulSets: pods with names and disks of their own."""

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

ORDERS = ("OrderedReady", "Parallel")
_CHANGEABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
_CHANGEABLE_SAYS = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def default(stateful_set: Object) -> None:
    """apps/v1 SetDefaults_StatefulSet."""
    spec = child(stateful_set, "spec")
    fill(spec, "podManagementPolicy", ORDERS[0])
    strategy = child(spec, "updateStrategy")
    fill(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        fill_numbers(child(strategy, "rollingUpdate"), {"partition": 0})
    retention = child(spec, "persistentVolumeClaimRetentionPolicy")
    fill(retention, "whenDeleted", "Retain")
    fill(retention, "whenScaled", "Retain")
    fill_numbers(spec, {"replicas": 1, "revisionHistoryLimit": 10})
    default_template(spec)
    for claim in spec.get("volumeClaimTemplates") or ():
        fill(child(claim, "spec"), "volumeMode", "Filesystem")
        fill(child(claim, "status"), "phase", "Pending")


def prepare_create(stateful_set: Object) -> None:
    """The counts that every client expects are there from the start."""
    stateful_set["status"] = {"replicas": 0, "availableReplicas": 0}
    stateful_set["metadata"]["generation"] = 1


def validate(new: Object, old: Object | None) -> list[Cause]:
    """apps validation; what makes the pods' identity never changes."""
    spec = new.get("spec") or {}
    found = [
        *causes.one_of("spec.podManagementPolicy", spec.get("podManagementPolicy"), ORDERS),
        *_strategy(spec.get("updateStrategy") or {}),
        *validate_counts(spec, "replicas", "minReadySeconds", "revisionHistoryLimit"),
        *validate_selector(spec, "statefulset"),
        *validate_running_template(_with_claims(spec), "spec.template"),
    ]
    if old is not None and _identity(spec) != _identity(old.get("spec") or {}):
        found.append(causes.forbidden("spec", _CHANGEABLE_SAYS))
    return found


def _with_claims(spec: Object) -> Object | None:
    """The template as its pods get it: containers may mount the volumes that the claims become."""
    template = spec.get("template")
    if not template or not spec.get("volumeClaimTemplates"):
        return template
    volumes = (template.get("spec") or {}).get("volumes") or []
    known = {volume.get("name") for volume in volumes}
    names = [(claim.get("metadata") or {}).get("name") for claim in spec["volumeClaimTemplates"]]
    claimed = [
        {"name": name, "persistentVolumeClaim": {"claimName": name}} for name in names if name and name not in known
    ]
    return {**template, "spec": {**(template.get("spec") or {}), "volumes": [*volumes, *claimed]}}


def row(stateful_set: Object, now: datetime) -> list[object]:
    """One cell per column."""
    spec, status = stateful_set.get("spec") or {}, stateful_set.get("status") or {}
    ready = f"{status.get('readyReplicas') or 0}/{spec.get('replicas') or 0}"
    return [name_of(stateful_set), ready, age_of(stateful_set, now), *wide_cells(spec)[:2]]


def _strategy(strategy: Object) -> list[Cause]:
    field, kind, rolling = "spec.updateStrategy", strategy.get("type"), strategy.get("rollingUpdate")
    if not kind:
        return [causes.required(f"{field}.type")]
    if kind == "OnDelete":
        says = "only allowed for updateStrategy 'RollingUpdate'"
        return [causes.invalid(f"{field}.rollingUpdate", rolling, says)] if rolling is not None else []
    if kind != "RollingUpdate":
        return [causes.invalid(field, strategy, "must be 'RollingUpdate' or 'OnDelete'")]
    return causes.negative(f"{field}.rollingUpdate.partition", (rolling or {}).get("partition"))


def _identity(spec: Object) -> Object:
    return {key: value for key, value in spec.items() if key not in _CHANGEABLE and value not in (None, "", [], {})}


STATEFUL_SETS = Kind(
    group="apps",
    version="v1",
    kind="StatefulSet",
    plural="statefulsets",
    singular="statefulset",
    namespaced=True,
    list_kind="StatefulSetList",
    short_names=("sts",),
    categories=("all",),
    subresources=("scale", "status"),
    columns=(NAME, Column("Ready", "string", "Number of the pod with ready state"), AGE, *WIDE_COLUMNS[:2]),
    row=row,
    default=default,
    prepare_create=prepare_create,
    prepare_update=bump_generation,
    validate=validate,
)
