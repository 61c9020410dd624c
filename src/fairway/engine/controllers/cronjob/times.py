"""Which start time of a CronJob is due, and how many were missed."""

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from fairway.kube.api.jobs import CronJob
from fairway.toolkit import cron

_MANY = 100
_OLDEST = datetime(1, 1, 2, tzinfo=UTC)

Clockwork = cron.Schedule | cron.Every


class Due(msgspec.Struct, frozen=True):
    """The latest start time that has come and not been used (None: there is none), and whether many were missed."""

    at: datetime | None = None
    many_missed: bool = False


def zone_of(name: str | None) -> tzinfo:
    """The time zone; UTC when none is named.  Raises ValueError when there is none of that name."""
    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"unknown time zone {name}") from error


def due(cron_job: CronJob, schedule: Clockwork, zone: tzinfo, now: datetime) -> Due:
    """Look back to the last start (or the creation), or as far as the starting deadline allows."""
    earliest = _earliest(cron_job, now)
    first = schedule.after(earliest, zone)
    if first is None or first > now:
        return Due()
    second = schedule.after(first, zone)
    if second is None or second > now:
        return Due(first)
    distance = max(1.0, (second - first).total_seconds())
    missed = int((now - first).total_seconds() / distance) + 1
    return Due(_latest(schedule, zone, first, now, distance), missed > _MANY)


def seconds_to_next(schedule: Clockwork, zone: tzinfo, now: datetime) -> float | None:
    """How long until the next start time; None when none ever comes."""
    following = schedule.after(now, zone)
    return None if following is None else (following - now).total_seconds()


def _earliest(cron_job: CronJob, now: datetime) -> datetime:
    earliest = cron_job.status.last_schedule_time or cron_job.metadata.creation_timestamp or _OLDEST
    deadline = cron_job.spec.starting_deadline_seconds
    return earliest if deadline is None else max(earliest, now - timedelta(seconds=deadline))


def _latest(schedule: Clockwork, zone: tzinfo, first: datetime, now: datetime, distance: float) -> datetime:
    """The last start time up to now. A guess that is too late is taken back, so that no time is stepped over."""
    if isinstance(schedule, cron.Every):
        return first + timedelta(seconds=(now - first).total_seconds() // schedule.seconds * schedule.seconds)
    back = distance
    while True:
        guess = max(first, now - timedelta(seconds=back))
        found = first if guess == first else schedule.after(guess, zone)
        if found is not None and found <= now:
            break
        back *= 2
    while (following := schedule.after(found, zone)) is not None and following <= now:
        found = following
    return found
