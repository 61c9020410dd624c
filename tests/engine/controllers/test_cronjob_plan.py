"""What a CronJob does when, as a table."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fairway.engine.controllers.cronjob.plan import SCHEDULED, Plan, Snapshot, plan, started
from fairway.engine.controllers.cronjob.times import due
from fairway.engine.controllers.references import object_reference
from fairway.kube.api.jobs import CronJob, CronJobSpec, CronJobStatus, Job, JobStatus, JobTemplate
from fairway.kube.api.meta import Condition, ObjectMeta, timestamp
from fairway.kube.api.resource import JOBS
from fairway.toolkit import cron

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def minutes(count: float) -> datetime:
    return NOON + timedelta(minutes=count)


def cron_job(status: CronJobStatus | None = None, schedule: str = "*/10 * * * *", **spec: Any) -> CronJob:
    template = JobTemplate(ObjectMeta(labels={"app": "report"}, annotations={"note": "x"}), {"template": {}})
    return CronJob(
        metadata=ObjectMeta(name="report", namespace="default", uid="cron", creation_timestamp=minutes(-5)),
        spec=CronJobSpec(schedule=schedule, job_template=template, **spec),
        status=status or CronJobStatus(),
    )


def job(name: str, end: str = "", at: float = 0) -> Job:
    conditions = (Condition(type=end, status="True"),) if end else ()
    done = minutes(at + 1) if end == "Complete" else None
    return Job(
        metadata=ObjectMeta(name=name, namespace="default", uid=name, creation_timestamp=minutes(at)),
        status=JobStatus(start_time=minutes(at), completion_time=done, conditions=conditions),
    )


def decide(owner: CronJob, *jobs: Job, at: float) -> Plan:
    return plan(Snapshot(owner, jobs, minutes(at)))


def running(*jobs: Job, last: float = 0) -> CronJobStatus:
    active = tuple(object_reference(JOBS, item.metadata) for item in jobs)
    return CronJobStatus(active=active, last_schedule_time=minutes(last))


def reasons(found: Plan) -> list[str]:
    return [item.reason for item in found.news]


def test_nothing_before_it_is_due() -> None:
    found = decide(cron_job(), at=-1)
    assert found.start is None
    assert found.again_seconds == pytest.approx(60.1)


def test_a_job_when_it_is_due() -> None:
    found = decide(cron_job(time_zone="Europe/Berlin"), at=0.5)
    assert found.start is not None
    assert found.start.at == NOON
    metadata = found.start.job["metadata"]
    assert metadata["name"] == f"report-{int(NOON.timestamp()) // 60}"
    assert metadata["labels"] == {"app": "report"}
    assert metadata["annotations"] == {"note": "x", SCHEDULED: "2026-01-01T13:00:00+01:00"}
    assert metadata["ownerReferences"][0]["controller"] is True
    assert decide(cron_job(), at=0.5).start.job["metadata"]["annotations"][SCHEDULED] == timestamp(NOON)  # type: ignore[union-attr]
    made = job(metadata["name"], at=0.5)
    status = started(found.status, made, found.start.at)
    assert [reference.name for reference in status.active] == [metadata["name"]]
    assert decide(cron_job(status), made, at=1).start is None


def test_of_many_missed_times_the_last_one_counts() -> None:
    found = decide(cron_job(running(last=-5)), at=31)
    assert found.start is not None
    assert found.start.at == minutes(30)
    assert reasons(found) == []
    found = decide(cron_job(running(last=-5), "* * * * *"), at=200)
    assert found.start is not None
    assert found.start.at == minutes(200)
    assert reasons(found) == ["TooManyMissedTimes"]


@pytest.mark.parametrize(("seconds", "starts"), [(None, True), (60, False), (299, False), (300, True), (3600, True)])
def test_the_starting_deadline(seconds: int | None, starts: bool) -> None:
    found = decide(cron_job(starting_deadline_seconds=seconds), at=4.99)
    assert (found.start is not None) is starts


def test_what_runs_already() -> None:
    before = job("report-1", at=-10)
    status = running(before, last=-10)
    assert decide(cron_job(status), before, at=0.1).start is not None
    found = decide(cron_job(status, concurrency_policy="Forbid"), before, at=0.1)
    assert (found.start, reasons(found)) == (None, ["JobAlreadyActive"])
    found = decide(cron_job(status, concurrency_policy="Replace"), before, at=0.1)
    assert found.start is not None
    assert (found.replace, found.status.active) == ((before,), ())


def test_what_has_ended_is_told_and_forgotten_beyond_the_limits() -> None:
    ended = [job(f"good-{at}", "Complete", at) for at in (-50, -40, -30)]
    failed = [job(f"bad-{at}", "Failed", at) for at in (-25, -20)]
    status = running(ended[2], job("lost"), last=0)
    owner = cron_job(status, successful_jobs_history_limit=2, failed_jobs_history_limit=0)
    found = decide(owner, *ended, *failed, at=1)
    assert {item.metadata.name for item in found.forget} == {"good--50", "bad--25", "bad--20"}
    assert [item.message for item in found.news] == [
        "Saw completed job: good--30, condition: Complete",
        "Active job went missing: lost",
    ]
    assert found.status.active == ()
    assert found.status.last_successful_time == minutes(-29)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [({"time_zone": "Nowhere/At_All"}, "UnknownTimeZone"), ({"schedule": "never"}, "UnparseableSchedule")],
)
def test_mistakes_are_told(spec: dict[str, Any], reason: str) -> None:
    found = decide(cron_job(**spec), at=1)
    assert (found.start, reasons(found)) == (None, [reason])


def test_suspended() -> None:
    found = decide(cron_job(suspend=True), job("bad", "Failed"), at=1)
    assert (found.start, found.again_seconds) == (None, None)


@given(
    schedule=st.sampled_from(["* * * * *", "*/7 * * * *", "0 */5 * * *", "30 4 1 * *", "0 0 * * 0", "@every 45s"]),
    elapsed=st.floats(0, 60 * 24 * 40),
)
def test_the_latest_time_is_found(schedule: str, elapsed: float) -> None:
    """Nothing that is due lies between what is found and now."""
    owner, now = cron_job(schedule=schedule), minutes(elapsed)
    parsed = cron.parse(schedule)
    found = due(owner, parsed, UTC, now).at
    if found is None:
        following = parsed.after(minutes(-5), UTC)
        assert following is None or following > now
    else:
        assert found <= now
        following = parsed.after(found, UTC)
        assert following is not None
        assert following > now
        done = replace(owner, status=CronJobStatus(last_schedule_time=found))
        assert due(done, parsed, UTC, now).at is None
