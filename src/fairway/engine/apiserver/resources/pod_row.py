"""What `kubectl get pods` shows: the STATUS, READY and RESTARTS of a pod."""

from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from fairway.engine.apiserver.resources import ages
from fairway.engine.apiserver.resources.kind import AGE, NAME, Column, Object, age_of, name_of

NONE = "<none>"

COLUMNS = (
    NAME,
    Column("Ready", "string", "The aggregate readiness state of this pod for accepting traffic."),
    Column("Status", "string", "The aggregate status of the containers in this pod."),
    Column("Restarts", "string", "How often the containers in this pod were restarted and when the last one was."),
    AGE,
    Column("IP", "string", "The pod's primary address.", priority=1),
    Column("Node", "string", "The node that the pod is bound to.", priority=1),
    Column("Nominated Node", "string", "The node that a preemption makes room on.", priority=1),
    Column("Readiness Gates", "string", "Conditions that readiness also waits for.", priority=1),
)


class Restarts(msgspec.Struct, frozen=True):
    """How often containers restarted, and when the last of them ended before."""

    count: int = 0
    last: str = ""

    def plus(self, status: Object) -> "Restarts":
        """With one more container."""
        ended = ((status.get("lastState") or {}).get("terminated") or {}).get("finishedAt") or ""
        return Restarts(self.count + int(status.get("restartCount") or 0), max(self.last, ended))


class Summary(msgspec.Struct, frozen=True):
    """What one look at all containers gives."""

    reason: str
    ready: int
    total: int
    restarts: Restarts


def row(pod: Object, now: datetime) -> list[object]:
    """One cell per column."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    seen = summarise(pod)
    addresses = status.get("podIPs") or ()
    return [
        name_of(pod),
        f"{seen.ready}/{seen.total}",
        seen.reason,
        _restarts(seen.restarts, now),
        age_of(pod, now),
        (addresses[0].get("ip") if addresses else status.get("podIP")) or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _gates(spec, status),
    ]


def summarise(pod: Object) -> Summary:
    """READY, STATUS and RESTARTS, in upstream's order of precedence."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    sidecars = {item.get("name") for item in spec.get("initContainers") or () if item.get("restartPolicy") == "Always"}
    total = len(spec.get("containers") or ()) + len(sidecars)
    reason = _phase_reason(status)
    init_reason, sidecars_ready, restarts, sidecar_restarts = _init(spec, status, sidecars)
    ready = sidecars_ready
    if init_reason:
        reason = init_reason
    if not init_reason or _condition(status, "Initialized"):
        statuses = status.get("containerStatuses") or ()
        restarts = _counted(sidecar_restarts, statuses)
        ready += sum(1 for item in statuses if _serving(item))
        reason = _main_reason(reason, statuses, _condition(status, "Ready"))
    return Summary(_ending(pod, reason), ready, total, restarts)


def _phase_reason(status: Object) -> str:
    gated = any(
        item.get("type") == "PodScheduled" and item.get("reason") == "SchedulingGated"
        for item in status.get("conditions") or ()
    )
    return "SchedulingGated" if gated else status.get("reason") or status.get("phase") or ""


def _init(spec: Object, status: Object, sidecars: set[str | None]) -> tuple[str, int, Restarts, Restarts]:
    """Why initialisation is not over (or ""), ready sidecars, restarts of all and of the sidecars."""
    ready, restarts, sidecar_restarts = 0, Restarts(), Restarts()
    total = len(spec.get("initContainers") or ())
    for index, item in enumerate(status.get("initContainerStatuses") or ()):
        sidecar = item.get("name") in sidecars
        restarts = restarts.plus(item)
        sidecar_restarts = sidecar_restarts.plus(item) if sidecar else sidecar_restarts
        if _succeeded(item):
            continue
        if sidecar and item.get("started"):
            ready += bool(item.get("ready"))
            continue
        return _init_reason(item, index, total), ready, restarts, sidecar_restarts
    return "", ready, restarts, sidecar_restarts


def _init_reason(item: Object, index: int, total: int) -> str:
    ended = _state(item, "terminated")
    if ended:
        return "Init:" + _ended_reason(ended)
    waiting = _state(item, "waiting").get("reason")
    if waiting and waiting != "PodInitializing":
        return f"Init:{waiting}"
    return f"Init:{index}/{total}"


def _main_reason(reason: str, statuses: Iterable[Object], pod_ready: bool) -> str:
    """The first container that waits or ended gives the reason."""
    for item in statuses:
        found = _state(item, "waiting").get("reason") or _ended_reason(_state(item, "terminated"))
        if found:
            reason = found
            break
    if reason == "Completed" and any(_serving(item) for item in statuses):
        return "Running" if pod_ready else "NotReady"
    return reason


def _ending(pod: Object, reason: str) -> str:
    status = pod.get("status") or {}
    if not (pod.get("metadata") or {}).get("deletionTimestamp"):
        return reason
    if status.get("reason") == "NodeLost":
        return "Unknown"
    return reason if status.get("phase") in ("Succeeded", "Failed") else "Terminating"


def _ended_reason(ended: Object) -> str:
    if not ended:
        return ""
    signal = ended.get("signal")
    return ended.get("reason") or (f"Signal:{signal}" if signal else f"ExitCode:{ended.get('exitCode', 0)}")


def _serving(item: Object) -> bool:
    states = item.get("state") or {}
    running = states.get("running") is not None
    return running and bool(item.get("ready"))


def _succeeded(item: Object) -> bool:
    ended = (item.get("state") or {}).get("terminated")
    return ended is not None and not ended.get("exitCode")


def _counted(start: Restarts, statuses: Iterable[Object]) -> Restarts:
    for item in statuses:
        start = start.plus(item)
    return start


def _restarts(restarts: Restarts, now: datetime) -> str:
    if not restarts.count or not restarts.last:
        return str(restarts.count)
    return f"{restarts.count} ({ages.since(restarts.last, now)} ago)"


def _gates(spec: Object, status: Object) -> str:
    gates = spec.get("readinessGates") or ()
    met = sum(_condition(status, gate.get("conditionType")) for gate in gates)
    return f"{met}/{len(gates)}" if gates else NONE


def _condition(status: Object, name: str | None) -> bool:
    return any(item.get("type") == name and item.get("status") == "True" for item in _conditions(status))


def _conditions(status: Object) -> Iterator[Object]:
    yield from status.get("conditions") or ()


def _state(item: Object, name: str) -> Object:
    return (item.get("state") or {}).get(name) or {}
