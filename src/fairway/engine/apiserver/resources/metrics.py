"""metrics.k8s.io: what pods and nodes use right now. Read-only, and nowhere stored."""

from datetime import datetime

from fairway.engine.apiserver.resources.kind import NAME, Column, Kind, Object, name_of, nothing

_VERBS = ("get", "list")


def _cells(usage: Object, obj: Object) -> list[object]:
    return [name_of(obj), str(usage.get("cpu") or "0"), str(usage.get("memory") or "0"), str(obj.get("window") or "")]


def _pod_row(obj: Object, now: datetime) -> list[object]:
    usages = [container.get("usage") or {} for container in obj.get("containers") or ()]
    cpu = sum(int(str(usage.get("cpu") or "0").removesuffix("n")) for usage in usages)
    memory = sum(int(str(usage.get("memory") or "0").removesuffix("Ki")) for usage in usages)
    return _cells({"cpu": f"{cpu}n", "memory": f"{memory}Ki"}, obj)


def _node_row(obj: Object, now: datetime) -> list[object]:
    return _cells(obj.get("usage") or {}, obj)


_COLUMNS = (
    NAME,
    Column("cpu", "string", "Processor time in use, in cores."),
    Column("memory", "string", "The working set."),
    Column("window", "string", "How long was measured."),
)

POD_METRICS = Kind(
    group="metrics.k8s.io",
    version="v1beta1",
    kind="PodMetrics",
    plural="pods",
    singular="",
    namespaced=True,
    list_kind="PodMetricsList",
    verbs=_VERBS,
    columns=_COLUMNS,
    row=_pod_row,
    prepare_create=nothing,
    stored=False,
)
NODE_METRICS = Kind(
    group="metrics.k8s.io",
    version="v1beta1",
    kind="NodeMetrics",
    plural="nodes",
    singular="",
    namespaced=False,
    list_kind="NodeMetricsList",
    verbs=_VERBS,
    columns=_COLUMNS,
    row=_node_row,
    prepare_create=nothing,
    stored=False,
)
