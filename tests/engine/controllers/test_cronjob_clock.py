"""CronJobs through the API and the real controllers, with a wall clock that the test sets."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import controllers_world
import pytest
from controllers_world import Cluster

from fairway.kube.api.meta import timestamp
from fairway.kube.api.resource import CRON_JOBS, JOBS, PODS
from fairway.toolkit.clock import SystemClock

Raw = dict[str, Any]
START = datetime(2026, 1, 15, tzinfo=UTC)


class SetClock(SystemClock):
    """Wall time stands where it was set, but for a microsecond at each look; waiting is real."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        self._now += timedelta(microseconds=1)
        return self._now

    def set(self, now: datetime) -> None:
        self._now = now


class World:
    """A cluster, its clock and one CronJob."""

    def __init__(self, cluster: Cluster, clock: SetClock) -> None:
        self.cluster, self.clock = cluster, clock

    async def make(self, schedule: str, **spec: Any) -> None:
        containers = [{"name": "main", "image": "busybox:1"}]
        job = {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": containers}}}}
        await self.cluster.client.create(
            CRON_JOBS,
            {
                "apiVersion": "batch/v1",
                "kind": "CronJob",
                "metadata": {"name": "tick", "namespace": "default"},
                "spec": {"schedule": schedule, "jobTemplate": job, **spec},
            },
        )

    async def at(self, now: datetime) -> None:
        """The machine's clock is set, and the controller has looked at it."""
        self.clock.set(now)
        seen = {"metadata": {"annotations": {"example.com/now": timestamp(now)}}}
        await self.cluster.client.patch(CRON_JOBS, "tick", seen, namespace="default")

    async def jobs(self) -> list[Raw]:
        found = await self.cluster.all(JOBS)
        return sorted(found, key=lambda job: str(job["metadata"]["name"]))

    async def started(self, count: int) -> list[Raw]:
        found: list[Raw] = await self.cluster.until(self.jobs, lambda jobs: len(jobs) == count, f"{count} jobs")
        return found

    async def last(self, at: datetime) -> None:
        """The status says that it last started then."""
        await self.cluster.until(
            lambda: self.cluster.get(CRON_JOBS, "tick"),
            lambda found: found["status"].get("lastScheduleTime") == timestamp(at),
            f"lastScheduleTime {at}",
        )

    async def running(self, jobs: int) -> None:
        """So many jobs have a running pod and are known as active."""
        await self.cluster.until(
            lambda: self.cluster.all(PODS),
            lambda pods: sum(pod["status"]["phase"] == "Running" for pod in pods) == jobs,
            f"{jobs} running pods",
        )
        await self.cluster.until(
            lambda: self.cluster.get(CRON_JOBS, "tick"),
            lambda found: len(found["status"].get("active") or ()) == jobs,
            f"{jobs} active jobs",
        )


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = SetClock(START)
    async with controllers_world.cluster(tmp_path, clock=clock) as found:
        yield World(found, clock)


def scheduled(job: Raw) -> str:
    return str(job["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"])


@pytest.mark.parametrize(
    ("zone", "schedule", "due", "says"),
    [
        ("Asia/Tokyo", "30 9 * * *", START + timedelta(minutes=30), "2026-01-15T09:30:00+09:00"),
        ("America/New_York", "0 20 * * *", START + timedelta(hours=1), "2026-01-14T20:00:00-05:00"),
        (None, "15 0 * * *", START + timedelta(minutes=15), "2026-01-15T00:15:00Z"),
    ],
    ids=str,
)
async def test_it_fires_by_the_clock_of_its_zone(
    world: World, zone: str | None, schedule: str, due: datetime, says: str
) -> None:
    await world.make(schedule, **({"timeZone": zone} if zone else {}))
    await world.at(due - timedelta(seconds=1))
    assert await world.jobs() == []
    await world.at(due)
    (job,) = await world.started(1)
    assert scheduled(job) == says
    await world.last(due)


async def test_the_night_that_has_no_half_past_two(world: World) -> None:
    """Daylight saving begins in Berlin on 2026-03-29 at 02:00: the time is skipped, the next day's is not."""
    world.clock.set(datetime(2026, 3, 28, 12, tzinfo=UTC))
    await world.make("30 2 * * *", timeZone="Europe/Berlin")
    await world.at(datetime(2026, 3, 29, 12, tzinfo=UTC))
    await world.at(datetime(2026, 3, 30, 0, 30, tzinfo=UTC))
    (job,) = await world.started(1)
    assert scheduled(job) == "2026-03-30T02:30:00+02:00"


@pytest.mark.parametrize(("away", "told"), [(timedelta(hours=1), 0), (timedelta(days=10), 1)], ids=str)
async def test_of_what_was_missed_only_the_last_runs(world: World, away: timedelta, told: int) -> None:
    """A machine that was off: one job, and a warning when there were more than a hundred times."""
    await world.make("*/5 * * * *", concurrencyPolicy="Allow")
    await world.at(START + away + timedelta(minutes=2))
    (job,) = await world.started(1)
    assert scheduled(job) == timestamp(START + away)
    await world.last(START + away)
    reason = "TooManyMissedTimes"
    await world.cluster.until(lambda: world.cluster.messages(reason), lambda found: len(found) == told, reason)


async def test_too_late_is_not_at_all(world: World) -> None:
    await world.make("0 * * * *", startingDeadlineSeconds=60)
    await world.at(START + timedelta(hours=1, minutes=3))
    await world.at(START + timedelta(hours=2, seconds=30))
    (job,) = await world.started(1)  # at one o'clock nothing was started: it would be there by now
    assert scheduled(job) == "2026-01-15T02:00:00Z"


@pytest.mark.parametrize(
    ("policy", "hours", "reason", "message"),
    [
        ("Allow", [1, 2], "SuccessfulCreate", "Created job tick-29473980"),
        ("Forbid", [1], "JobAlreadyActive", "Not starting job because prior execution is running"),
        ("Replace", [2], "SuccessfulDelete", "Deleted job tick-29473980"),
    ],
)
async def test_what_becomes_of_a_job_that_still_runs(
    world: World, policy: str, hours: list[int], reason: str, message: str
) -> None:
    await world.make("0 * * * *", concurrencyPolicy=policy)
    await world.at(START + timedelta(hours=1))
    await world.started(1)
    await world.running(1)
    await world.at(START + timedelta(hours=2))
    told = await world.cluster.until(lambda: world.cluster.messages(reason), bool, reason)
    assert any(text.startswith(message) for text in told)
    wanted = [timestamp(START + timedelta(hours=hour)) for hour in hours]
    await world.cluster.until(world.jobs, lambda jobs: [scheduled(job) for job in jobs] == wanted, "the jobs")


async def test_forbidden_ones_run_when_the_other_has_ended(world: World) -> None:
    """Within the deadline the time is not lost, only late."""
    await world.make("0 * * * *", concurrencyPolicy="Forbid")
    await world.at(START + timedelta(hours=1))
    (first,) = await world.started(1)
    await world.running(1)
    await world.at(START + timedelta(hours=2))
    await world.cluster.until(lambda: world.cluster.messages("JobAlreadyActive"), bool, "held back")
    await world.cluster.client.delete(JOBS, first["metadata"]["name"], namespace="default")
    jobs = await world.cluster.until(
        world.jobs, lambda jobs: [scheduled(job) for job in jobs] == ["2026-01-15T02:00:00Z"], "the held back one"
    )
    assert len(jobs) == 1


async def test_a_clock_that_goes_back_starts_nothing_twice(world: World) -> None:
    await world.make("0 * * * *")
    await world.at(START + timedelta(hours=1))
    await world.started(1)
    await world.last(START + timedelta(hours=1))
    await world.at(START + timedelta(minutes=30))
    await world.at(START + timedelta(hours=1, minutes=1))
    await world.at(START + timedelta(hours=2))
    jobs = await world.started(2)
    assert [scheduled(job) for job in jobs] == ["2026-01-15T01:00:00Z", "2026-01-15T02:00:00Z"]
