"""The numbers that `kubectl rollout history` and `undo` read from annotations."""

from collections.abc import Iterable, Mapping

from fairway.kube.api.workloads import Deployment, ReplicaSet

REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
_HISTORY_LENGTH_MAX = 2000
_NOT_COPIED = {
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAXIMUM,
    "deprecated.deployment.rollback.to",
}


def revision(annotations: Mapping[str, str]) -> int:
    """The revision that an object says it is; 0 when it does not."""
    text = annotations.get(REVISION, "")
    return int(text) if text.isdecimal() else 0


def next_revision(old: Iterable[ReplicaSet]) -> int:
    """One more than any that is not the current one."""
    return max((revision(owned.metadata.annotations) for owned in old), default=0) + 1


def new_annotations(deployment: Deployment, number: int, maximum: int) -> dict[str, str]:
    """The annotations of a ReplicaSet that is about to be made."""
    return {**_copied(deployment), REVISION: str(number), **size_annotations(deployment.spec.replicas, maximum)}


def size_annotations(desired: int, maximum: int) -> dict[str, str]:
    """What a later proportional scaling needs to know of the Deployment as it was."""
    return {DESIRED: str(desired), MAXIMUM: str(maximum)}


def changed_annotations(deployment: Deployment, current: ReplicaSet, number: int) -> dict[str, str]:
    """Which annotations the current ReplicaSet still needs.

    A ReplicaSet that was rolled back to gets a new number, and remembers its former ones.
    """
    has = current.metadata.annotations
    changed = {key: value for key, value in _copied(deployment).items() if has.get(key) != value}
    if revision(has) < number:
        changed[REVISION] = str(number)
        if REVISION in has:
            changed[HISTORY] = _remembered(has.get(HISTORY, ""), has[REVISION])
    return changed


def _copied(deployment: Deployment) -> dict[str, str]:
    return {key: value for key, value in deployment.metadata.annotations.items() if key not in _NOT_COPIED}


def _remembered(history: str, former: str) -> str:
    numbers = [*(number for number in history.split(",") if number), former]
    while len(",".join(numbers)) > _HISTORY_LENGTH_MAX:
        numbers.pop(0)
    return ",".join(numbers)
