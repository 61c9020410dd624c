"""How long a node waits after a daemon pod failed there, so that one that cannot run is not made in a circle."""

from collections.abc import Callable

from fairway.kube.api.meta import ObjectKey

_DELAY_SECONDS_MIN, _DELAY_SECONDS_MAX = 1.0, 900.0

Place = tuple[ObjectKey, str]


class Patience:
    """Counts failures by DaemonSet and node; forgets them when none came for twice the longest delay."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._failures: dict[Place, tuple[int, float]] = {}

    def failed(self, owner: ObjectKey, node: str) -> None:
        """A failed pod is replaced now: the next one has to wait."""
        count, since = self._failures.get((owner, node), (0, 0.0))
        now = self._monotonic()
        stale = now - since > 2 * _DELAY_SECONDS_MAX
        self._failures[owner, node] = (1 if stale else count + 1, now)

    def waiting(self, owner: ObjectKey) -> dict[str, float]:
        """Nodes where a failed pod stays for now, with how many seconds more."""
        now = self._monotonic()
        left = {
            node: self._due(count, since) - now
            for (key, node), (count, since) in self._failures.items()
            if key == owner
        }
        return {node: seconds for node, seconds in left.items() if seconds > 0}

    def forget(self, owner: ObjectKey) -> None:
        """The DaemonSet is gone."""
        for place in [place for place in self._failures if place[0] == owner]:
            del self._failures[place]

    @staticmethod
    def _due(count: int, since: float) -> float:
        delay_seconds: float = min(_DELAY_SECONDS_MIN * 2.0 ** min(count - 1, 20), _DELAY_SECONDS_MAX)
        return since + delay_seconds
