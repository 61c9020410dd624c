"""Routes to map entries.

All hosts and paths are keys of one map, and the longest that a request begins with wins. A request is looked up with
`/?` at its end, so the key of an exact path ends like that and is longer than any other that fits; no path has a `?`.

A value is the name of a backend where that says it all, and `s|BACKEND` where plain HTTP is redirected to HTTPS.
Everything else is `FLAGS|BACKEND|CANARY|ARGUMENT` with the flags

    s  redirect plain HTTP to HTTPS      n  answer 404           rCODE  redirect to ARGUMENT
    c  CANARY is a key of the canary map u  answer 503           w      the path becomes ARGUMENT
    k  … and what was sent follows       m  answer maintenance

`~` says that the paths of this host are expressions, and `@KEY` that the route has conditions. The rules that read them
are in `frontend.py`, `canary.py` and `conditions.py`.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping

import msgspec

from fairway.edge.ir import Canary, Forward, Maintenance, NotFound, PathKind, Redirect, Route
from fairway.edge.place import Placement
from fairway.edge.render.conditions import signature
from fairway.edge.render.rendered import CANARY_MAP, REGEX_MAP, ROUTE_MAP

REGEX_HOST = "~"
EXACT_END = "/?"
PASSTHROUGH_MAP = "maps/passthrough.map"
PATTERN_MAP = "maps/pattern.map"
CONDITION_MAP = "maps/condition.map"
OTHERWISE_MAP = "maps/otherwise.map"
MATCH_MAP = "maps/match.map"
_DRAWS = 1_000_000


class Maps(msgspec.Struct, frozen=True):
    """Entries by file; those of `ordered` are tried from the top."""

    keyed: Mapping[str, Mapping[str, str]]
    ordered: Mapping[str, tuple[tuple[str, str], ...]]


def maps(routes: Iterable[Route], placement: Placement) -> Maps:
    """All entries; `routes` come in the order in which expressions are tried."""
    found: dict[str, str] = {}
    regex: list[tuple[str, str]] = []
    values = _Values(placement)
    waiting: list[Route] = []
    for route in routes:
        if route.match.conditions:
            waiting.append(route)  # those of a place come right before the one without
            continue
        value = values.conditional(waiting, route) if waiting else values.of(route)
        waiting = []
        if route.match.kind is PathKind.REGEX:
            found[f"{route.match.host}/"] = REGEX_HOST
            regex.append((_expression(route), value))
        else:
            is_exact, key = route.match.key
            found[f"{key}{EXACT_END}" if is_exact else key] = value
    keyed = {ROUTE_MAP: found, CANARY_MAP: values.canaries}
    keyed |= {name: entries for name, entries in values.conditions.items() if entries}
    ordered = {REGEX_MAP: tuple(regex)}
    ordered |= {PATTERN_MAP: tuple(values.patterns)} if values.patterns else {}
    ordered |= {MATCH_MAP: tuple(values.matches)} if values.matches else {}
    return Maps(keyed, ordered)


def _expression(route: Route) -> str:
    # The group keeps an alternative inside the path from escaping the host, and does not count as $1.
    return f"^{re.escape(route.match.host)}(?i:{route.match.path})"


class _Values:
    """Makes values, and the entries of other maps that they point to."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self.canaries: dict[str, str] = {}
        self.patterns: list[tuple[str, str]] = []
        self.matches: list[tuple[str, str]] = []
        self.conditions: dict[str, dict[str, str]] = {CONDITION_MAP: {}, OTHERWISE_MAP: {}}

    def of(self, route: Route, *, plain: bool = True) -> str:
        """`plain`: a route that needs nothing else may be its backend alone."""
        secure = "s" if route.https_only else ""
        match route.action:
            case NotFound():
                return f"{secure}n|||"
            case Maintenance():
                return f"{secure}m|||"
            case Redirect(code=code, location=location, keep=keep):
                argument = location.replace("$", "\\") if route.match.kind is PathKind.REGEX else location
                return f"{secure}r{code}{'k' if keep else ''}|||{argument}"
            case Forward() as forward:
                return self._forward(route, forward, secure, plain)

    def conditional(self, routes: list[Route], otherwise: Route) -> str:
        """One entry per route with conditions, each pointing to the next, and what counts when none is met."""
        links = [(signature(route.match.conditions), _patterns(route), self.of(route, plain=False)) for route in routes]
        last = self.of(otherwise, plain=False)
        place = f"{otherwise.match.host} {otherwise.match.kind.value} {otherwise.match.path}"
        name = hashlib.sha256(f"{place}".encode()).hexdigest()[:12]
        for number, (sign, patterns, value) in enumerate(links):
            following = f"{name}.{number + 1}" if number + 1 < len(links) else ""
            self.conditions[CONDITION_MAP][f"{name}.{number}"] = f"{sign}|{following}"
            self.matches.append((f"^{re.escape(f'{name}.{number}')}={patterns}$", value))
        self.conditions[OTHERWISE_MAP][f"{name}.0"] = last
        return f"@{name}.0"

    def _forward(self, route: Route, forward: Forward, flags: str, plain: bool) -> str:
        name = self._placement.names[forward.backend]
        canary = self._chain(forward.canaries)
        if not self._serves(forward.backend):
            return f"{flags}u|{name}||"
        if plain and not canary and not forward.rewrite and route.match.kind is not PathKind.REGEX:
            return f"{flags}|{name}" if flags else name
        flags += ("c" if canary else "") + ("w" if forward.rewrite else "")
        rewrite = forward.rewrite.replace("$", "\\") if forward.rewrite else ""
        return f"{flags or '-'}|{name}|{canary}|{rewrite}"

    def _serves(self, backend: str) -> bool:
        name = self._placement.names[backend]
        return any(self._placement.slots[name]) or self._placement.shapes[name].profile.external is not None

    def _chain(self, canaries: tuple[Canary, ...]) -> str:
        """The key of the first; each entry holds its share of all draws and the key of the next."""
        low, shares = 0, []
        for canary in canaries:
            if self._serves(canary.backend):
                high = min(low + canary.weight * _DRAWS // canary.weight_total, _DRAWS)
                shares.append((canary, low, high))
                low = high
        key = ""
        for canary, low, high in reversed(shares):
            key = self._canary(canary, low, high, key)
        return key

    def _canary(self, canary: Canary, low: int, high: int, following: str) -> str:
        name = self._placement.names[canary.backend]
        # With a pattern the value's place is taken by a mark, and the pattern map knows the rest.
        wanted = "~" if canary.header_pattern else canary.header_value
        sticky = "|".join(canary.sticky)
        value = f"{low}|{high}|{name}|{canary.header}|{wanted}|{canary.cookie}|{sticky}|{following}"
        key = hashlib.sha256(f"{value}{canary.header_pattern}".encode()).hexdigest()[:12]
        if canary.header_pattern and key not in self.canaries:
            self.patterns.append((f"^{key}=(?:{_anywhere(canary.header_pattern)})", "yes"))
        self.canaries[key] = value
        return key


def _anywhere(pattern: str) -> str:
    """A pattern that is searched for, behind a key: each alternative begins at the start or anywhere."""
    alternatives = [""]
    depth, position = 0, 0
    while position < len(pattern):
        piece = pattern[position : position + 2] if pattern[position] == "\\" else pattern[position]
        position += len(piece)
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(piece, 0)
        if piece == "|" and depth == 0:
            alternatives.append("")
        else:
            alternatives[-1] += piece
    return "|".join(one[1:] if one.startswith("^") else f".*(?:{one})" for one in alternatives)


def _patterns(route: Route) -> str:
    found = [one.value if one.regex else re.escape(one.value) for one in route.match.conditions]
    return "".join(f"(?:{one});" for one in found)
