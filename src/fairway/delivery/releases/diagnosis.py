"""Why a rollout failed: a pod of the new version, its last probe, its container, its log."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fairway.delivery.kinds.releases import Diagnosis
from fairway.delivery.releases.freeze import masked
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import ContainerStatus, Pod
from fairway.kube.api.resource import EVENTS, PODS, REPLICA_SETS
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import ApiError, Unreachable

_LINES = 50
_LINE_LENGTH_MAX = 500
_LOG_LENGTH_MAX = 16_000
_TEXT_LENGTH_MAX = 1000
_HASH_LABEL = "pod-template-hash"
_REFUSED = "ReplicaFailure"
_REVISION = "deployment.kubernetes.io/revision"
# What tells most of why a pod does not get ready, before what merely happened to it.
_CRASH_LOOP = "CrashLoopBackOff"
_CRASHES_MAX = 3
"""With Kubernetes' back-off that is about half a minute: time enough for a program that waits for its database."""
_TELLING = ("Unhealthy", "Failed", "FailedMount", "FailedScheduling", "FailedCreatePodSandBox", "BackOff")


async def diagnose(
    client: ApiClient, namespace: str, selector: Mapping[str, str], hidden: Sequence[bytes]
) -> Diagnosis | None:
    """What is to be seen of the newest version among the pods of a selector. Raises ApiError, Unreachable."""
    labels = ",".join(f"{name}={value}" for name, value in selector.items())
    replica_sets = (await client.list(REPLICA_SETS, namespace, labels=labels)).items
    pods = [decode(Pod, raw) for raw in (await client.list(PODS, namespace, labels=labels)).items]
    pod = worst(pods, newest_hash(replica_sets))
    if pod is None:
        text = _clean(refusal(replica_sets), hidden, _TEXT_LENGTH_MAX)
        return Diagnosis(pod=f"none was made: {text}") if text else None
    container = suspect(pod)
    return Diagnosis(
        pod=pod.metadata.name,
        probe=_clean(await _event(client, pod), hidden, _TEXT_LENGTH_MAX),
        container=_clean(state(container) if container else _unscheduled(pod), hidden, _TEXT_LENGTH_MAX),
        log=await _log(client, pod, container.name if container else "", hidden),
    )


async def crash_loop(client: ApiClient, namespace: str, selector: Mapping[str, str]) -> str:
    """What the newest version's program does when it ends as soon as it starts, time and again; "" otherwise.

    A pod of that version that is ready says that it can be done. Raises ApiError, Unreachable.
    """
    labels = ",".join(f"{name}={value}" for name, value in selector.items())
    pods = [decode(Pod, raw) for raw in (await client.list(PODS, namespace, labels=labels)).items]
    fresh = newest_hash((await client.list(REPLICA_SETS, namespace, labels=labels)).items)
    mine = [pod for pod in pods if fresh and pod.metadata.labels.get(_HASH_LABEL) == fresh]
    if any(pod.ready for pod in mine):
        return ""
    for pod in mine:
        for one in (*pod.status.init_container_statuses, *pod.status.container_statuses):
            waiting = one.state.waiting
            if waiting is not None and waiting.reason == _CRASH_LOOP and one.restart_count >= _CRASHES_MAX:
                return f"container {one.name} ended {one.restart_count + 1} times without getting ready"
    return ""


def newest_hash(replica_sets: Iterable[Mapping[str, Any]]) -> str:
    """The template hash of the newest ReplicaSet."""
    newest = _newest(replica_sets)
    return (newest["metadata"].get("labels") or {}).get(_HASH_LABEL, "") if newest else ""


def refusal(replica_sets: Iterable[Mapping[str, Any]]) -> str:
    """Why the newest ReplicaSet may make no pods, such as a quota; "" when nobody keeps it from that."""
    status = (_newest(replica_sets) or {}).get("status") or {}
    return next((one.get("message", "") for one in status.get("conditions") or () if one["type"] == _REFUSED), "")


def _newest(replica_sets: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    def revision(raw: Mapping[str, Any]) -> int:
        text = (raw["metadata"].get("annotations") or {}).get(_REVISION, "0")
        return int(text) if text.isdecimal() else 0

    return max(replica_sets, key=revision, default=None)


def worst(pods: Iterable[Pod], template_hash: str) -> Pod | None:
    """The youngest pod that is not ready, of the newest version if it has any."""
    sick = [pod for pod in pods if not pod.ready and pod.metadata.deletion_timestamp is None]
    fresh = [pod for pod in sick if template_hash and pod.metadata.labels.get(_HASH_LABEL) == template_hash]
    return max(fresh or sick, key=lambda pod: (str(pod.metadata.creation_timestamp), pod.metadata.name), default=None)


def suspect(pod: Pod) -> ContainerStatus | None:
    """The container that stands in the way."""
    statuses = (*pod.status.init_container_statuses, *pod.status.container_statuses)
    for one in statuses:
        ended = one.state.terminated
        if one.state.waiting is not None and one.state.waiting.reason != "PodInitializing":
            return one
        if ended is not None and ended.exit_code != 0:
            return one
    return next((one for one in pod.status.container_statuses if not one.ready), None)


def state(container: ContainerStatus) -> str:
    """Why it waits, or how it ended last."""
    waiting = container.state.waiting
    ended = container.state.terminated or container.last_state.terminated
    parts = []
    if waiting is not None:
        parts.append(f"waiting: {waiting.reason}" + (f": {waiting.message}" if waiting.message else ""))
    if ended is not None:
        signal = f" by signal {ended.signal}" if ended.signal else ""
        parts.append(f"ended with exit code {ended.exit_code}{signal} ({ended.reason})" + _said(ended.message))
    if not parts:
        parts.append("running, not ready")
    restarts = f"; {container.restart_count} restarts" if container.restart_count else ""
    return f"{container.name}: {'; '.join(parts)}{restarts}"


def _said(text: str) -> str:
    return f": {text}" if text else ""


def _unscheduled(pod: Pod) -> str:
    condition = pod.status.condition("PodScheduled")
    return f"not scheduled: {condition.message}" if condition is not None and condition.status == "False" else ""


async def _event(client: ApiClient, pod: Pod) -> str:
    fields = f"involvedObject.name={pod.metadata.name}"
    found = [
        raw
        for raw in (await client.list(EVENTS, pod.metadata.namespace, fields=fields)).items
        if raw["involvedObject"].get("uid") == pod.metadata.uid and raw.get("type") == "Warning"
    ]
    for reason in _TELLING:
        mine = [raw for raw in found if raw.get("reason") == reason]
        if mine:
            newest = max(mine, key=lambda raw: (raw.get("lastTimestamp") or "", raw["metadata"]["name"]))
            return str(newest.get("message", ""))
    return ""


async def _log(client: ApiClient, pod: Pod, container: str, hidden: Sequence[bytes]) -> str:
    pieces: list[bytes] = []
    try:
        async for piece in client.log(
            pod.metadata.name, pod.metadata.namespace, container=container, tail_lines=_LINES
        ):
            pieces.append(piece)
    except (ApiError, Unreachable):
        return ""  # it never ran, or its node does not answer: then the rest tells
    text = b"".join(pieces).decode("utf-8", "replace")
    lines = [_clean(line, hidden, _LINE_LENGTH_MAX) for line in masked(text, hidden).splitlines()[-_LINES:]]
    return "\n".join(lines)[-_LOG_LENGTH_MAX:]


def _clean(text: str, hidden: Sequence[bytes], length_max: int) -> str:
    printable = "".join(char if char.isprintable() or char == "\t" else " " for char in masked(text, hidden))
    return printable.rstrip()[:length_max]
