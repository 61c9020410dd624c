"""Pods that were made or deleted, and that the cache has not shown yet.

Without this a loop that is faster than its watch makes pods twice. Pods are named before they are made, so that the
answer and the watch event may come in any order.
"""

from collections.abc import Callable

from fairway.kube.api.meta import ObjectKey

_TIMEOUT_SECONDS = 300.0  # a watch that lost an event must not stop the work for ever


class Expectations:
    """What is expected for each ReplicaSet; counted by the plan as if it had happened."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._made: dict[ObjectKey, dict[str, float]] = {}
        self._deleted: dict[ObjectKey, dict[str, float]] = {}

    def expect_pod(self, owner: ObjectKey, name: str) -> None:
        """A pod of this name is about to be made."""
        self._made.setdefault(owner, {})[name] = self._monotonic() + _TIMEOUT_SECONDS

    def expect_deletion(self, owner: ObjectKey, uid: str) -> None:
        """The pod with this uid is about to be deleted."""
        self._deleted.setdefault(owner, {})[uid] = self._monotonic() + _TIMEOUT_SECONDS

    def pod_seen(self, owner: ObjectKey, name: str) -> None:
        """The pod appeared (or was never made)."""
        self._drop(self._made, owner, name)

    def deletion_seen(self, owner: ObjectKey, uid: str) -> None:
        """The pod is going or gone (or was never deleted)."""
        self._drop(self._deleted, owner, uid)

    def pods(self, owner: ObjectKey) -> frozenset[str]:
        """Names of pods that will appear."""
        return self._current(self._made, owner)

    def deletions(self, owner: ObjectKey) -> frozenset[str]:
        """Uids of pods that will go."""
        return self._current(self._deleted, owner)

    def forget(self, owner: ObjectKey) -> None:
        """The ReplicaSet is gone."""
        self._made.pop(owner, None)
        self._deleted.pop(owner, None)

    def _current(self, kept: dict[ObjectKey, dict[str, float]], owner: ObjectKey) -> frozenset[str]:
        now = self._monotonic()
        for item in [item for item, until in kept.get(owner, {}).items() if until < now]:
            self._drop(kept, owner, item)
        return frozenset(kept.get(owner, ()))

    @staticmethod
    def _drop(kept: dict[ObjectKey, dict[str, float]], owner: ObjectKey, item: str) -> None:
        waiting = kept.get(owner)
        if waiting is not None:
            waiting.pop(item, None)
            if not waiting:
                del kept[owner]
