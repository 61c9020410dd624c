"""Durations as kubectl shows them: `5s`, `4m10s`, `3h`, `2d4h`, `1y20d`."""

from datetime import UTC, datetime

UNKNOWN = "<unknown>"


def parse(stamp: str) -> datetime:
    """An RFC 3339 time, with or without fractions. Raises ValueError when it is none."""
    parsed = datetime.fromisoformat(stamp)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def since(stamp: str | None, now: datetime) -> str:
    """How long ago an RFC 3339 time was."""
    return human((now - parse(stamp)).total_seconds()) if stamp else UNKNOWN


def human(seconds_exact: float) -> str:
    """A duration with two significant parts at most; less precise the longer it is."""
    seconds = int(seconds_exact)
    if seconds < -1:
        return "<invalid>"
    seconds = max(seconds, 0)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if days < 2 * 365:
        return f"{days}d"
    if days < 8 * 365:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}" + (f"{small}{small_unit}" if small else "")
