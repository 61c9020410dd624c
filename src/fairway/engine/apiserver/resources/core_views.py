"""Kinds that are nowhere stored: bindings, evictions, scales, and the health of components."""

from datetime import datetime

from fairway.engine.apiserver.resources.kind import NAME, Column, Kind, Object, name_of, nothing

_HEALTHY = {"True": "Healthy", "False": "Unhealthy"}


def _row(obj: Object, now: datetime) -> list[object]:
    for condition in obj.get("conditions") or ():
        if condition.get("type") == "Healthy":
            status = _HEALTHY.get(str(condition.get("status")), "Unknown")
            return [name_of(obj), status, condition.get("message") or "", condition.get("error") or ""]
    return [name_of(obj), "Unknown", "", ""]


BINDINGS = Kind(
    group="",
    version="v1",
    kind="Binding",
    plural="bindings",
    singular="binding",
    namespaced=True,
    list_kind="",
    verbs=("create",),
    prepare_create=nothing,
    stored=False,
)
EVICTIONS = Kind(
    group="policy",
    version="v1",
    kind="Eviction",
    plural="evictions",
    singular="eviction",
    namespaced=True,
    list_kind="",
    prepare_create=nothing,
    stored=False,
)
"""Only in bodies, as is a Scale: neither has a URL of its own."""
SCALES = Kind(
    group="autoscaling",
    version="v1",
    kind="Scale",
    plural="scales",
    singular="scale",
    namespaced=True,
    list_kind="",
    prepare_create=nothing,
    stored=False,
)
COMPONENT_STATUSES = Kind(
    group="",
    version="v1",
    kind="ComponentStatus",
    plural="componentstatuses",
    singular="componentstatus",
    namespaced=False,
    list_kind="ComponentStatusList",
    short_names=("cs",),
    verbs=("get", "list"),
    columns=(
        NAME,
        Column("Status", "string", "Status of the component conditions"),
        Column("Message", "string", "Message of the component conditions"),
        Column("Error", "string", "Error of the component conditions"),
    ),
    row=_row,
    prepare_create=nothing,
    stored=False,
    warning="v1 ComponentStatus is deprecated in v1.19+",
)
