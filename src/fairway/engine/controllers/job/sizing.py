"""How many pods a Job runs now, for which indexes, and how long it waits after failures."""

from collections.abc import Iterable
from datetime import timedelta

import msgspec

from fairway.engine.controllers.job.snapshot import FINALIZER, Counts, Snapshot, end_of, index_failures, index_of
from fairway.engine.controllers.replicaset.ranking import first_to_go
from fairway.kube.api.pods import Pod

BURST_MAX = 500
_DELAY_SECONDS = 10.0
_DELAY_SECONDS_MAX = 600.0


class New(msgspec.Struct, frozen=True):
    """A pod to make; for an Indexed job with its index and, if counted, the failures of that index so far."""

    index: int | None = None
    failures: int | None = None


class Size(msgspec.Struct, frozen=True):
    """Pods to make, surplus pods to take away, and when to look again."""

    create: tuple[New, ...] = ()
    delete: tuple[Pod, ...] = ()
    again_seconds: float | None = None


def size(seen: Snapshot, counts: Counts) -> Size:
    """Bring the active pods to the number that is wanted."""
    surplus = _misplaced(seen, counts)
    fitting = [pod for pod in seen.active if pod not in surplus]
    wanted = _wanted(seen, counts, len(fitting) + len(seen.unseen))
    excess = len(fitting) + len(seen.unseen) - wanted
    if excess > 0:
        return Size(delete=(*surplus, *first_to_go(fitting)[:excess])[:BURST_MAX])
    held = len(seen.terminating) if seen.replaces_failed_only else 0
    missing = min(-excess - held, BURST_MAX)
    if missing <= 0:
        return Size(delete=surplus)
    return _grown(seen, counts, missing, surplus)


def _grown(seen: Snapshot, counts: Counts, missing: int, surplus: tuple[Pod, ...]) -> Size:
    per_index = seen.indexed and seen.spec.backoff_limit_per_index is not None
    waits: list[float] = []
    if not per_index and (left := _seconds_left(seen, _failures_in_a_row(seen))) > 0:
        return Size(delete=surplus, again_seconds=left)
    if not seen.indexed:
        return Size((New(),) * missing, surplus)
    create: list[New] = []
    for index in _pending(seen, counts):
        if len(create) == missing:
            break
        failed = [pod for pod in seen.pods if index_of(pod) == index and seen.has_failed(pod)] if per_index else []
        left = _seconds_left(seen, failed)
        if left > 0:
            waits.append(left)
        else:
            create.append(New(index, _failures_before(failed) if per_index else None))
    return Size(tuple(create), surplus, min(waits, default=None))


def _wanted(seen: Snapshot, counts: Counts, active: int) -> int:
    parallelism, completions = seen.spec.parallelism, seen.spec.completions
    if completions is None:
        return min(active, parallelism) if counts.all_succeeded else parallelism
    left = completions - counts.all_succeeded - len(counts.failed_indexes or ())
    return max(0, min(left, parallelism))


def _misplaced(seen: Snapshot, counts: Counts) -> tuple[Pod, ...]:
    """Active pods of an Indexed job whose index is not wanted (any more), or taken by another."""
    if not seen.indexed:
        return ()
    settled = counts.completed | (counts.failed_indexes or frozenset())
    taken: set[int] = set()
    found: list[Pod] = []
    for pod in reversed(first_to_go(seen.active)):
        index = index_of(pod)
        if index is None or index >= (seen.spec.completions or 0) or index in settled or index in taken:
            found.append(pod)
        else:
            taken.add(index)
    return tuple(found)


def _pending(seen: Snapshot, counts: Counts) -> Iterable[int]:
    """Indexes that nobody works on, lowest first."""
    busy = {index_of(pod) for pod in seen.active} | {_index_in(name) for name in seen.unseen}
    if seen.replaces_failed_only:
        busy |= {index_of(pod) for pod in seen.terminating}
    settled = counts.completed | (counts.failed_indexes or frozenset())
    return (index for index in range(seen.spec.completions or 0) if index not in busy and index not in settled)


def _index_in(name: str) -> int | None:
    """The index in the name of a pod that was made and not seen yet."""
    parts = name.rsplit("-", 2)
    return int(parts[1]) if len(parts) == 3 and parts[1].isdecimal() else None


def _failures_in_a_row(seen: Snapshot) -> list[Pod]:
    """The pods that failed after the last one that succeeded."""
    last = max((end_of(pod) for pod in seen.pods if pod.status.phase == "Succeeded"), default=None)
    failed = [
        pod
        for pod in seen.pods
        if pod.status.phase == "Failed" or (seen.has_failed(pod) and FINALIZER in pod.metadata.finalizers)
    ]
    return [pod for pod in failed if last is None or end_of(pod) > last]


def _failures_before(failed: list[Pod]) -> int:
    return max((index_failures(pod) + 1 for pod in failed), default=0)


def _seconds_left(seen: Snapshot, failed: list[Pod]) -> float:
    """10 s after the first failure, then twice as long each time, at most 10 min."""
    if not failed:
        return 0.0
    delay_seconds = min(_DELAY_SECONDS * 2.0 ** min(len(failed) - 1, 20), _DELAY_SECONDS_MAX)
    due = max(end_of(pod) for pod in failed) + timedelta(seconds=delay_seconds)
    return (due - seen.now).total_seconds()
