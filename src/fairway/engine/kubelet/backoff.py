"""CrashLoopBackOff: how long a container that ended waits for its next start.

The rules are client-go's `flowcontrol.Backoff` as the kubelet uses it: the first end restarts at once, then 10 s
doubling to 5 min; a run of more than 10 min starts over.
"""

from datetime import datetime, timedelta

from fairway.engine.kubelet.snapshot import Backoff, ContainerSeen

FIRST_SECONDS = 10.0
LONGEST_SECONDS = 300.0
_RESET_SECONDS = 2 * LONGEST_SECONDS


def remaining_seconds(seen: ContainerSeen, now: datetime) -> float:
    """Seconds until an ended container may start again; zero when it may now."""
    finished = seen.termination.finished_at if seen.termination else None
    if finished is None or _expired(seen.backoff, finished):
        return 0.0
    return left_seconds(finished + timedelta(seconds=seen.backoff.seconds), now, seen.backoff.seconds)


def left_seconds(due: datetime, now: datetime, longest_seconds: float = LONGEST_SECONDS) -> float:
    """Seconds until a moment that was at most `longest_seconds` away when it was chosen.

    More than that means that the clock was set back meanwhile: then it is due now.
    """
    seconds = (due - now).total_seconds()
    return seconds if 0 < seconds <= longest_seconds else 0.0


def following(backoff: Backoff, finished: datetime | None, now: datetime) -> Backoff:
    """The delay to remember when a container that ended is started again."""
    if finished is None or _expired(backoff, finished):
        return Backoff(FIRST_SECONDS, now)
    return Backoff(min(backoff.seconds * 2, LONGEST_SECONDS), now)


def _expired(backoff: Backoff, finished: datetime) -> bool:
    """Whether the run that just ended was long enough to forget the crashes before it."""
    if backoff.updated_at is None:
        return True
    return (finished - backoff.updated_at).total_seconds() > _RESET_SECONDS


def duration(seconds: float) -> str:
    """A delay as Go prints it: 10s, 1m20s, 5m0s."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
