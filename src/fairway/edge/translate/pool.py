"""The backends that groups ask for, with their servers; only what changed is found again."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from fairway.edge.ir import Backend, Problem
from fairway.edge.snapshot import Snapshot
from fairway.edge.translate import backends, contents, global_auth
from fairway.edge.translate.backends import Unresolved
from fairway.edge.translate.global_auth import OPEN, Guard
from fairway.edge.translate.groups import Asked, Change
from fairway.edge.translate.references import ServiceRef
from fairway.kube.api.meta import ObjectKey
from fairway.toolkit.persistent_map import PersistentMap, differences

Needed = tuple[int, ObjectKey]
"""An object that a backend is made of: in which of the four maps of a snapshot it is found, and how."""

_SERVICES, _SLICES, _SECRETS, _CONFIG_MAPS = range(4)
_NOBODY: frozenset[str] = frozenset()


class Resolved(msgspec.Struct, frozen=True):
    """A backend, the objects that it was made of, and the reason and message of what is wrong with them."""

    made_of: tuple[object, ...]
    backend: Backend
    found_problems: tuple[tuple[str, str], ...] = ()


class Pool(msgspec.Struct, frozen=True):
    """Who asks for each backend, how many groups lead to it, and what it is; `backends` are in order of their names.

    `users` are the backends that every object is looked at for; the objects are those that were looked at.
    """

    asked: PersistentMap[str, Asked] = msgspec.field(default_factory=PersistentMap)
    uses: PersistentMap[str, int] = msgspec.field(default_factory=PersistentMap)
    resolved: PersistentMap[str, Resolved] = msgspec.field(default_factory=PersistentMap)
    problems: PersistentMap[str, tuple[Problem, ...]] = msgspec.field(default_factory=PersistentMap)
    users: PersistentMap[Needed, frozenset[str]] = msgspec.field(default_factory=PersistentMap)
    names: tuple[str, ...] = ()
    backends: tuple[Backend, ...] = ()
    objects: tuple[Mapping[ObjectKey, object], ...] = ({}, {}, {}, {})
    guard: Guard = OPEN

    def change(self, change: Change, snapshot: Snapshot) -> "Pool":
        """The pool after groups came and went and Services and their endpoints changed."""
        asked, uses = self._after(change)
        objects = (snapshot.services, snapshot.slices, snapshot.secrets, snapshot.config_maps)
        guard = global_auth.read(snapshot)
        # Who comes in by an authentication server of all is asked by every backend; where it is itself, by none.
        all_asked = () if (guard.auth, guard.closed) == (self.guard.auth, self.guard.closed) else asked
        stale = dict.fromkeys((*differences(self.asked, asked), *sorted(self._affected(objects)), *all_asked))
        known = self.resolved
        fresh = {name: _resolve(name, asked[name], snapshot, guard, known.get(name)) for name in stale if name in asked}
        resolved = known.change(fresh, stale)
        problems = {name: found for name, one in fresh.items() if (found := tuple(_problems(asked[name], one)))}
        names, backends = self._ordered(uses, resolved)
        return Pool(
            asked=asked,
            uses=uses,
            resolved=resolved,
            problems=self.problems.change(problems, stale),
            users=self._used_by(asked),
            names=names,
            backends=backends,
            objects=objects,
            guard=guard,
        )

    def _after(self, change: Change) -> tuple[PersistentMap[str, Asked], PersistentMap[str, int]]:
        """Who asks, and how often, once groups have come and gone."""
        touched = dict.fromkeys(name for group in (*change.gone, *change.new) for name in group.asked)
        asked = {name: self.asked[name] for name in touched if name in self.asked}
        uses = {name: self.uses[name] for name in touched if name in self.uses}
        for group in change.gone:
            _leave(asked, group.asked)
            _count(uses, group.used, -1)
        for group in change.new:
            _join(asked, group.asked)
            _count(uses, group.used, 1)
        return self.asked.change(asked, touched), self.uses.change(uses, touched)

    def _affected(self, objects: tuple[Mapping[ObjectKey, object], ...]) -> set[str]:
        """The backends whose objects changed."""
        found: set[str] = set()
        for place, (old, new) in enumerate(zip(self.objects, objects, strict=True)):
            for key in differences(old, new):
                found |= self.users.get((place, key), _NOBODY)
        return found

    def _used_by(self, asked: PersistentMap[str, Asked]) -> PersistentMap[Needed, frozenset[str]]:
        changed: dict[Needed, frozenset[str]] = {}
        for name, pair in differences(self.asked, asked).items():
            before, after = (set(_needed(one)) if one else set() for one in (pair.before, pair.after))
            for key in before ^ after:
                users = changed.get(key, self.users.get(key, _NOBODY))
                changed[key] = users ^ {name}
        return self.users.change({key: users for key, users in changed.items() if users}, changed)

    def _ordered(
        self, uses: PersistentMap[str, int], resolved: PersistentMap[str, Resolved]
    ) -> tuple[tuple[str, ...], tuple[Backend, ...]]:
        """The backends that are led to; what is in order already is not sorted again."""
        came_or_went = any(pair.before is None or pair.after is None for pair in differences(self.uses, uses).values())
        names = tuple(sorted(uses)) if came_or_went else self.names
        if came_or_went:
            return names, tuple(resolved[name].backend for name in names)
        changed = [name for name in differences(self.resolved, resolved) if name in uses]
        if not changed:
            return names, self.backends
        backends = list(self.backends)
        for name in changed:
            backends[bisect_left(names, name)] = resolved[name].backend
        return names, tuple(backends)


def _leave(asked: dict[str, Asked], leaving: Mapping[str, Asked]) -> None:
    for name, one in leaving.items():
        gone = set(one.owners)
        owners = tuple(owner for owner in asked[name].owners if owner not in gone)
        if owners:
            asked[name] = msgspec.structs.replace(asked[name], owners=owners)
        else:
            del asked[name]


def _join(asked: dict[str, Asked], joining: Mapping[str, Asked]) -> None:
    for name, one in joining.items():
        known = asked.get(name)
        asked[name] = one if known is None else msgspec.structs.replace(known, owners=known.owners + one.owners)


def _count(uses: dict[str, int], names: Iterable[str], step: int) -> None:
    for name in names:
        uses[name] = uses.get(name, 0) + step
        if not uses[name]:
            del uses[name]


def _resolve(name: str, asked: Asked, snapshot: Snapshot, guard: Guard, known: Resolved | None) -> Resolved:
    made_of = (*_objects(asked, snapshot), guard.auth, guard.closed)
    if known is not None and made_of == known.made_of:
        return known
    profile, problems = contents.fill(asked.profile, snapshot)
    profile = guard.onto(profile)
    found = tuple(("InvalidReference", message) for message in problems)
    try:
        servers = backends.servers(asked.ref, snapshot, virtual=asked.profile.virtual_address)
        if external := backends.external(asked.ref, snapshot):
            profile = msgspec.structs.replace(profile, external=external)
    except Unresolved as error:
        servers, found = (), (*found, (error.reason, str(error)))
    if not servers and not profile.external and asked.profile.fallback:
        try:
            servers = backends.servers(ServiceRef(*asked.profile.fallback), snapshot)
        except Unresolved as error:
            found = (*found, (error.reason, f"default-backend: {error}"))
    return Resolved(made_of, Backend(name, servers, profile), found)


def _objects(asked: Asked, snapshot: Snapshot) -> Iterator[object]:
    """Everything that the backend is made of; the same objects make the same backend."""
    objects = (snapshot.services, snapshot.slices, snapshot.secrets, snapshot.config_maps)
    return (objects[place].get(key) for place, key in _needed(asked))


def _needed(asked: Asked) -> Iterator[Needed]:
    references = [asked.ref, *([ServiceRef(*asked.profile.fallback)] if asked.profile.fallback else [])]
    for reference in references:
        key = ObjectKey(reference.namespace, reference.name)
        yield from ((_SERVICES, key), (_SLICES, key))
    secrets, maps = contents.needs(asked.profile)
    yield from ((_SECRETS, key) for key in secrets)
    yield from ((_CONFIG_MAPS, key) for key in maps)


def _problems(asked: Asked, resolved: Resolved) -> Iterator[Problem]:
    """Each once."""
    found = dict.fromkeys(resolved.found_problems)
    return (Problem(owner, reason, message) for reason, message in found for owner in asked.owners)
