"""PriorityClasses: whose pods go first."""

from datetime import datetime

from fairway.engine.apiserver.resources import causes
from fairway.engine.apiserver.resources.defaulting import fill
from fairway.engine.apiserver.resources.kind import (
    AGE,
    NAME,
    Cause,
    Column,
    Kind,
    Object,
    age_of,
    count_generation,
    generation_only,
    name_of,
)
from fairway.engine.apiserver.resources.pod_spec import PREEMPTION_POLICIES

USER_VALUE_MAX = 1_000_000_000
_SYSTEM = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


def default(priority_class: Object) -> None:
    """scheduling/v1 SetDefaults_PriorityClass."""
    fill(priority_class, "preemptionPolicy", "PreemptLowerPriority")


def validate(new: Object, old: Object | None) -> list[Cause]:
    """The highest values are the system's; value and policy never change."""
    name, value = name_of(new), new.get("value") or 0
    found: list[Cause] = []
    if name.startswith("system-") and _SYSTEM.get(name) != value:
        says = "priority class names with 'system-' prefix are reserved for system use only"
        found.append(causes.forbidden("metadata.name", says))
    elif value > USER_VALUE_MAX and name not in _SYSTEM:
        says = f"maximum allowed value of a user defined priority is {USER_VALUE_MAX}"
        found.append(causes.forbidden("value", says))
    policy = new.get("preemptionPolicy")
    found += causes.one_of("preemptionPolicy", policy, PREEMPTION_POLICIES)
    if old is None:
        return found
    if value != (old.get("value") or 0):
        found.append(causes.forbidden("value", "may not be changed in an update."))
    return found + causes.immutable("preemptionPolicy", policy, old.get("preemptionPolicy"))


def row(priority_class: Object, now: datetime) -> list[object]:
    """One cell per column."""
    return [
        name_of(priority_class),
        priority_class.get("value") or 0,
        bool(priority_class.get("globalDefault")),
        age_of(priority_class, now),
        priority_class.get("preemptionPolicy") or "",
    ]


PRIORITY_CLASSES = Kind(
    group="scheduling.k8s.io",
    version="v1",
    kind="PriorityClass",
    plural="priorityclasses",
    singular="priorityclass",
    namespaced=False,
    list_kind="PriorityClassList",
    short_names=("pc",),
    columns=(
        NAME,
        Column("Value", "integer", "The priority that pods of this class get."),
        Column("Global-Default", "boolean", "Whether pods without a class get it."),
        AGE,
        Column("PreemptionPolicy", "string", "Whether such pods push others out.", priority=1),
    ),
    row=row,
    default=default,
    prepare_create=generation_only,
    prepare_update=count_generation,
    validate=validate,
)
