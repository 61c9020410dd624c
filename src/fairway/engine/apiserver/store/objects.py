"""The committed objects of one resource, sorted by namespace and name."""

from bisect import bisect_left, insort
from collections.abc import Iterable

from fairway.engine.apiserver.store.entries import Entry

Place = tuple[str, str]
"""Namespace and name."""


class Objects:
    """Read by key or in order. Adding costs a binary search and a memory move."""

    def __init__(self) -> None:
        self._entries: dict[Place, Entry] = {}
        self._order: list[Place] = []

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, namespace: str, name: str) -> Entry | None:
        return self._entries.get((namespace, name))

    def load(self, entries: Iterable[Entry]) -> None:
        """Put many at once."""
        self._entries.update([((entry.key.namespace, entry.key.name), entry) for entry in entries])
        self._order = sorted(self._entries)

    def put(self, entry: Entry) -> None:
        place = (entry.key.namespace, entry.key.name)
        if place not in self._entries:
            if not self._order or place > self._order[-1]:
                self._order.append(place)
            else:
                insort(self._order, place)
        self._entries[place] = entry

    def remove(self, namespace: str, name: str) -> None:
        place = (namespace, name)
        if self._entries.pop(place, None) is not None:
            del self._order[bisect_left(self._order, place)]

    def select(self, namespace: str | None) -> list[Entry]:
        """All entries, or those of one namespace, in order."""
        if namespace is None:
            return [self._entries[place] for place in self._order]
        start = bisect_left(self._order, (namespace, ""))
        stop = bisect_left(self._order, (namespace + "\0", ""))
        return [self._entries[place] for place in self._order[start:stop]]
