"""The newest known state of one collection, as frozen nouns."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import Any, Generic, TypeVar

from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.noun import decode

T = TypeVar("T")
Subscriber = Callable[[ObjectKey, T | None, T | None], None]
Index = Callable[[T], Iterable[str]]


class _Subscription(Generic[T]):
    """One call of `subscribe`: the same function may be subscribed twice."""

    def __init__(self, subscriber: Subscriber[T]) -> None:
        self.subscriber = subscriber


class Cache(Generic[T]):
    """Objects by key, with indexes; subscribers hear (key, old, new) after each change.

    Values are immutable, so they are handed out without copies.
    """

    def __init__(self, noun: type[T], indexes: Mapping[str, Index[T]] | None = None) -> None:
        self.synced = asyncio.Event()
        self._noun = noun
        self._objects: dict[ObjectKey, T] = {}
        self._indexes = indexes or {}
        self._index: dict[tuple[str, str], dict[ObjectKey, T]] = {}
        self._subscribers: list[_Subscription[T]] = []

    def get(self, key: ObjectKey) -> T | None:
        """The object, or None when there is none."""
        return self._objects.get(key)

    def keys(self) -> tuple[ObjectKey, ...]:
        return tuple(self._objects)

    def values(self) -> tuple[T, ...]:
        return tuple(self._objects.values())

    def by_index(self, name: str, value: str) -> tuple[T, ...]:
        """The objects for which index `name` gave `value`.  Raises KeyError for an index that was not declared."""
        self._indexes[name]
        return tuple(self._index.get((name, value), {}).values())

    def subscribe(self, subscriber: Subscriber[T]) -> Callable[[], None]:
        """Call `subscriber` for every change from now on, until what is returned is called."""
        entry: _Subscription[T] = _Subscription(subscriber)
        self._subscribers.append(entry)
        return lambda: self._unsubscribe(entry)

    @contextmanager
    def borrow(self) -> Iterator["Cache[T]"]:
        """The same objects; whoever subscribes to what is lent hears nothing any more after the block."""
        lent = copy(self)
        lent._subscribers = []
        give_back = self.subscribe(lent._tell)
        try:
            yield lent
        finally:
            give_back()

    def apply(self, raw: Mapping[str, Any]) -> None:
        """Take in an object that was added or changed.  Raises msgspec.ValidationError when it is not of the noun."""
        self._put(key_of(raw), decode(self._noun, raw))

    def remove(self, key: ObjectKey) -> None:
        """Forget an object."""
        if key in self._objects:
            self._put(key, None)

    def replace(self, items: Iterable[Mapping[str, Any]]) -> None:
        """Take in a whole list: what is not in it is gone."""
        seen = set()
        for raw in items:
            seen.add(key_of(raw))
            self.apply(raw)
        for key in self._objects.keys() - seen:
            self.remove(key)
        self.synced.set()

    def _put(self, key: ObjectKey, new: T | None) -> None:
        old = self._objects.pop(key, None) if new is None else self._objects.get(key)
        if new is not None:
            self._objects[key] = new
        if old == new:
            return
        self._reindex(key, old, new)
        self._tell(key, old, new)

    def _tell(self, key: ObjectKey, old: T | None, new: T | None) -> None:
        for entry in tuple(self._subscribers):
            entry.subscriber(key, old, new)

    def _unsubscribe(self, entry: "_Subscription[T]") -> None:
        self._subscribers = [other for other in self._subscribers if other is not entry]

    def _reindex(self, key: ObjectKey, old: T | None, new: T | None) -> None:
        for name, values_of in self._indexes.items():
            before = set(values_of(old)) if old is not None else set()
            after = set(values_of(new)) if new is not None else set()
            for value in before - after:
                bucket = self._index[name, value]
                del bucket[key]
                if not bucket:
                    del self._index[name, value]
            for value in after:
                assert new is not None
                self._index.setdefault((name, value), {})[key] = new


def key_of(raw: Mapping[str, Any]) -> ObjectKey:
    """The key of a raw object."""
    metadata = raw["metadata"]
    return ObjectKey(metadata.get("namespace", ""), metadata["name"])
