"""Cron expressions: what they mean, and when they are due."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.toolkit import cron

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "after", "due"),
    [
        ("* * * * *", "2026-01-01T00:00:00", "2026-01-01T00:01:00"),
        ("* * * * *", "2026-01-01T00:00:59", "2026-01-01T00:01:00"),
        ("*/15 * * * *", "2026-01-01T00:46:00", "2026-01-01T01:00:00"),
        ("5/20 * * * *", "2026-01-01T00:06:00", "2026-01-01T00:25:00"),
        ("0 9-17/4 * * *", "2026-01-01T10:00:00", "2026-01-01T13:00:00"),
        ("30 3 * * mon-fri", "2026-01-02T04:00:00", "2026-01-05T03:30:00"),
        ("0 0 1 jan *", "2026-01-01T00:00:00", "2027-01-01T00:00:00"),
        ("0 0 29 2 *", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 13 * 5", "2026-02-01T00:00:00", "2026-02-06T00:00:00"),  # either day field
        ("0 0 ? * 0", "2026-01-01T00:00:00", "2026-01-04T00:00:00"),
        ("1,2,7 0 * * *", "2026-01-01T00:02:00", "2026-01-01T00:07:00"),
        ("@hourly", "2026-01-01T00:30:00", "2026-01-01T01:00:00"),
        ("@weekly", "2026-01-01T00:30:00", "2026-01-04T00:00:00"),
        ("@yearly", "2026-01-01T00:30:00", "2027-01-01T00:00:00"),
        ("@every 1h30m", "2026-01-01T00:30:00", "2026-01-01T02:00:00"),
    ],
)
def test_due_next(text: str, after: str, due: str) -> None:
    assert cron.parse(text).after(moment(after), UTC) == moment(due)


def test_the_thirtieth_of_february_never_comes() -> None:
    assert cron.parse("0 0 30 2 *").after(moment("2026-01-01T00:00:00"), UTC) is None


def test_time_zones() -> None:
    daily = cron.parse("30 8 * * *")
    assert daily.after(moment("2026-01-01T00:00:00"), BERLIN) == moment("2026-01-01T07:30:00")
    assert daily.after(moment("2026-07-01T00:00:00"), BERLIN) == moment("2026-07-01T06:30:00")


def test_times_that_summer_time_skips_are_left_out() -> None:
    # 2026-03-08 in New York: 02:00 EST is 03:00 EDT.
    daily = cron.parse("30 2 * * *")
    assert daily.after(moment("2026-03-07T12:00:00"), NEW_YORK) == moment("2026-03-09T06:30:00")


def test_times_that_winter_time_repeats_come_twice() -> None:
    # 2026-11-01 in New York: 02:00 EDT is 01:00 EST.
    daily = cron.parse("30 1 * * *")
    first = daily.after(moment("2026-11-01T00:00:00"), NEW_YORK)
    assert first == moment("2026-11-01T05:30:00")
    assert daily.after(first, NEW_YORK) == moment("2026-11-01T06:30:00")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
        ("@often", "unrecognized descriptor: @often"),
        ("@every day", 'failed to parse duration @every day: time: invalid duration "day"'),
    ],
)
def test_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError) as refused:
        cron.parse(text)
    assert str(refused.value) == says


def _subset(least: int, most: int) -> st.SearchStrategy[str]:
    numbers = st.sets(st.integers(least, most), min_size=1, max_size=4)
    return st.one_of(st.just("*"), numbers.map(lambda found: ",".join(str(number) for number in sorted(found))))


@given(
    minute=_subset(0, 59),
    hour=_subset(0, 23),
    weekday=_subset(0, 6),
    hours=st.floats(0, 17520),
    zone=st.sampled_from([UTC, BERLIN, NEW_YORK, ZoneInfo("Australia/Lord_Howe"), ZoneInfo("Asia/Kathmandu")]),
)
def test_what_is_due_next_is_later_and_matches(
    minute: str, hour: str, weekday: str, hours: float, zone: ZoneInfo
) -> None:
    schedule = cron.parse(f"{minute} {hour} * * {weekday}")
    after = moment("2025-01-01T00:00:00") + timedelta(hours=hours)
    due = schedule.after(after, zone)
    assert isinstance(schedule, cron.Schedule)
    assert due is not None
    assert due > after
    local = due.astimezone(zone)
    assert local.minute in schedule.minute.values
    assert local.hour in schedule.hour.values
    assert (local.weekday() + 1) % 7 in schedule.weekday.values
    # Nothing that matches lies between: a second later the answer is another one, a second earlier the same one.
    assert schedule.after(due - timedelta(seconds=1), zone) == due
