"""One container and its newest run -> its entry in `containerStatuses` (pure)."""

from datetime import datetime
from typing import Any

from fairway.engine.kubelet import backoff
from fairway.engine.kubelet.plan import is_sidecar, policy_of, should_restart
from fairway.engine.kubelet.snapshot import ContainerSeen, PodSeen, Termination
from fairway.kube.api.meta import timestamp
from fairway.kube.api.pods import Container, Pod

Json = dict[str, Any]

ID_SCHEME = "fairway://"


def container_status(pod: Pod, container: Container, seen: PodSeen, *, init: bool, ending: bool) -> Json:
    """What the API shows of one container; `ending` pods restart nothing."""
    run = seen.containers.get(container.name)
    state = _state(pod, container, run, seen, init=init, ending=ending)
    ended = run.termination if run is not None and run.status == "exited" else None
    previous = run.previous if run is not None else None
    last = ended if ended is not None and "terminated" not in state else previous
    running = "running" in state and run is not None
    is_step = init and not is_sidecar(container)  # ready is: has done its work
    done = is_step and ended is not None and ended.exit_code == 0 and "terminated" in state
    return {
        "name": container.name,
        "state": state,
        "lastState": {"terminated": termination(last)} if last is not None else {},
        "ready": bool(done if is_step else running and run is not None and run.started and run.ready),
        "started": bool(running and run is not None and run.started),
        "restartCount": run.attempt if run is not None else 0,
        "image": container.image,
        "imageID": run.image_ref if run is not None else "",
        **({"containerID": ID_SCHEME + run.id} if run is not None else {}),
        **_resources(container, run),
        **_mounts(container),
    }


def termination(ended: Termination) -> Json:
    """A `ContainerStateTerminated`."""
    body: Json = {"exitCode": ended.exit_code}
    if ended.signal:
        body["signal"] = ended.signal
    body["reason"] = ended.reason or ("Completed" if ended.exit_code == 0 else "Error")
    if ended.message:
        body["message"] = ended.message
    body["startedAt"] = _time(ended.started_at)
    body["finishedAt"] = _time(ended.finished_at)
    body["containerID"] = ID_SCHEME + ended.container_id
    return body


def pod_name(pod: Pod) -> str:
    """A pod as the kubelet's messages name it."""
    return f"{pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})"


def _state(
    pod: Pod, container: Container, run: ContainerSeen | None, seen: PodSeen, *, init: bool, ending: bool
) -> Json:
    trouble = seen.troubles.get(container.name)
    if run is not None and run.status == "running":
        return {"running": {"startedAt": _time(run.started_at)}}
    if run is not None and run.status == "exited" and run.termination is not None:
        waits = not ending and should_restart(policy_of(pod, container, init=init), run)
        if waits and (waiting := _crash(pod, run, seen.now)):
            return waiting
        if trouble is None or not waits:
            return {"terminated": termination(run.termination)}
    if trouble is not None:
        return {"waiting": {"reason": trouble.reason, **({"message": trouble.message} if trouble.message else {})}}
    return {"waiting": {"reason": "PodInitializing" if pod.spec.init_containers else "ContainerCreating"}}


def _crash(pod: Pod, run: ContainerSeen, now: datetime) -> Json | None:
    """CrashLoopBackOff while the next start waits; a program that never ran shows why until then."""
    if backoff.remaining_seconds(run, now) > 0:
        delay = backoff.duration(run.backoff.seconds)
        message = f"back-off {delay} restarting failed container={run.name} pod={pod_name(pod)}"
        return {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
    if run.termination is not None and run.termination.reason == "StartError":
        return {"waiting": {"reason": "RunContainerError", "message": run.termination.message}}
    return None


def _resources(container: Container, run: ContainerSeen | None) -> Json:
    """What the node granted, and what the run may use: the same but for the moment of a resize."""
    granted = container.resources
    used = run.resources if run is not None and run.resources is not None else granted
    pairs = (("limits", used.limits), ("requests", used.requests))
    resources = {key: dict(values) for key, values in pairs if values}
    allocated = {"allocatedResources": dict(granted.requests)} if granted.requests else {}
    return {**allocated, "resources": resources}


def _mounts(container: Container) -> Json:
    mounts = [
        {
            "name": mount.name,
            "mountPath": mount.mount_path,
            **({"readOnly": True, "recursiveReadOnly": "Disabled"} if mount.read_only else {}),
        }
        for mount in container.volume_mounts
    ]
    return {"volumeMounts": mounts} if mounts else {}


def _time(moment: datetime | None) -> str | None:
    return timestamp(moment) if moment is not None else None
