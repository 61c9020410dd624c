"""Nodes: machines that run pods."""

from datetime import datetime

from fairway.engine.apiserver.resources import causes
from fairway.engine.apiserver.resources.defaulting import child
from fairway.engine.apiserver.resources.kind import (
    AGE,
    NAME,
    Cause,
    Column,
    Kind,
    Object,
    age_of,
    keep_status,
    name_of,
    nothing,
)
from fairway.engine.apiserver.resources.placement import validate_taints

NONE, UNKNOWN = "<none>", "<unknown>"
_ROLE_PREFIX, _ROLE = "node-role.kubernetes.io/", "kubernetes.io/role"

COLUMNS = (
    NAME,
    Column("Status", "string", "The status of the node"),
    Column("Roles", "string", "The roles of the node"),
    AGE,
    Column("Version", "string", "Kubelet Version reported by the node."),
    Column("Internal-IP", "string", "The address inside the cluster.", priority=1),
    Column("External-IP", "string", "The address from outside.", priority=1),
    Column("OS-Image", "string", "OS Image reported by the node.", priority=1),
    Column("Kernel-Version", "string", "Kernel Version reported by the node.", priority=1),
    Column("Container-Runtime", "string", "ContainerRuntime Version reported by the node.", priority=1),
)


def default(node: Object) -> None:
    """core/v1 SetDefaults_NodeStatus: allocatable is the capacity unless it is given."""
    status = child(node, "status")
    if status.get("capacity") and not status.get("allocatable"):
        status["allocatable"] = dict(status["capacity"])
    child(status, "daemonEndpoints")
    child(status, "nodeInfo")


def validate(new: Object, old: Object | None) -> list[Cause]:
    """core/v1 validation; address ranges and the provider's name are set once."""
    spec = new.get("spec") or {}
    found = validate_taints(spec.get("taints") or (), "spec.taints")
    if old is None:
        return found
    before = old.get("spec") or {}
    if before.get("podCIDR") and spec.get("podCIDR") != before["podCIDR"]:
        says = 'node updates may not change podCIDR except from "" to valid'
        found.append(causes.forbidden("spec.podCIDRs", says))
    if before.get("providerID") and spec.get("providerID") != before["providerID"]:
        says = 'node updates may not change providerID except from "" to valid'
        found.append(causes.forbidden("spec.providerID", says))
    return found


def row(node: Object, now: datetime) -> list[object]:
    """One cell per column."""
    status = node.get("status") or {}
    info = status.get("nodeInfo") or {}
    return [
        name_of(node),
        _status(node),
        ",".join(_roles(node)) or NONE,
        age_of(node, now),
        info.get("kubeletVersion") or "",
        _address(status, "InternalIP"),
        _address(status, "ExternalIP"),
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def selectable(node: Object) -> dict[str, str]:
    """The field selectors of nodes."""
    return {"spec.unschedulable": str(bool((node.get("spec") or {}).get("unschedulable"))).lower()}


def _status(node: Object) -> str:
    conditions = {item.get("type"): item for item in (node.get("status") or {}).get("conditions") or ()}
    ready = conditions.get("Ready")
    shown = ["Unknown"] if ready is None else ["Ready" if ready.get("status") == "True" else "NotReady"]
    if (node.get("spec") or {}).get("unschedulable"):
        shown.append("SchedulingDisabled")
    return ",".join(shown)


def _roles(node: Object) -> list[str]:
    labels = (node.get("metadata") or {}).get("labels") or {}
    roles = {key.removeprefix(_ROLE_PREFIX) for key in labels if key.startswith(_ROLE_PREFIX)}
    if labels.get(_ROLE):
        roles.add(labels[_ROLE])
    return sorted(roles - {""})


def _address(status: Object, kind: str) -> str:
    return next((item["address"] for item in status.get("addresses") or () if item.get("type") == kind), NONE)


NODES = Kind(
    group="",
    version="v1",
    kind="Node",
    plural="nodes",
    singular="node",
    namespaced=False,
    list_kind="NodeList",
    short_names=("no",),
    subresources=("proxy", "status"),
    columns=COLUMNS,
    row=row,
    default=default,
    prepare_create=nothing,
    prepare_update=keep_status,
    validate=validate,
    selectable=selectable,
)
