"""Problems that somebody else is probably mending right now are told only when they last."""

from collections.abc import Iterable

from fairway.edge.ir import Problem

ISSUING_SECONDS = 3.0
_PASSING = frozenset({"SecretNotFound"})
"""An Ingress comes before its certificate: whoever issues it reads the same Ingress."""


def passing(problem: Problem) -> bool:
    """Whether it is of a kind that is told only when it lasts."""
    return problem.reason in _PASSING


class Patience:
    """Remembers since when each passing problem has been there."""

    def __init__(self) -> None:
        self._since: dict[Problem, float] = {}

    def ripe(self, problems: Iterable[Problem], now_seconds: float) -> tuple[tuple[Problem, ...], float | None]:
        """The problems to tell now, and in how many seconds the next one may be due; None when none waits."""
        since: dict[Problem, float] = {}
        told: list[Problem] = []
        for problem in problems:
            if passing(problem):
                since[problem] = self._since.get(problem, now_seconds)
                if now_seconds - since[problem] < ISSUING_SECONDS:
                    continue
            told.append(problem)
        self._since = since
        waits = [left for start in since.values() if (left := start + ISSUING_SECONDS - now_seconds) > 0]
        return tuple(told), min(waits, default=None)
