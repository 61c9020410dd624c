"""Which HAProxy backend and which server slot everything gets. Pure, and stable: what has a place keeps it.

HAProxy cannot make a backend or a server line while it runs (before 3.4), but it can fill the ones it has. So there is
a pool of spare backends that are all alike, each with a few empty slots.
"""

import hashlib
from collections.abc import Mapping

import msgspec

from fairway.edge.ir import PLAIN, Backend, Edge, Profile, Server

POOL_LEAST = 64
SPARE_LEAST = 16  # a reload that is due anyway leaves at least so many
SLOTS_LEAST = 4

Slots = tuple[Server | None, ...]


class Shape(msgspec.Struct, frozen=True):
    """What of a backend only a reload can change: its number of slots and its profile."""

    slots: int
    profile: Profile = PLAIN


class Placement(msgspec.Struct, frozen=True):
    """`names`: of a backend of the edge → in HAProxy; the latter has a shape and slots. `spare`: free, oldest first."""

    names: Mapping[str, str] = {}
    shapes: Mapping[str, Shape] = {}
    slots: Mapping[str, Slots] = {}
    spare: tuple[str, ...] = ()


EMPTY = Placement()


def place(edge: Edge, previous: Placement = EMPTY) -> Placement:
    """Find a place for every backend.

    While the shapes that are there suffice they stay as they are, also those that nobody uses any more. When they do
    not, a reload is due anyway, and it takes the chance to drop what is unused.
    """
    found = _Places(previous, keep_unused=True).fill(edge)
    if found.shapes == previous.shapes:
        return found
    return _Places(previous, keep_unused=False).fill(edge)


class _Places:
    """One pass; starts from what was there before."""

    def __init__(self, previous: Placement, *, keep_unused: bool) -> None:
        self._previous = previous
        self._keep_unused = keep_unused
        self._names: dict[str, str] = {}
        self._shapes: dict[str, Shape] = {}
        self._slots: dict[str, Slots] = {}
        self._spare = list(previous.spare)

    def fill(self, edge: Edge) -> Placement:
        pool = {name: shape for name, shape in self._previous.shapes.items() if _pooled(name)}
        self._shapes |= self._previous.shapes if self._keep_unused else pool
        if not pool or (not self._keep_unused and len(self._spare) < SPARE_LEAST):
            self._grow_pool()
        for backend in edge.backends:
            name = self._names[backend.name] = self._name(backend)
            self._seat(name, backend)
        # What is freed now is given away at the next pass at the earliest: its requests still find their way.
        freed = [name for name in self._previous.names.values() if name not in self._names.values()]
        self._spare += [name for name in freed if _pooled(name)]
        for name, shape in self._shapes.items():
            self._slots.setdefault(name, (None,) * shape.slots)
        return Placement(self._names, self._shapes, self._slots, tuple(self._spare))

    def _name(self, backend: Backend) -> str:
        if name := self._previous.names.get(backend.name):
            return name
        if backend.profile != PLAIN:
            return f"b{hashlib.sha256(backend.name.encode()).hexdigest()[:12]}"
        if not self._spare:
            self._grow_pool()
        return self._spare.pop(0)

    def _grow_pool(self) -> None:
        have = sum(map(_pooled, self._shapes))
        for number in range(have, max(have * 2, POOL_LEAST)):
            self._shapes[f"p{number}"] = Shape(SLOTS_LEAST)
            self._spare.append(f"p{number}")

    def _seat(self, name: str, backend: Backend) -> None:
        before = self._previous.slots.get(name, ())
        slots = _seat(before, backend.servers)
        size = self._shapes[name].slots if name in self._shapes else SLOTS_LEAST
        while size < len(slots):
            size *= 2
        self._shapes[name] = Shape(size, backend.profile)
        self._slots[name] = slots + (None,) * (size - len(slots))


def _seat(before: Slots, servers: tuple[Server, ...]) -> Slots:
    """Servers keep their slots; new ones take slots that were empty before, so that the old ones can drain."""
    wanted = set(servers)
    slots = [server if server in wanted else None for server in before]
    empty = iter([index for index, server in enumerate(before) if server is None])
    for server in servers:
        if server in before:
            continue
        index = next(empty, None)
        if index is None:
            slots.append(server)
        else:
            slots[index] = server
    return tuple(slots)


def _pooled(name: str) -> bool:
    return name.startswith("p")
