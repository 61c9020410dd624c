"""A frozen mapping whose changed copy costs what changed, and which knows what changed since an older one."""

from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from typing import Any, TypeVar

import msgspec

K = TypeVar("K")
V = TypeVar("V")
_VERSIONS_MOST = 256  # an old version that somebody keeps must not keep every change since


class Difference(msgspec.Struct, frozen=True, gc=False):
    """What a key was and is; None where it is not there."""

    before: Any
    after: Any


class PersistentMap(Mapping[K, V]):
    """Values are never None.

    The versions of one map share one dict, which is that of the version in use; each other one holds what to undo and
    leads towards it (Baker, *Shallow binding makes functional arrays fast*, 1991). Using an older version is right, and
    costs the way to it. Iteration works on a copy, so that other versions can be used meanwhile.
    """

    __slots__ = ("_data", "_next", "_undo", "_version")

    def __init__(self, data: Mapping[K, V] | Iterable[tuple[K, V]] = ()) -> None:
        self._data: dict[K, V] | None = dict(data)
        self._next: Any = None  # leads to the version in use; a link to itself would be a cycle
        self._undo: dict[K, V | None] = {}
        self._version = 0

    def change(self, values: Mapping[K, V], gone: Iterable[K] = ()) -> "PersistentMap[K, V]":
        """Another map with these values and without those keys; a key that is in both has the value."""
        data = self._used()
        undo: dict[K, V | None] = {key: data[key] for key in gone if key in data and key not in values}
        undo.update((key, data.get(key)) for key, value in values.items() if data.get(key) is not value)
        if not undo:
            return self
        made: PersistentMap[K, V] = PersistentMap()
        if data and self._version < _VERSIONS_MOST:
            made._version = self._version + 1
            self._data, self._next, self._undo = None, made, undo
        else:
            data = dict(data)
        for key in undo:
            if key in values:
                data[key] = values[key]
            else:
                del data[key]
        made._data = data
        return made

    def _undone(self, used: "PersistentMap[K, V]") -> dict[K, V | None] | None:
        """The values here of the keys that changed until the version in use; None if that is not of this chain."""
        found: dict[K, V | None] = {}
        node = self
        while node._data is None:
            for key, value in node._undo.items():
                found.setdefault(key, value)
            node = node._next
        return found if node is used else None

    def _used(self) -> dict[K, V]:
        """The dict, after the whole chain was turned towards this version."""
        way = []
        node = self
        while node._data is None:
            way.append(node)
            node = node._next
        data = node._data
        for older in reversed(way):
            redo: dict[K, V | None] = {}
            for key, value in older._undo.items():
                redo[key] = data.get(key)
                if value is None:
                    data.pop(key, None)
                else:
                    data[key] = value
            node._data, node._next, node._undo = None, older, redo
            older._data, older._next, older._undo = data, None, {}
            node = older
        return data

    def __getitem__(self, key: K) -> V:
        return self._used()[key]

    def get(self, key: K, default: Any = None) -> Any:  # the mixin's asks for an exception each time
        return self._used().get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in self._used()

    def __iter__(self) -> Iterator[K]:
        return iter(tuple(self._used()))

    def __len__(self) -> int:
        return len(self._used())

    def items(self) -> ItemsView[K, V]:
        return dict(self._used()).items()

    def values(self) -> ValuesView[V]:
        return dict(self._used()).values()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return all(pair.before == pair.after for pair in differences(other, self).values())

    __hash__ = None  # type: ignore[assignment]  # how Python says "not hashable"

    def __repr__(self) -> str:
        return f"PersistentMap({self._used()!r})"


def differences(before: Mapping[K, Any], after: Mapping[K, Any]) -> dict[K, Difference]:
    """The keys whose value is another object; cheap where the one map came from the other by changes."""
    if before is after:
        return {}
    undone = None
    if isinstance(before, PersistentMap) and isinstance(after, PersistentMap):
        data = after._used()
        undone = before._undone(after)
    if undone is not None:
        pairs = {key: Difference(value, data.get(key)) for key, value in undone.items()}
    else:
        was, now = dict(before), dict(after)
        pairs = {key: Difference(was.get(key), now.get(key)) for key in (*now, *(was.keys() - now.keys()))}
    return {key: pair for key, pair in pairs.items() if pair.before is not pair.after}


def persistent(data: Mapping[K, V]) -> PersistentMap[K, V]:
    """The same, to be changed."""
    return data if isinstance(data, PersistentMap) else PersistentMap(data)


def plain(value: object) -> Any:
    """For msgspec's `enc_hook`: a map is written as a dict. Raises NotImplementedError for anything else."""
    if isinstance(value, PersistentMap):
        return dict(value.items())
    raise NotImplementedError(type(value).__name__)
