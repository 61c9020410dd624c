"""One pod and what is seen of it -> the status that the API shall show."""

from typing import Any

from fairway.engine.kubelet.conditions import conditions
from fairway.engine.kubelet.container_status import container_status
from fairway.engine.kubelet.plan import is_done, is_expired, is_sidecar
from fairway.engine.kubelet.resources import qos_class
from fairway.engine.kubelet.snapshot import PodSeen
from fairway.kube.api.meta import timestamp
from fairway.kube.api.pods import EphemeralContainer, Pod

Json = dict[str, Any]


def pod_status(pod: Pod, seen: PodSeen, *, host_ip: str) -> Json:
    """A strategic merge patch of `status`: fields that must go are null, lists with keys say what to delete."""
    ending = pod.metadata.deletion_timestamp is not None or is_done(pod, seen)
    init = [
        container_status(
            pod, container, seen, init=True, ending=ending or (not is_sidecar(container) and _started(pod, seen))
        )
        for container in pod.spec.init_containers
    ]
    main = [container_status(pod, container, seen, init=False, ending=ending) for container in pod.spec.containers]
    phase = _phase(pod, seen, init, main, ending=ending)
    status: Json = {
        "phase": phase,
        "conditions": conditions(pod, seen, phase, init, main),
        "qosClass": pod.status.qos_class or qos_class(pod),
        "observedGeneration": pod.metadata.generation,
        "startTime": timestamp(pod.status.start_time or seen.now),
        **_addresses(pod, seen, host_ip),
        **_verdict(pod, seen, phase),
    }
    if init:
        status["initContainerStatuses"] = init
    status["containerStatuses"] = sorted(main, key=lambda each: str(each["name"]))
    if pod.spec.ephemeral_containers:
        status["ephemeralContainerStatuses"] = [_ephemeral(pod, each, seen) for each in pod.spec.ephemeral_containers]
    return status


def _ephemeral(pod: Pod, container: EphemeralContainer, seen: PodSeen) -> Json:
    """Never ready, never restarted."""
    return {**container_status(pod, container, seen, init=False, ending=True), "ready": False}


def _started(pod: Pod, seen: PodSeen) -> bool:
    """Whether the containers proper have had their turn, so that no plain init container runs again."""
    return any(container.name in seen.containers for container in pod.spec.containers)


def _addresses(pod: Pod, seen: PodSeen, host_ip: str) -> Json:
    body: Json = {"hostIP": host_ip, "hostIPs": [{"ip": host_ip}]}
    if seen.ip:
        old = pod.status.pod_ip
        gone = [{"$patch": "delete", "ip": old}] if old and old != seen.ip else []
        body |= {"podIP": seen.ip, "podIPs": [{"ip": seen.ip}, *gone]}
    return body


def _verdict(pod: Pod, seen: PodSeen, phase: str) -> Json:
    """Reason and message of a pod that the kubelet itself failed."""
    if phase == "Failed" and seen.verdict is not None:
        return {"reason": seen.verdict.reason, "message": seen.verdict.message}
    if phase == "Failed" and is_expired(pod, seen.now):
        return {
            "reason": "DeadlineExceeded",
            "message": "Pod was active on the node longer than the specified deadline",
        }
    return {}


def _phase(pod: Pod, seen: PodSeen, init: list[Json], main: list[Json], *, ending: bool) -> str:
    """Upstream's `getPhase`; an end, once shown, is never taken back."""
    if pod.finished:
        return pod.status.phase
    alive = any("running" in status["state"] for status in (*init, *main))
    if (is_expired(pod, seen.now) or seen.verdict is not None) and not alive:
        return "Failed"
    if not _started(pod, seen):
        return _phase_of_init(pod, init)
    kinds = [_kind(status) for status in main]
    if "waiting" in kinds:
        return "Pending"
    if "running" in kinds or alive:
        return "Running"
    if not ending:
        return "Running"  # everything ended and will be started again
    return "Succeeded" if all(_succeeded(status) for status in main) else "Failed"


def _phase_of_init(pod: Pod, init: list[Json]) -> str:
    sidecars = {container.name for container in pod.spec.init_containers if is_sidecar(container)}
    failed = any(
        status["state"].get("terminated", {}).get("exitCode") for status in init if status["name"] not in sidecars
    )
    return "Failed" if failed and pod.spec.restart_policy == "Never" else "Pending"


def _kind(status: Json) -> str:
    """running, stopped or waiting; one that waits for a restart counts as stopped."""
    if "running" in status["state"]:
        return "running"
    return "stopped" if "terminated" in status["state"] or status["lastState"] else "waiting"


def _succeeded(status: Json) -> bool:
    terminated = status["state"].get("terminated") or status["lastState"].get("terminated") or {}
    return terminated.get("exitCode") == 0
