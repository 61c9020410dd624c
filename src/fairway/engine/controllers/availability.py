"""Since when a pod serves, and when it counts as available (`minReadySeconds`)."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from fairway.kube.api.pods import Pod


def is_available(pod: Pod, min_ready_seconds: int, now: datetime) -> bool:
    """Whether it has been ready for long enough."""
    return pod.ready and seconds_left(pod, min_ready_seconds, now) <= 0


def seconds_left(pod: Pod, min_ready_seconds: int, now: datetime) -> float:
    """How long a ready pod has to stay so until it counts as available; 0 or less when it does."""
    condition = pod.status.condition("Ready")
    if not min_ready_seconds or condition is None or condition.last_transition_time is None:
        return 0.0
    return (condition.last_transition_time + timedelta(seconds=min_ready_seconds) - now).total_seconds()


def next_available_seconds(pods: Iterable[Pod], min_ready_seconds: int, now: datetime) -> float | None:
    """When the next of them becomes available without any event; None when none will."""
    waits = (seconds_left(pod, min_ready_seconds, now) for pod in pods if pod.ready)
    return min((wait for wait in waits if wait > 0), default=None)
