"""Container statuses -> the pod's conditions, keeping the times of those that did not change (pure)."""

from collections.abc import Iterable, Iterator
from typing import Any

from fairway.engine.kubelet.plan import is_sidecar
from fairway.engine.kubelet.snapshot import EVICTED, PodSeen
from fairway.kube.api.meta import Condition, timestamp
from fairway.kube.api.pods import Pod

Json = dict[str, Any]
_ENDED = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}


def conditions(pod: Pod, seen: PodSeen, phase: str, init: list[Json], main: list[Json]) -> list[Json]:
    """The conditions that the kubelet owns, in upstream's order.  PodScheduled is the scheduler's and stays."""
    ready = _containers_ready(pod, phase, init, main)
    facts = [
        ("PodReadyToStartContainers", "True" if seen.sandbox and seen.ip else "False", "", ""),
        ("Initialized", *_initialized(pod, phase, init, main)),
        ("Ready", *_pod_ready(pod, ready)),
        ("ContainersReady", *ready),
    ]
    if seen.verdict is not None and seen.verdict.reason == EVICTED:
        facts.append(("DisruptionTarget", "True", "TerminationByKubelet", seen.verdict.message))
    return [*(_condition(pod, seen, *fact) for fact in facts), *_resizing(pod, seen)]


def _resizing(pod: Pod, seen: PodSeen) -> Iterator[Json]:
    """KEP-1287: both are there only while they are true; a strategic merge patch takes them away."""
    pending, running = seen.resize_pending, False
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        run = seen.containers.get(container.name)
        live = run is not None and run.status == "running" and run.resources is not None
        running = running or (live and run is not None and run.resources != container.resources)
    facts = (
        (
            "PodResizePending",
            pending is not None,
            pending.reason if pending else "",
            pending.message if pending else "",
        ),
        ("PodResizeInProgress", running, "", ""),
    )
    for name, holds, reason, message in facts:
        if holds:
            yield _condition(pod, seen, name, "True", reason, message)
        elif pod.status.condition(name) is not None:
            yield {"$patch": "delete", "type": name}


def _initialized(pod: Pod, phase: str, init: list[Json], main: list[Json]) -> tuple[str, str, str]:
    if phase == "Succeeded":
        return "True", "PodCompleted", ""
    if any(_has_run(status) for status in main):
        return "True", "", ""
    sidecars = {container.name for container in pod.spec.init_containers if is_sidecar(container)}
    missing = [
        status["name"] for status in init if not (status["started"] if status["name"] in sidecars else status["ready"])
    ]
    if not missing:
        return "True", "", ""
    message = f"containers with incomplete status: [{' '.join(missing)}]"
    return "False", "ContainersNotInitialized", message


def _has_run(status: Json) -> bool:
    return "waiting" not in status["state"] or bool(status["lastState"])


def _containers_ready(pod: Pod, phase: str, init: list[Json], main: list[Json]) -> tuple[str, str, str]:
    if phase in _ENDED:
        return "False", _ENDED[phase], ""
    sidecars = {container.name for container in pod.spec.init_containers if is_sidecar(container)}
    unready = [status["name"] for status in init if status["name"] in sidecars and not status["ready"]]
    unready += [status["name"] for status in _in_spec_order(pod, main) if not status["ready"]]
    if not unready:
        return "True", "", ""
    return "False", "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"


def _in_spec_order(pod: Pod, statuses: list[Json]) -> Iterable[Json]:
    by_name = {status["name"]: status for status in statuses}
    return (by_name[container.name] for container in pod.spec.containers if container.name in by_name)


def _pod_ready(pod: Pod, containers: tuple[str, str, str]) -> tuple[str, str, str]:
    """Containers first, then the readiness gates that others set."""
    if containers[0] != "True":
        return containers
    problems = []
    for gate in pod.spec.readiness_gates:
        condition = pod.status.condition(gate.condition_type)
        if condition is None:
            problems.append(f'corresponding condition of pod readiness gate "{gate.condition_type}" does not exist.')
        elif condition.status != "True":
            problems.append(
                f'the status of pod readiness gate "{gate.condition_type}" is not "True", but {condition.status}'
            )
    if problems:
        return "False", "ReadinessGatesNotReady", ", ".join(problems)
    return "True", "", ""


def _condition(pod: Pod, seen: PodSeen, type: str, status: str, reason: str, message: str) -> Json:
    body: Json = {"type": type, "status": status, "lastProbeTime": None}
    body["lastTransitionTime"] = _since(pod.status.condition(type), status, seen)
    body["observedGeneration"] = pod.metadata.generation
    body["reason"] = reason or None  # null takes the field away in a strategic merge patch
    body["message"] = message or None
    return body


def _since(old: Condition | None, status: str, seen: PodSeen) -> str:
    if old is not None and old.status == status and old.last_transition_time is not None:
        return timestamp(old.last_transition_time)
    return timestamp(seen.now)
