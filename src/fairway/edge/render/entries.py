"""Map entries by host: what no change touched is not made again.

An entry depends on the routes of its host and on whether their backends have servers. So the entries of a host are
kept until one of these changes; this is a cache, and its result is the same as that of `maps` on all routes.
"""

from collections.abc import Mapping

import msgspec

from fairway.edge.ir import Forward, Route
from fairway.edge.place import Placement
from fairway.edge.render.maps import Maps, maps
from fairway.edge.render.rendered import CANARY_MAP, EXACT_MAP, PREFIX_MAP, REGEX_MAP

_PLAIN = (EXACT_MAP, PREFIX_MAP)
Status = tuple[str, bool]


class Chunk(msgspec.Struct, frozen=True):
    """What one host adds, and the backends that decided it."""

    exact: Mapping[str, str]
    prefix: Mapping[str, str]
    backends: frozenset[str]


class Wanted(msgspec.Struct, frozen=True):
    """All entries, and the routes of the hosts that need more than the two plain maps."""

    maps: Maps
    special: tuple[Route, ...]


class Entries:
    """Remembers one edge; for one that follows the other."""

    def __init__(self) -> None:
        self._by_host: Mapping[str, tuple[Route, ...]] = {}
        self._chunks: dict[str, Chunk] = {}
        self._users: dict[str, set[str]] = {}
        self._status: dict[str, Status] = {}
        self._exact: dict[str, str] = {}
        self._prefix: dict[str, str] = {}
        self._special: dict[str, Maps] = {}

    def of(self, by_host: Mapping[str, tuple[Route, ...]], placement: Placement) -> Wanted:
        """The entries for these routes where these backends are."""
        slots = placement.slots
        status = {name: (place, any(slots[place])) for name, place in placement.names.items()}
        stale = {host for host, routes in by_host.items() if self._by_host.get(host) is not routes}
        for name, now in status.items():
            if self._status.get(name) != now:
                stale |= self._users.get(name, set())
        gone = self._by_host.keys() - by_host.keys()
        if stale or gone:
            self._exact, self._prefix, self._special = dict(self._exact), dict(self._prefix), dict(self._special)
        for host in stale | gone:
            self._forget(host)
        for host in stale & by_host.keys():
            self._make(host, by_host[host], placement)
        self._by_host, self._status = by_host, status
        special = sorted(self._special)
        return Wanted(self._all(special), tuple(route for host in special for route in by_host[host]))

    def _make(self, host: str, routes: tuple[Route, ...], placement: Placement) -> None:
        found = maps(routes, placement)
        exact, prefix = (found.keyed[name] for name in _PLAIN)
        backends = frozenset(backend_names(routes))
        for name in backends:
            self._users.setdefault(name, set()).add(host)
        self._chunks[host] = Chunk(exact, prefix, backends)
        self._exact |= exact
        self._prefix |= prefix
        more = (entries for name, entries in found.keyed.items() if name not in _PLAIN)
        if any(more) or any(found.ordered.values()) or any(map(_decides, routes)):
            self._special[host] = found

    def _forget(self, host: str) -> None:
        chunk = self._chunks.pop(host, None)
        if chunk is None:
            return
        for key in chunk.exact:
            del self._exact[key]
        for key in chunk.prefix:
            del self._prefix[key]
        for name in chunk.backends:
            self._users[name].discard(host)
            if not self._users[name]:
                del self._users[name]
        self._special.pop(host, None)

    def _all(self, special: list[str]) -> Maps:
        keyed: dict[str, dict[str, str]] = {CANARY_MAP: {}}
        ordered: dict[str, list[tuple[str, str]]] = {REGEX_MAP: []}
        for host in special:
            for name, entries in self._special[host].keyed.items():
                if name not in _PLAIN:
                    keyed.setdefault(name, {}).update(entries)
            for name, pairs in self._special[host].ordered.items():
                ordered.setdefault(name, []).extend(pairs)
        return Maps(
            {EXACT_MAP: self._exact, PREFIX_MAP: self._prefix, **keyed},
            {name: tuple(pairs) for name, pairs in ordered.items()},
        )


def _decides(route: Route) -> bool:
    """Whether a route needs rules of its own, also when its entries do not show that yet."""
    return bool(route.match.conditions or (isinstance(route.action, Forward) and route.action.canaries))


def backend_names(routes: tuple[Route, ...]) -> set[str]:
    """The backends that routes lead to."""
    forwards = [route.action for route in routes if isinstance(route.action, Forward)]
    return {name for one in forwards for name in (one.backend, *(canary.backend for canary in one.canaries))}
