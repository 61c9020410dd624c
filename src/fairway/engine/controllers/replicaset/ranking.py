"""Which pods go first when there are too many (documentation of ReplicaSet, "Scaling a ReplicaSet")."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

from fairway.kube.api.pods import Pod

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}
_LATEST = datetime(9999, 1, 1, tzinfo=UTC)

Rank = tuple[bool, int, bool, int, int, float, int, float]


def first_to_go(pods: Iterable[Pod]) -> list[Pod]:
    """Unassigned, pending, not ready, cheap, crowded, newly ready, often restarted and new ones, in this order."""
    all_pods = tuple(pods)
    crowds = Counter(pod.spec.node_name for pod in all_pods)
    return sorted(all_pods, key=lambda pod: _rank(pod, crowds[pod.spec.node_name]))


def _rank(pod: Pod, crowd: int) -> Rank:
    return (
        bool(pod.spec.node_name),
        _PHASES.get(pod.status.phase, 0),
        pod.ready,
        _cost(pod),
        -crowd,
        -_ready_since(pod).timestamp() if pod.ready else 0.0,
        -_restarts(pod),
        -(pod.metadata.creation_timestamp or _LATEST).timestamp(),
    )


def _cost(pod: Pod) -> int:
    text = pod.metadata.annotations.get(DELETION_COST, "0")
    return int(text) if text.lstrip("-").isdecimal() else 0


def _ready_since(pod: Pod) -> datetime:
    condition = pod.status.condition("Ready")
    return (condition.last_transition_time if condition else None) or _LATEST


def _restarts(pod: Pod) -> int:
    return max((status.restart_count for status in pod.status.container_statuses), default=0)
