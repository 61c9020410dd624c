"""The deliveries that were taken: one that comes again has no effect."""

from collections import OrderedDict

from fairway.kube.api.meta import ObjectKey

_KEPT_MAX = 4096


class Seen:
    """The newest deliveries of all Apps. Forgetting one is harmless: a delivery only says where to look."""

    def __init__(self, kept_max: int = _KEPT_MAX) -> None:
        self._kept_max = kept_max
        self._seen: OrderedDict[tuple[ObjectKey, str], None] = OrderedDict()

    def add(self, app: ObjectKey, delivery: str) -> bool:
        """Remember; False when it was there."""
        if (app, delivery) in self._seen:
            return False
        self._seen[app, delivery] = None
        if len(self._seen) > self._kept_max:
            self._seen.popitem(last=False)
        return True
