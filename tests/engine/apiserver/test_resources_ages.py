"""Durations read as in kubectl's tables."""

from datetime import UTC, datetime, timedelta

import pytest

from fairway.engine.apiserver.resources import ages

MINUTE, HOUR, DAY, YEAR = 60, 3600, 86400, 365 * 86400


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (121, "2m1s"),
        (10 * MINUTE - 1, "9m59s"),
        (10 * MINUTE, "10m"),
        (3 * HOUR - 1, "179m"),
        (3 * HOUR, "3h"),
        (3 * HOUR + MINUTE, "3h1m"),
        (8 * HOUR, "8h"),
        (48 * HOUR - 1, "47h"),
        (48 * HOUR, "2d"),
        (49 * HOUR, "2d1h"),
        (8 * DAY, "8d"),
        (2 * YEAR - 1, "729d"),
        (2 * YEAR, "2y"),
        (2 * YEAR + DAY, "2y1d"),
        (8 * YEAR, "8y"),
    ],
)
def test_human_durations(seconds: int, shown: str) -> None:
    assert ages.human(seconds) == shown


def test_since_reads_both_kinds_of_time() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    before = now - timedelta(seconds=90)
    assert ages.since(before.strftime("%Y-%m-%dT%H:%M:%SZ"), now) == "90s"
    assert ages.since(before.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), now) == "90s"
    assert ages.since(None, now) == "<unknown>"
