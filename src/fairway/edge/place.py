"""Which HAProxy backend and which server slot everything gets. Pure, and stable: what has a place keeps it.

HAProxy cannot make a backend while it runs (before 3.4), but it can fill the ones it has. So there is a pool of spare
backends for every way in which backends are treated: one for those without annotations, one for those with nothing but
timeouts and a limit on bodies (these are values of a map), and one for every other profile once it was seen. Servers
are slots that are filled, and where HAProxy can do that (`dynamic`) slots that are added.
"""

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from fairway.edge.ir import PLAIN, Backend, Edge, Profile, Server
from fairway.toolkit.persistent_map import persistent

POOL_LEAST = 64
SPARE_LEAST = 16  # a reload that is due anyway leaves at least so many
SLOTS_LEAST = 4
_POOL_LEAST_TUNED = 16
_POOL_LEAST_OTHERS = 4
_ALWAYS = (PLAIN, Profile(read_timeout_seconds=1))
_POOLS_MOST = 256  # with more different profiles than that, spares of each would cost more than reloads

Slots = tuple[Server | None, ...]


class Tuning(msgspec.Struct, frozen=True, omit_defaults=True):
    """What of a profile is a value in a map, and so changes without a reload."""

    read_timeout_seconds: int | None = None
    body_bytes_max: int | None = None


UNTUNED = Tuning()


class Shape(msgspec.Struct, frozen=True):
    """What of a backend only a reload can change: its slots, its profile, and whether it looks into the map at all."""

    slots: int
    profile: Profile = PLAIN
    tuned: bool = False


class Placement(msgspec.Struct, frozen=True):
    """`names`: of a backend of the edge → in HAProxy; the latter has a shape and slots. `spare`: free, oldest first.

    `backends`: those of the edge that all of this was made for, by name, as far as they are known.
    """

    names: Mapping[str, str] = {}
    shapes: Mapping[str, Shape] = {}
    slots: Mapping[str, Slots] = {}
    spare: tuple[str, ...] = ()
    tunings: Mapping[str, Tuning] = {}
    dynamic: bool = False
    backends: Mapping[str, Backend] = {}


EMPTY = Placement()


def place(
    edge: Edge, previous: Placement = EMPTY, *, dynamic: bool = False, common: Iterable[Profile] = ()
) -> Placement:
    """Find a place for every backend.

    While the shapes that are there suffice they stay as they are, also those that nobody uses any more. When they do
    not, a reload is due anyway, and it takes the chance to drop what is unused. `dynamic`: servers can be added while
    HAProxy runs. `common`: profiles that get spare backends before anybody asks.
    """
    if _as_before(edge, previous, dynamic) and not common:
        return previous
    if not common and (moved := _only_servers_moved(edge, previous, dynamic)):
        return moved
    found = _Places(previous, tuple(common), keep_unused=True, dynamic=dynamic).fill(edge)
    if same_without_reload(previous.shapes, found.shapes, dynamic=dynamic):
        return found
    return _Places(previous, tuple(common), keep_unused=False, dynamic=dynamic).fill(edge)


def _as_before(edge: Edge, previous: Placement, dynamic: bool) -> bool:
    known = previous.backends
    if not known or previous.dynamic != dynamic or len(known) != len(edge.backends):
        return False
    return all(known.get(backend.name) is backend or known.get(backend.name) == backend for backend in edge.backends)


def _only_servers_moved(edge: Edge, previous: Placement, dynamic: bool) -> Placement | None:
    """The usual change: some backends have other servers, for which there are slots. None where it is more."""
    known = previous.backends
    if not known or previous.dynamic != dynamic or len(known) != len(edge.backends) or named(edge):
        return None
    changed = [(now, was) for now, was in zip(edge.backends, known.values(), strict=True) if now is not was]
    slots: dict[str, Slots] = {}
    for now, was in changed:
        if now.name != was.name or now.profile != was.profile:
            return None
        name = previous.names[now.name]
        before = previous.slots[name]
        after = _seat(before, now.servers)
        if len(after) > len(before):
            return None
        slots[name] = after
    return msgspec.structs.replace(
        previous,
        slots=persistent(previous.slots).change(slots),
        backends=persistent(known).change({now.name: now for now, _ in changed}),
    )


def same_without_reload(before: Mapping[str, Shape], after: Mapping[str, Shape], *, dynamic: bool) -> bool:
    """Whether HAProxy can get from one to the other while it runs."""
    if before == after:
        return True
    return (
        dynamic and before.keys() == after.keys() and all(_grown(before[name], shape) for name, shape in after.items())
    )


def _grown(before: Shape, after: Shape) -> bool:
    if before is after:
        return True
    return (before.profile, before.tuned) == (after.profile, after.tuned) and before.slots <= after.slots


def split(profile: Profile) -> tuple[Profile, Tuning]:
    """What is in the configuration of a profile, and what is in the map."""
    tuning = Tuning(profile.read_timeout_seconds, profile.body_bytes_max)
    if tuning == UNTUNED:
        return profile, UNTUNED
    bounded = profile.body_bytes_max is not None
    return msgspec.structs.replace(profile, read_timeout_seconds=None, body_bytes_max=None, bounded=bounded), tuning


class _Places:
    """One pass; starts from what was there before."""

    def __init__(self, previous: Placement, common: tuple[Profile, ...], *, keep_unused: bool, dynamic: bool) -> None:
        self._previous = previous
        self._common = {_pool(*_wanted(profile)): profile for profile in (*_ALWAYS, *common)}
        self._keep_unused = keep_unused
        self._dynamic = dynamic
        self._names: dict[str, str] = {}
        self._shapes: dict[str, Shape] = dict(previous.shapes)
        self._slots: dict[str, Slots] = {}
        self._tunings: dict[str, Tuning] = {}
        self._own: frozenset[str] = frozenset()
        self._spare: dict[str, list[str]] = {}
        for name in previous.spare:
            self._spare.setdefault(pool_of(name), []).append(name)

    def fill(self, edge: Edge) -> Placement:
        self._own = named(edge)
        if not self._keep_unused:
            self._drop_unused(edge)
        for pool, profile in self._common.items():
            if not any(pool_of(name) == pool for name in self._shapes):
                self._grow(pool, profile)
        known = self._previous.backends if self._keep_unused else {}
        for backend in edge.backends:
            if known.get(backend.name) is backend and backend.name not in self._own:
                self._keep(backend)
            else:
                self._put(backend)
        # What is freed now is given away at the next pass at the earliest: its requests still find their way.
        used = set(self._names.values())
        freed = [
            name
            for name in self._previous.names.values()
            if name not in used and name in self._shapes and pool_of(name) != name
        ]
        spare = [name for names in self._spare.values() for name in names] + freed
        for name, shape in self._shapes.items():
            if name not in self._slots:
                slots = self._previous.slots.get(name, ())
                empty = len(slots) == shape.slots and not any(slots)
                self._slots[name] = slots if empty else (None,) * shape.slots
        backends = {backend.name: backend for backend in edge.backends}
        return Placement(self._names, self._shapes, self._slots, tuple(spare), self._tunings, self._dynamic, backends)

    def _drop_unused(self, edge: Edge) -> None:
        """Pools that nobody uses any more go; the spares of the others stay."""
        wanted = {_pool(*_wanted(backend.profile)) for backend in edge.backends} | self._common.keys()
        wanted |= {own_name(name) for name in self._own}
        gone = {name for name in self._shapes if pool_of(name) not in wanted}
        self._shapes = {name: shape for name, shape in self._shapes.items() if name not in gone}
        self._spare = {pool: names for pool, names in self._spare.items() if pool in wanted}
        plain = _pool(PLAIN, False)
        if len(self._spare.get(plain, ())) < SPARE_LEAST:
            self._grow(plain, PLAIN)

    def _keep(self, backend: Backend) -> None:
        previous = self._previous
        name = self._names[backend.name] = previous.names[backend.name]
        self._slots[name] = previous.slots[name]
        if name in previous.tunings:
            self._tunings[name] = previous.tunings[name]

    def _put(self, backend: Backend) -> None:
        base, tuning = split(backend.profile)
        tuned = tuning != UNTUNED
        name = self._previous.names.get(backend.name)
        shape = self._shapes.get(name) if name else None
        if backend.name in self._own:
            name = own_name(backend.name)
            shape = Shape(max(shape.slots if shape else 0, SLOTS_LEAST), base, tuned)
            self._shapes[name] = shape
        elif name is None or shape is None or shape.tuned != tuned or shape.profile != base:
            name = self._take(base, tuned)
            shape = self._shapes[name]
        slots = _seat(self._previous.slots.get(name, ()), backend.servers)
        size = shape.slots
        while size < len(slots):
            size = len(slots) if self._dynamic else size * 2
        if size != shape.slots:
            self._shapes[name] = Shape(size, base, tuned)
        self._names[backend.name] = name
        self._slots[name] = slots if len(slots) == size else slots + (None,) * (size - len(slots))
        if tuned:
            self._tunings[name] = tuning

    def _take(self, base: Profile, tuned: bool) -> str:
        pool = _pool(base, tuned)
        if not self._spare.get(pool):
            self._grow(pool, base, tuned)
        return self._spare[pool].pop(0)

    def _grow(self, pool: str, profile: Profile, tuned: bool | None = None) -> None:
        """Double it; a pool that there are many like gets what it needs and no more."""
        base = split(profile)[0]
        numbers = {int(name[len(pool) :]) for name in self._shapes if pool_of(name) == pool}
        least = {"p": POOL_LEAST, "pt": _POOL_LEAST_TUNED}.get(pool, _POOL_LEAST_OTHERS)
        size = max(len(numbers) * 2, least)
        if pool not in self._common and len({pool_of(name) for name in self._shapes}) > _POOLS_MOST:
            size = len(numbers) + 1
        shape = Shape(SLOTS_LEAST, base, _wanted(profile)[1] if tuned is None else tuned)
        fresh = [number for number in range(size + len(numbers)) if number not in numbers][: size - len(numbers)]
        for number in fresh:
            self._shapes[f"{pool}{number}"] = shape
            self._spare.setdefault(pool, []).append(f"{pool}{number}")


def named(edge: Edge) -> frozenset[str]:
    """The backends that other sections call by name, which therefore cannot come from a pool."""
    return frozenset()


def own_name(backend: str) -> str:
    """What a backend of the edge that is not from a pool is called in HAProxy."""
    return f"b{hashlib.sha256(backend.encode()).hexdigest()[:12]}o"


def _wanted(profile: Profile) -> tuple[Profile, bool]:
    base, tuning = split(profile)
    return base, tuning != UNTUNED


def pool_of(name: str) -> str:
    """The pool that a backend of HAProxy belongs to."""
    return name.rstrip("0123456789")


def _pool(base: Profile, tuned: bool) -> str:
    """Plain ones are p0, p1, …, tuned ones pt0, pt1, …; the others have a digest of their profile in the name."""
    if base == PLAIN:
        return "pt" if tuned else "p"
    digest = hashlib.sha256(msgspec.json.encode((base, tuned))).hexdigest()[:12]
    return f"b{digest}n"


def _seat(before: Slots, servers: tuple[Server, ...]) -> Slots:
    """Servers keep their slots; new ones take slots that were empty before, so that the old ones can drain."""
    wanted = set(servers)
    if wanted.issuperset(filter(None, before)) and len(wanted) == sum(slot is not None for slot in before):
        return before
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
