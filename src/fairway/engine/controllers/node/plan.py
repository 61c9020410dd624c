"""Whether a node is heard, which taints say so, and what becomes of the readiness of its pods."""

from datetime import datetime

import msgspec
from msgspec.structs import replace

from fairway.engine.controllers.conditions import Conditions, find
from fairway.kube.api.config import Node, Taint
from fairway.kube.api.meta import Condition
from fairway.kube.api.pods import Pod

GRACE_SECONDS = 50.0  # upstream's --node-monitor-grace-period
NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
_TYPES = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
_PRESSURES = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
}
_OURS = {(key, effect) for key in (NOT_READY, UNREACHABLE) for effect in ("NoSchedule", "NoExecute")}
_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_OURS |= {(key, "NoSchedule") for key in (*_PRESSURES.values(), _UNSCHEDULABLE)}


class Plan(msgspec.Struct, frozen=True):
    """What should be true of the node; None is: as it is. And when to look again."""

    conditions: Conditions | None
    taints: tuple[Taint, ...] | None
    pods_unready: bool
    again_seconds: float


def plan(node: Node, silent_seconds: float, now: datetime, *, heard: bool = True) -> Plan:
    """Decide from how long nothing was heard of a node (counted from when this controller began to listen).

    `heard` is whether its lease was renewed since then. Before that, what is stored may be what an earlier run left
    behind while the kubelet is just starting: no taint is added and no pod is called unready until the time is over.
    """
    silent = silent_seconds > GRACE_SECONDS
    waiting = not heard and not silent
    conditions = _silenced(node.status.conditions, now) if silent else node.status.conditions
    ready = find(conditions, "Ready")
    taints = _taints(node, ready)
    if waiting:
        taints = tuple(taint for taint in node.spec.taints if taint in taints)
    return Plan(
        conditions if conditions != node.status.conditions else None,
        taints if taints != node.spec.taints else None,
        ready is not None and ready.status != "True" and not waiting,
        max(1.0, GRACE_SECONDS - silent_seconds + 0.1) if not silent else GRACE_SECONDS,
    )


def unready(pod: Pod, now: datetime) -> Conditions | None:
    """The conditions of a pod whose node is not ready; None when they say so already."""
    ready = find(pod.status.conditions, "Ready")
    if ready is None or ready.status != "True":
        return None
    changed = replace(ready, status="False", reason="NodeNotReady", message="", last_transition_time=_second(now))
    return tuple(changed if condition.type == "Ready" else condition for condition in pod.status.conditions)


def _silenced(conditions: Conditions, now: datetime) -> Conditions:
    """Everything that only the node itself could know is unknown."""
    found = [_unknown(condition, now) if condition.type in _TYPES else condition for condition in conditions]
    missing = [name for name in _TYPES if find(conditions, name) is None]
    reason, message = "NodeStatusNeverUpdated", "Kubelet never posted node status."
    moment = _second(now)
    return (
        *found,
        *(
            Condition(type=name, status="Unknown", reason=reason, message=message, last_transition_time=moment)
            for name in missing
        ),
    )


def _unknown(condition: Condition, now: datetime) -> Condition:
    if condition.status == "Unknown":
        return condition
    return replace(
        condition,
        status="Unknown",
        reason="NodeStatusUnknown",
        message="Kubelet stopped posting node status.",
        last_transition_time=_second(now),
    )


def _taints(node: Node, ready: Condition | None) -> tuple[Taint, ...]:
    """Those that are not ours, then ours as conditions and cordoning want them; what is there keeps its place."""
    silent = {None: NOT_READY, "False": NOT_READY, "Unknown": UNREACHABLE}.get(ready.status if ready else None)
    wanted = [(silent, effect) for effect in ("NoSchedule", "NoExecute")] if silent is not None else []
    for condition in node.status.conditions:
        if condition.type in _PRESSURES and condition.status == "True":
            wanted.append((_PRESSURES[condition.type], "NoSchedule"))
    if node.spec.unschedulable:
        wanted.append((_UNSCHEDULABLE, "NoSchedule"))
    others = tuple(taint for taint in node.spec.taints if (taint.key, taint.effect) not in _OURS)
    kept = tuple(taint for taint in node.spec.taints if (taint.key, taint.effect) in wanted)
    present = {(taint.key, taint.effect) for taint in kept}
    added = (Taint(key=key, effect=effect) for key, effect in wanted if (key, effect) not in present)
    return (*others, *kept, *added)


def _second(now: datetime) -> datetime:
    return now.replace(microsecond=0)
