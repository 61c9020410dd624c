"""Ingresses that share hosts form a group; a change makes only its own groups anew.

Two Ingresses can only get in each other's way on a host that both name. So 10,000 Ingresses on as many hosts are 10,000
small tables, and what a pass costs is the tables that changed.
"""

from collections.abc import Iterable, Mapping

import msgspec

from fairway.edge.ir import ANY_HOST, Passthrough, Problem, Profile, Route
from fairway.edge.snapshot import Precedence
from fairway.edge.translate import routes
from fairway.edge.translate.part import Part, ServiceRef
from fairway.edge.translate.profile import backend_name
from fairway.kube.api.meta import ObjectKey
from fairway.toolkit.persistent_map import PersistentMap


class Reading(msgspec.Struct, frozen=True):
    """One Ingress as it was read."""

    part: Part
    problems: tuple[Problem, ...]
    precedence: Precedence


class Asked(msgspec.Struct, frozen=True):
    """A backend that was asked for: the Service, how it is treated, and by whom."""

    ref: ServiceRef
    profile: Profile
    owners: tuple[ObjectKey, ...]


class Group(msgspec.Struct, frozen=True):
    """Readings in order of precedence and what came of them; `used` are the backends that routes lead to."""

    readings: tuple[Reading, ...]
    by_host: Mapping[str, tuple[Route, ...]]
    asked: Mapping[str, Asked]
    used: frozenset[str]
    problems: tuple[Problem, ...]
    passthroughs: tuple[Passthrough, ...] = ()


class Groups(msgspec.Struct, frozen=True):
    """The group that every host belongs to, the routes by host, and the problems by identity of their group."""

    of_host: PersistentMap[str, Group] = msgspec.field(default_factory=PersistentMap)
    by_host: PersistentMap[str, tuple[Route, ...]] = msgspec.field(default_factory=PersistentMap)
    problems: PersistentMap[int, tuple[Problem, ...]] = msgspec.field(default_factory=PersistentMap)
    passthroughs: Mapping[int, tuple[Passthrough, ...]] = {}


class Change(msgspec.Struct, frozen=True):
    """The groups afterwards, and which of them went and came."""

    groups: Groups
    gone: tuple[Group, ...]
    new: tuple[Group, ...]


def change(
    before: Groups, gone: Iterable[Reading], new: Iterable[Reading], stale: Iterable[str], names: frozenset[str]
) -> Change:
    """Take readings out and in, and make the groups of stale hosts anew; `names` are those that have a certificate."""
    leaving, arriving = {id(reading): reading for reading in gone}, list(new)
    touched = {host for reading in (*leaving.values(), *arriving) for host in hosts(reading.part)} | set(stale)
    old = {id(group): group for host in touched if (group := before.of_host.get(host))}
    kept = [reading for group in old.values() for reading in group.readings if id(reading) not in leaving]
    made = tuple(_group(readings, names) for readings in _components([*kept, *arriving]))
    if not old and not made:
        return Change(before, (), ())
    gone_hosts = {host for group in old.values() for host in _about(group)}
    groups = Groups(
        before.of_host.change({host: group for group in made for host in _about(group)}, gone_hosts),
        before.by_host.change({host: found for group in made for host, found in group.by_host.items()}, gone_hosts),
        before.problems.change({id(group): group.problems for group in made if group.problems}, old),
        {number: found for number, found in before.passthroughs.items() if number not in old}
        | {id(group): group.passthroughs for group in made if group.passthroughs},
    )
    return Change(groups, tuple(old.values()), made)


def hosts(part: Part) -> tuple[str, ...]:
    """Every host whose answers a part can change."""
    return part.hosts or (ANY_HOST,)


def stale_hosts(before: Groups, old_names: frozenset[str], new_names: frozenset[str]) -> set[str]:
    """The hosts for which a certificate came or went."""
    changed = old_names ^ new_names
    suffixes = {name[1:] for name in changed if name.startswith("*.")}
    under = {host for host in before.of_host if f".{host.partition('.')[2]}" in suffixes} if suffixes else set()
    return {*changed, *under}


def covered(host: str, names: frozenset[str]) -> bool:
    """Whether a host has a certificate, its own or that of its wildcard."""
    return host in names or f"*.{host.partition('.')[2]}" in names


def _about(group: Group) -> set[str]:
    return {host for reading in group.readings for host in hosts(reading.part)}.union(group.by_host)


def _components(readings: Iterable[Reading]) -> list[tuple[Reading, ...]]:
    """What hangs together by common hosts; each in order of precedence."""
    group_of: dict[str, list[Reading]] = {}
    for reading in readings:
        names = hosts(reading.part)
        # All groups are looked up before any is merged: merging moves hosts that the next look-up would ask for.
        met = {id(group): group for host in names if (group := group_of.get(host)) is not None}
        mine = max(met.values(), key=len, default=[])
        for other in met.values():
            if other is not mine:
                mine += other
                for member in other:
                    group_of |= dict.fromkeys(hosts(member.part), mine)
        mine.append(reading)
        group_of |= dict.fromkeys(names, mine)
    found = {id(members): members for members in group_of.values()}
    return [tuple(sorted(members, key=lambda reading: reading.precedence)) for members in found.values()]


def _group(readings: tuple[Reading, ...], names: frozenset[str]) -> Group:
    asked: dict[str, Asked] = {}

    def backend_of(ref: ServiceRef, asking: Part, profile: Profile) -> str:
        name = backend_name(ref, profile)
        owners = asked[name].owners if name in asked else ()
        if asking.owner not in owners:
            asked[name] = Asked(ref, profile, (*owners, asking.owner))
        return name

    merged = routes.merge(tuple(reading.part for reading in readings), backend_of, lambda host: covered(host, names))
    by_host: dict[str, list[Route]] = {}
    for route in merged.routes:
        by_host.setdefault(route.match.host, []).append(route)
    return Group(
        readings=readings,
        by_host={host: tuple(found) for host, found in by_host.items()},
        asked=asked,
        used=frozenset(_used(merged, asked)),
        problems=merged.problems,
        passthroughs=merged.passthroughs,
    )


def _used(merged: routes.Routes, asked: Mapping[str, Asked]) -> set[str]:
    """The backends of routes, those that these ask in turn, and those of passed-through hosts."""
    names = routes.backend_names(merged.routes) | {one.backend for one in merged.passthroughs}
    return names | {helper for name in names for helper in asked[name].profile.helpers}
