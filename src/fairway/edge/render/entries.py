"""Map entries by host: what no change touched is not made again.

An entry depends on the routes of its host and on whether their backends have servers. So the entries of a host are
kept until one of these changes; this is a cache, and its result is the same as that of `maps` on all routes.
"""

from collections.abc import Mapping

import msgspec

from fairway.edge.ir import Forward, Route
from fairway.edge.place import Placement, Slots
from fairway.edge.render.maps import Maps, maps
from fairway.edge.render.rendered import CANARY_MAP, REGEX_MAP, ROUTE_MAP
from fairway.toolkit.persistent_map import PersistentMap, differences

Status = tuple[str, bool]


class Chunk(msgspec.Struct, frozen=True):
    """What one host adds, and the backends that decided it; `special` is all of it where there is more than that."""

    routes: Mapping[str, str]
    backends: frozenset[str]
    special: Maps | None = None


class Wanted(msgspec.Struct, frozen=True):
    """All entries, and the routes of the hosts that need more than the map of routes."""

    maps: Maps
    special: tuple[Route, ...]


class Entries:
    """Remembers one edge; for one that follows the other."""

    def __init__(self) -> None:
        self._by_host: Mapping[str, tuple[Route, ...]] = {}
        self._names: Mapping[str, str] = {}
        self._slots: Mapping[str, Slots] = {}
        self._chunks: dict[str, Chunk] = {}
        self._users: dict[str, set[str]] = {}
        self._status: dict[str, Status] = {}
        self._places: dict[str, str] = {}
        self._routes: PersistentMap[str, str] = PersistentMap()
        self._special: dict[str, Maps] = {}
        self._rest: tuple[Maps, tuple[Route, ...]] | None = None

    def of(self, by_host: Mapping[str, tuple[Route, ...]], placement: Placement) -> Wanted:
        """The entries for these routes where these backends are."""
        stale = set(differences(self._by_host, by_host)) | self._moved(placement)
        if stale:
            self._renew(stale, by_host, placement)
        self._by_host = by_host
        if self._rest is None:
            others, hosts = self._others()
            self._rest = others, tuple(route for host in hosts for route in by_host[host])
        others, routes = self._rest
        keyed = {ROUTE_MAP: self._routes, **others.keyed}
        return Wanted(Maps(keyed, others.ordered), routes)

    def _moved(self, placement: Placement) -> set[str]:
        """The hosts that lead to a backend that is elsewhere now, or that has its first server or has lost its last."""
        if placement.names is self._names and placement.slots is self._slots:
            return set()
        slots = placement.slots
        if placement.names is self._names:
            used = (place for place in differences(self._slots, slots) if place in self._places)
            status = {self._places[place]: (place, any(slots[place])) for place in used}
        else:
            status = {name: (place, any(slots[place])) for name, place in placement.names.items()}
            self._places = {place: name for name, place in placement.names.items()}
            self._status = {name: one for name, one in self._status.items() if name in status}
        changed = [name for name, now in status.items() if self._status.get(name) != now]
        self._status |= status
        self._names, self._slots = placement.names, slots
        return {host for name in changed for host in self._users.get(name, ())}

    def _renew(self, hosts: set[str], by_host: Mapping[str, tuple[Route, ...]], placement: Placement) -> None:
        gone = {host: chunk for host in hosts if (chunk := self._chunks.pop(host, None))}
        new = {host: _chunk(by_host[host], placement) for host in hosts if host in by_host}
        self._chunks |= new
        self._routes = self._routes.change(
            {key: value for chunk in new.values() for key, value in chunk.routes.items()},
            [key for chunk in gone.values() for key in chunk.routes],
        )
        for host, chunk in gone.items():
            for name in chunk.backends:
                self._users[name].discard(host)
        for host, chunk in new.items():
            for name in chunk.backends:
                self._users.setdefault(name, set()).add(host)
        for name in {name for chunk in gone.values() for name in chunk.backends if not self._users[name]}:
            del self._users[name]
        special = {host: chunk.special for host, chunk in new.items() if chunk.special}
        if special or not self._special.keys().isdisjoint(hosts):
            self._special = {host: found for host, found in self._special.items() if host not in hosts} | special
            self._rest = None

    def _others(self) -> tuple[Maps, tuple[str, ...]]:
        """The entries of all other maps, and the hosts that have any."""
        hosts = tuple(sorted(self._special))
        keyed: dict[str, dict[str, str]] = {CANARY_MAP: {}}
        ordered: dict[str, list[tuple[str, str]]] = {REGEX_MAP: []}
        for host in hosts:
            for name, entries in self._special[host].keyed.items():
                if name != ROUTE_MAP:
                    keyed.setdefault(name, {}).update(entries)
            for name, pairs in self._special[host].ordered.items():
                ordered.setdefault(name, []).extend(pairs)
        return Maps(keyed, {name: tuple(pairs) for name, pairs in ordered.items()}), hosts


def _chunk(routes: tuple[Route, ...], placement: Placement) -> Chunk:
    found = maps(routes, placement)
    more = (entries for name, entries in found.keyed.items() if name != ROUTE_MAP)
    special = any(more) or any(found.ordered.values()) or any(map(_decides, routes))
    return Chunk(found.keyed[ROUTE_MAP], frozenset(backend_names(routes)), found if special else None)


def _decides(route: Route) -> bool:
    """Whether a route needs rules of its own, also when its entries do not show that yet."""
    return bool(route.match.conditions or (isinstance(route.action, Forward) and route.action.canaries))


def backend_names(routes: tuple[Route, ...]) -> set[str]:
    """The backends that routes lead to."""
    forwards = [route.action for route in routes if isinstance(route.action, Forward)]
    return {name for one in forwards for name in (one.backend, *(canary.backend for canary in one.canaries))}
