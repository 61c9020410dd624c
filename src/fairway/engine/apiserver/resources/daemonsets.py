"""DaemonSets: one pod on every node that fits."""

from datetime import datetime

from fairway.engine.apiserver.resources import causes, selectors
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
    validate_at_most_all,
    validate_count_or_percent,
    validate_counts,
    validate_selector,
    wide_cells,
    zero,
)

_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
STRATEGIES = ("OnDelete", "RollingUpdate")
_COUNTS = {
    "Desired": "desiredNumberScheduled",
    "Current": "currentNumberScheduled",
    "Ready": "numberReady",
    "Up-to-date": "updatedNumberScheduled",
    "Available": "numberAvailable",
}
_REQUIRED = ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady")


def default(daemon_set: Object) -> None:
    """apps/v1 SetDefaults_DaemonSet."""
    spec = child(daemon_set, "spec")
    strategy = child(spec, "updateStrategy")
    fill(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        fill_numbers(child(strategy, "rollingUpdate"), {"maxUnavailable": 1, "maxSurge": 0})
    fill_numbers(spec, {"revisionHistoryLimit": 10})
    default_template(spec)


def prepare_create(daemon_set: Object) -> None:
    """The counts that are required are there from the start."""
    daemon_set["status"] = dict.fromkeys(_REQUIRED, 0)
    daemon_set["metadata"]["generation"] = 1
    child(daemon_set["metadata"], "annotations")[_TEMPLATE_GENERATION] = "1"


def prepare_update(new: Object, old: Object) -> None:
    """A changed template is a new generation of it; old clients read that from an annotation."""
    bump_generation(new, old)
    number = (old["metadata"].get("annotations") or {}).get(_TEMPLATE_GENERATION, "1")
    if new["spec"].get("template") != old["spec"].get("template") and number.isdecimal():
        number = str(int(number) + 1)
    child(new["metadata"], "annotations")[_TEMPLATE_GENERATION] = number


def validate(new: Object, old: Object | None) -> list[Cause]:
    """apps validation; the selector never changes."""
    spec = new.get("spec") or {}
    found = [
        *validate_counts(spec, "minReadySeconds", "revisionHistoryLimit"),
        *validate_selector(spec, "daemonset"),
        *validate_running_template(spec.get("template"), "spec.template"),
        *_strategy(spec.get("updateStrategy") or {}),
    ]
    if old is not None:
        found += causes.immutable("spec.selector", spec.get("selector"), (old.get("spec") or {}).get("selector"))
    return found


def row(daemon_set: Object, now: datetime) -> list[object]:
    """One cell per column."""
    spec, status = daemon_set.get("spec") or {}, daemon_set.get("status") or {}
    pod_spec = (spec.get("template") or {}).get("spec") or {}
    return [
        name_of(daemon_set),
        *(status.get(field) or 0 for field in _COUNTS.values()),
        selectors.labels_text(pod_spec.get("nodeSelector")),
        age_of(daemon_set, now),
        *wide_cells(spec),
    ]


def _strategy(strategy: Object) -> list[Cause]:
    kind, field = strategy.get("type"), "spec.updateStrategy.rollingUpdate"
    if kind != "RollingUpdate":
        return causes.one_of("spec.updateStrategy.type", kind, STRATEGIES)
    rolling = strategy.get("rollingUpdate") or {}
    found: list[Cause] = []
    for key in ("maxUnavailable", "maxSurge"):
        found += validate_count_or_percent(rolling.get(key), f"{field}.{key}")
        found += validate_at_most_all(rolling.get(key), f"{field}.{key}")
    unavailable, surge = zero(rolling.get("maxUnavailable")), zero(rolling.get("maxSurge"))
    if unavailable and surge:
        found.append(causes.required(f"{field}.maxUnavailable", "cannot be 0 when maxSurge is 0"))
    if not unavailable and not surge:
        says = "may not be set when maxUnavailable is non-zero"
        found.append(causes.invalid(f"{field}.maxSurge", rolling.get("maxSurge"), says))
    return found


DAEMON_SETS = Kind(
    group="apps",
    version="v1",
    kind="DaemonSet",
    plural="daemonsets",
    singular="daemonset",
    namespaced=True,
    list_kind="DaemonSetList",
    short_names=("ds",),
    categories=("all",),
    subresources=("status",),
    columns=(
        NAME,
        *(Column(name, "integer", f"The count in status.{field}.") for name, field in _COUNTS.items()),
        Column("Node Selector", "string", "Labels that a node must have."),
        AGE,
        *WIDE_COLUMNS,
    ),
    row=row,
    default=default,
    prepare_create=prepare_create,
    prepare_update=prepare_update,
    validate=validate,
)
