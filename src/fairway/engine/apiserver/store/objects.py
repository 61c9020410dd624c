"""The committed objects of one resource, sorted by namespace and name.

What was loaded stays as it came until somebody asks for it: making 100,000 entries would keep a start waiting.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence

from fairway.engine.apiserver.store.backend import StoredObject
from fairway.engine.apiserver.store.entries import Entry, Key

Place = tuple[str, str]
"""Namespace and name."""


class Objects:
    """Read by key or in order. Adding costs a binary search and a memory move."""

    def __init__(self, resource: str, stored: Sequence[StoredObject] = ()) -> None:
        """`stored` is sorted."""
        self._resource = resource
        self._entries: dict[Place, Entry | StoredObject] = {row[:2]: row for row in stored}
        self._order: list[Place] = list(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, namespace: str, name: str) -> Entry | None:
        """The same one every time."""
        place = (namespace, name)
        found = self._entries.get(place)
        # mypy does not narrow by __class__, which is cheaper than isinstance on every read.
        return self._entry(place, found) if found.__class__ is tuple else found  # type: ignore[return-value]

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
        places = self._order
        if namespace is not None:
            start = bisect_left(places, (namespace, ""))
            places = places[start : bisect_left(places, (namespace + "\0", ""))]
        entries = self._entries
        found = [entries[place] for place in places]
        if tuple in {entry.__class__ for entry in found}:
            found = [self._entry(place, entry) for place, entry in zip(places, found, strict=True)]
        return found  # type: ignore[return-value]  # no tuple is left in it

    def _entry(self, place: Place, found: Entry | StoredObject) -> Entry:
        if isinstance(found, Entry):
            return found
        namespace, name, revision, data = found
        made = self._entries[place] = Entry(Key(self._resource, namespace, name), revision, data)
        return made
