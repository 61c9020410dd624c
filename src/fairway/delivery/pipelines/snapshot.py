"""What the cluster shows of a run's jobs, as values to decide on."""

import re
from collections.abc import Callable, Iterable
from datetime import datetime

import msgspec

from fairway.delivery.pipelines.names import ATTEMPT_ANNOTATION, SCRIPT, STEP_ANNOTATION
from fairway.kube.api.jobs import Job
from fairway.kube.api.pods import ContainerStatus, Pod

_STUCK = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError")
_PATH = re.compile(r"(?:/[^\s:/]+){3,}")
"""Where something is on the node is nobody's concern."""
_NOT_STARTED = ("StartError", "ContainerCannotRun")
_EVICTED = "Evicted"
_WORKSPACE_FULL = "EmptyDir volume"
_DISK_USED = ("ephemeral local storage usage exceeds", "local ephemeral storage limit")
"""How a kubelet says that a pod wrote more than it may."""
_NOT_PULLED = ("ErrImagePull", "ImagePullBackOff")


def _nothing_known(image: str) -> str:
    return ""


class JobSeen(msgspec.Struct, frozen=True):
    """One attempt of a step: `phase` is Pending, Running, Succeeded or Failed, `stuck` what keeps it from starting."""

    name: str
    attempt: int
    phase: str
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    message: str = ""
    stuck: str = ""
    deleting: bool = False
    unstarted: bool = False
    """The script never ran: the node could not start its container."""


def see(
    jobs: Iterable[Job], pods: Iterable[Pod], how_to_have: Callable[[str], str] = _nothing_known
) -> dict[str, JobSeen]:
    """The newest attempt of each step, by the step's name.

    `how_to_have` says what to do about an image that cannot be pulled.
    """
    by_job: dict[str, Pod] = {}
    for pod in pods:
        owner = pod.metadata.controller
        if owner is not None and _newer(pod, by_job.get(owner.uid)):
            by_job[owner.uid] = pod
    found: dict[str, JobSeen] = {}
    for job in jobs:
        step = job.metadata.annotations.get(STEP_ANNOTATION, "")
        seen = see_job(job, by_job.get(job.metadata.uid), how_to_have)
        if step and (step not in found or seen.attempt > found[step].attempt):
            found[step] = seen
    return found


def see_job(job: Job, pod: Pod | None, how_to_have: Callable[[str], str] = _nothing_known) -> JobSeen:
    """One Job and its newest pod."""
    attempt = job.metadata.annotations.get(ATTEMPT_ANNOTATION, "1")
    container = script_status(pod)
    ended = container.state.terminated if container else None
    ran = container.state.running if container else None
    finished = job.finished
    phase = "Pending"
    if finished is not None:
        phase = "Succeeded" if finished.type == "Complete" else "Failed"
    elif ended is not None or ran is not None or (pod is not None and pod.status.phase == "Running"):
        phase = "Running"
    return JobSeen(
        name=job.metadata.name,
        attempt=int(attempt) if attempt.isdecimal() else 1,
        phase=phase,
        started_at=job.status.start_time,
        finished_at=finished.last_transition_time if finished else None,
        exit_code=ended.exit_code if ended else None,
        message=_message(job, pod) if phase == "Failed" else "",
        stuck=_stuck(pod, how_to_have) if finished is None else "",
        deleting=job.metadata.deletion_timestamp is not None,
        unstarted=ended is not None and ended.reason in _NOT_STARTED,
    )


def script_status(pod: Pod | None) -> ContainerStatus | None:
    """The status of the container with the user's script."""
    statuses = pod.status.init_container_statuses if pod else ()
    return next((one for one in statuses if one.name == SCRIPT), None)


def _message(job: Job, pod: Pod | None) -> str:
    """Why a job failed, in words for the person whose job it is."""
    finished = job.finished
    if finished is not None and finished.reason == "DeadlineExceeded":
        return f"took longer than {job.spec.active_deadline_seconds} seconds"
    if pod is not None and pod.status.reason == _EVICTED:
        return _evicted(pod.status.message.strip())
    every = (*pod.status.init_container_statuses, *pod.status.container_statuses) if pod else ()
    for one in sorted(every, key=lambda status: status.name != SCRIPT):  # what is beside it ends because it did
        ended = one.state.terminated
        if ended is None or ended.exit_code == 0:
            continue
        if ended.reason == "OOMKilled":
            return "used more memory than spec.build.memory allows and was killed"
        if one.name == SCRIPT and ended.reason in _NOT_STARTED:
            return f"the script's container could not be started: {_PATH.sub('…', ended.message)}".rstrip(": ")
        if one.name == SCRIPT:
            return f"the script ended with exit code {ended.exit_code}"
        return f"the platform's container {one.name} ended with exit code {ended.exit_code}: {ended.message}".rstrip(
            ": "
        )
    if pod is not None and pod.status.message:
        return pod.status.message
    return finished.message if finished else ""


def _evicted(said: str) -> str:
    """The containers that were killed for it tell nothing of that."""
    if any(words in said for words in _DISK_USED):
        return f"used more disk than spec.build.disk allows and was ended: {said}"
    if _WORKSPACE_FULL in said:
        return f"wrote more into the workspace than it may and was ended: {said}"
    return f"its machine ran short and ended it; try again when there is room: {said}"


def _stuck(pod: Pod | None, how_to_have: Callable[[str], str]) -> str:
    """Why a container cannot start, when that will not mend itself soon."""
    for one in (*pod.status.init_container_statuses, *pod.status.container_statuses) if pod else ():
        waiting = one.state.waiting
        if waiting is not None and waiting.reason in _STUCK:
            said = f"{waiting.reason}: {waiting.message}".rstrip(": ")
            advice = how_to_have(one.image) if waiting.reason in _NOT_PULLED else ""
            if advice:
                return f"there is no image {one.image}: {advice} ({said})"
            return f"container {one.name} with image {one.image}: {said}"
    return ""


def _newer(pod: Pod, other: Pod | None) -> bool:
    if other is None:
        return True
    mine, its = pod.metadata.creation_timestamp, other.metadata.creation_timestamp
    return bool(mine and its and mine > its)
