"""Who owns whom, across all kinds, by uid."""

from typing import NamedTuple

from fairway.kube.api.meta import ObjectKey, ObjectMeta
from fairway.kube.api.resource import Resource


class Item(NamedTuple):
    """An object of any kind."""

    kind: Resource
    key: ObjectKey


class Graph:
    """Objects by uid, and dependents by the uid of their owner."""

    def __init__(self) -> None:
        self._objects: dict[Item, ObjectMeta] = {}
        self._items: dict[str, Item] = {}
        self._dependents: dict[str, dict[Item, None]] = {}

    def put(self, item: Item, metadata: ObjectMeta | None) -> None:
        """Take in the newest metadata of an object, or that it is gone."""
        old = self._objects.pop(item, None)
        if old is not None:
            self._items.pop(old.uid, None)
            for owner in old.owner_references:
                self._forget_dependent(owner.uid, item)
        if metadata is not None:
            self._objects[item] = metadata
            self._items[metadata.uid] = item
            for owner in metadata.owner_references:
                self._dependents.setdefault(owner.uid, {})[item] = None

    def metadata(self, item: Item) -> ObjectMeta | None:
        """The newest known metadata."""
        return self._objects.get(item)

    def item(self, uid: str) -> Item | None:
        """The object of that uid, if it is known."""
        return self._items.get(uid)

    def by_uid(self, uid: str) -> ObjectMeta | None:
        """The newest known metadata of the object of that uid."""
        item = self._items.get(uid)
        return self._objects.get(item) if item else None

    def dependents(self, uid: str) -> tuple[Item, ...]:
        """The objects that name `uid` as an owner."""
        return tuple(self._dependents.get(uid, ()))

    def _forget_dependent(self, uid: str, item: Item) -> None:
        known = self._dependents.get(uid)
        if known is not None:
            known.pop(item, None)
            if not known:
                del self._dependents[uid]
