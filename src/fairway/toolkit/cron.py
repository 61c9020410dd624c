"""Cron expressions: five fields, names, steps, shorthands and `@every`; when they are due next.

The grammar and its corner cases are those of robfig/cron, which Kubernetes uses: a day matches either field when both
day fields are restricted, and times that a change to summer time skips are left out.
"""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo

import msgspec

_MONTHS = {
    "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6,
    "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12,
}  # fmt: skip
_DAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_SHORTHANDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_YEARS_MAX = 5


class Field(msgspec.Struct, frozen=True):
    """The values that match; `star` tells that the field restricts nothing."""

    values: frozenset[int]
    star: bool = False


class Every(msgspec.Struct, frozen=True):
    """At a fixed distance, whatever the clock shows."""

    seconds: int

    def after(self, moment: datetime, zone: tzinfo) -> datetime | None:
        """The next time."""
        return moment.replace(microsecond=0) + timedelta(seconds=self.seconds)


class Schedule(msgspec.Struct, frozen=True):
    """At the minutes that match."""

    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field

    def after(self, moment: datetime, zone: tzinfo) -> datetime | None:
        """The next time later than `moment`, in UTC; None when there is none within five years."""
        local = moment.astimezone(zone)
        today = local.date()
        for offset in range(_YEARS_MAX * 366):
            day = today + timedelta(days=offset)
            if self._matches(day):
                for candidate in self._times(day, zone):
                    if candidate > moment:
                        return candidate
        return None

    def _matches(self, day: date) -> bool:
        if day.month not in self.month.values:
            return False
        in_month = day.day in self.day.values
        in_week = (day.weekday() + 1) % 7 in self.weekday.values
        if self.day.star or self.weekday.star:
            return in_month and in_week
        return in_month or in_week

    def _times(self, day: date, zone: tzinfo) -> Iterator[datetime]:
        """The times of one day, in UTC and in order; those that the clock skips are left out."""
        for hour in sorted(self.hour.values):
            for fold in (0, 1):
                for minute in sorted(self.minute.values):
                    local = datetime(day.year, day.month, day.day, hour, minute, fold=fold, tzinfo=zone)
                    found = local.astimezone(UTC)
                    back = found.astimezone(zone)
                    if back.replace(tzinfo=None) == local.replace(tzinfo=None, fold=back.fold) and back.fold == fold:
                        yield found


def parse(text: str) -> Schedule | Every:
    """Read an expression.  Raises ValueError with robfig/cron's words."""
    if text.startswith("@"):
        return _descriptor(text)
    parts = text.split()
    if len(parts) != 5:
        raise ValueError(f"expected exactly 5 fields, found {len(parts)}: [{' '.join(parts)}]")
    return Schedule(
        minute=_field(parts[0], 0, 59),
        hour=_field(parts[1], 0, 23),
        day=_field(parts[2], 1, 31),
        month=_field(parts[3], 1, 12, _MONTHS),
        weekday=_field(parts[4], 0, 6, _DAYS),
    )


def _descriptor(text: str) -> Schedule | Every:
    if text in _SHORTHANDS:
        return parse(_SHORTHANDS[text])
    if text.startswith("@every "):
        return Every(max(1, int(_duration(text.removeprefix("@every ")))))
    raise ValueError(f"unrecognized descriptor: {text}")


def _duration(text: str) -> float:
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f'failed to parse duration @every {text}: time: invalid duration "{text}"')
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _field(text: str, least: int, most: int, names: dict[str, int] | None = None) -> Field:
    values: set[int] = set()
    star = False
    for part in text.split(","):
        found, is_star = _range(part, least, most, names or {})
        values |= found
        star = star or is_star
    return Field(frozenset(values), star)


def _range(text: str, least: int, most: int, names: dict[str, int]) -> tuple[set[int], bool]:
    """One of `*`, `?`, `5`, `1-5`, each perhaps with a step."""
    whole, slash, step_text = text.partition("/")
    if "/" in step_text:
        raise ValueError(f"too many slashes: {text}")
    first_text, dash, last_text = whole.partition("-")
    if "-" in last_text:
        raise ValueError(f"too many hyphens: {text}")
    step = _number(step_text, {}) if slash else 1
    if first_text in ("*", "?"):
        first, last, star = least, most, step <= 1
    else:
        first = _number(first_text, names)
        last = _number(last_text, names) if dash else (most if slash else first)
        star = False
    _check(text, first, last, step, least, most)
    return set(range(first, last + 1, step)), star


def _check(text: str, first: int, last: int, step: int, least: int, most: int) -> None:
    if first < least:
        raise ValueError(f"beginning of range ({first}) below minimum ({least}): {text}")
    if last > most:
        raise ValueError(f"end of range ({last}) above maximum ({most}): {text}")
    if first > last:
        raise ValueError(f"beginning of range ({first}) beyond end of range ({last}): {text}")
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {text}")


def _number(text: str, names: dict[str, int]) -> int:
    if (named := names.get(text.lower())) is not None:
        return named
    if not text.isdecimal():
        if re.fullmatch(r"-\d+", text):
            raise ValueError(f"negative number ({text}) not allowed: {text}")
        raise ValueError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)
