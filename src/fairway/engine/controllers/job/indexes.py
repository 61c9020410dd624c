"""Completion indexes: `1,3-5,7` to numbers and back."""

from collections.abc import Iterable

INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED_FAILURES = "batch.kubernetes.io/job-index-ignored-failure-count"


def parse(text: str | None) -> frozenset[int]:
    """The numbers; parts that cannot be read are left out."""
    found: set[int] = set()
    for part in (text or "").split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (not last or last.isdecimal()):
            found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def render(numbers: Iterable[int]) -> str:
    """Ascending, three or more in a row as a range."""
    parts: list[str] = []
    run: list[int] = []
    for number in sorted(set(numbers)):
        if run and number != run[-1] + 1:
            parts.append(_part(run))
            run = []
        run.append(number)
    if run:
        parts.append(_part(run))
    return ",".join(parts)


def _part(run: list[int]) -> str:
    if len(run) == 1:
        return str(run[0])
    if len(run) == 2:
        return f"{run[0]},{run[1]}"
    return f"{run[0]}-{run[-1]}"
