"""All parts together: who gets which host and path, and what every host answers otherwise."""

import re
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from fairway.edge.ir import (
    ANY_HOST,
    Action,
    Canary,
    Condition,
    Forward,
    Maintenance,
    Match,
    NotFound,
    Passthrough,
    PathKind,
    Problem,
    Profile,
    Protocol,
    Redirect,
    Route,
)
from fairway.edge.translate import canaries
from fairway.edge.translate.global_auth import OPEN_PATH
from fairway.edge.translate.part import Part, Rule, ServiceRef, twin
from fairway.edge.translate.profile import over_tls
from fairway.kube.api.meta import ObjectKey

T = TypeVar("T")
Place = tuple[tuple[bool, str], tuple[Condition, ...]]
BackendOf = Callable[[ServiceRef, Part, Profile], str]
"""The name of the backend for a reference of a part, treated as the profile says."""
_EVERYTHING = "$request_uri"


class Routes(msgspec.Struct, frozen=True):
    """Routes in a fixed order, without two for the same requests."""

    routes: tuple[Route, ...]
    problems: tuple[Problem, ...]
    passthroughs: tuple[Passthrough, ...] = ()


def merge(parts: tuple[Part, ...], backend_of: BackendOf, covered: Callable[[str], bool]) -> Routes:
    """`parts` in order of precedence; `covered` tells which hosts have a certificate."""
    return _Merger(backend_of, covered).merge(parts)


class _Merger:
    """Fills one table of routes; the first to ask for a place gets it."""

    def __init__(self, backend_of: BackendOf, covered: Callable[[str], bool]) -> None:
        self._backend_of = backend_of
        self._covered = covered
        self._routes: dict[Place, Route] = {}
        self._problems: list[Problem] = []
        self._regex_hosts: dict[str, Part] = {}
        self._scoped_hosts: set[str] = set()
        self._parts: dict[ObjectKey, Part] = {}
        self._passthroughs: dict[str, Passthrough] = {}

    def merge(self, parts: tuple[Part, ...]) -> Routes:
        plain = tuple(part for part in parts if not part.settings.canary)
        self._parts = {part.owner: part for part in plain}
        self._find_regex_hosts(plain)
        for part in plain:
            self._helpers(part)
            self._app_roots(part)
            for rule in part.rules:
                self._add(part, self._match(part, rule), self._action(part, rule))
            self._passthrough(part)
        for part in plain:
            self._aliases(part)
        for part in plain:
            self._www(part)
        for part in parts:
            if part.settings.canary:
                self._canary(part)
        for part in plain:
            self._default(part)
        self._close_hosts()
        self._complete_conditions()
        routes = tuple(sorted(self._routes.values(), key=_order))
        return Routes(routes, tuple(self._problems), tuple(self._passthroughs.values()))

    def _find_regex_hosts(self, parts: tuple[Part, ...]) -> None:
        turning = [part for part in parts if part.regex]
        hosts = [(host, part) for part in turning for host in (*part.own_hosts, *part.settings.server_alias)]
        self._regex_hosts = _first(hosts)
        wide = {host for host, part in hosts if part.settings.regex_scope == "host"}
        self._scoped_hosts = self._regex_hosts.keys() - wide

    def _match(self, part: Part, rule: Rule) -> Match:
        conditions = part.settings.match
        if rule.host not in self._regex_hosts:
            return Match(rule.host, rule.path, rule.kind, conditions)
        if rule.kind is PathKind.REGEX:
            return Match(rule.host, rule.path, PathKind.REGEX, conditions)
        text = _as_it_was(rule) if rule.host in self._scoped_hosts else re.escape(rule.path)
        return Match(rule.host, text, PathKind.REGEX, conditions)

    def _action(self, part: Part, rule: Rule) -> Action:
        if part.settings.maintenance:
            return Maintenance()
        if part.settings.redirect:
            code, location = part.settings.redirect
            if self._loops(part, rule, location):
                return NotFound()
            keep = location.endswith(_EVERYTHING)
            return Redirect(code, location.removesuffix(_EVERYTHING), keep)
        service = rule.service or part.default
        if service is None:
            return NotFound()
        target = part.settings.rewrite_target
        profile = part.profile
        if rule.path.startswith(OPEN_PATH) and profile.guarded:
            profile = msgspec.structs.replace(profile, guarded=False)
        secure = over_tls(part.settings, profile)
        # What came over TLS is told by a header that the edge itself has set, whatever the client sent.
        canaries = (
            ()
            if secure is None
            else (Canary(self._backend_of(service, part, secure), header="x-forwarded-proto", header_value="https"),)
        )
        rewrite = target if target != rule.path else ""
        return Forward(self._backend_of(service, part, profile), rewrite=rewrite, canaries=canaries)

    def _loops(self, part: Part, rule: Rule, location: str) -> bool:
        """Whether a redirect leads to the rule that it comes from."""
        host, slash, path = location.partition("://")[2].partition("/")
        back = host.partition(":")[0].lower() == rule.host and (slash + path or "/").startswith(rule.path.rstrip("/"))
        if back and rule.kind is not PathKind.EXACT:
            where = f"host {rule.host} path {rule.path}"
            self._problem(part, "RedirectLoop", f"{where} is redirected to itself, {location}; it answers 404 instead")
        return back and rule.kind is not PathKind.EXACT

    def _helpers(self, part: Part) -> None:
        for service, profile in part.helpers:
            self._backend_of(service, part, profile)

    def _app_roots(self, part: Part) -> None:
        if part.settings.app_root:
            for host in part.own_hosts:
                kind = PathKind.REGEX if host in self._regex_hosts else PathKind.EXACT
                path = "/$" if kind is PathKind.REGEX else "/"
                self._add(part, Match(host, path, kind, part.settings.match), Redirect(302, part.settings.app_root))

    def _passthrough(self, part: Part) -> None:
        if not part.settings.ssl_passthrough:
            return
        for rule in part.rules:
            if rule.service is None or rule.host == ANY_HOST or rule.host in self._passthroughs:
                continue
            name = self._backend_of(rule.service, part, Profile(protocol=Protocol.TCP, inner=True))
            self._passthroughs[rule.host] = Passthrough(rule.host, name)

    def _aliases(self, part: Part) -> None:
        """The other names of the hosts of a part; a name that has rules of its own keeps them."""
        for alias in part.settings.server_alias:
            if any(route.match.host == alias and route.owner != part.owner for route in self._routes.values()):
                self._problem(part, "HostConflict", f"server-alias {alias} is a host with rules of its own")
                continue
            for rule in part.rules:
                renamed = msgspec.structs.replace(rule, host=alias)
                match = self._match(part, renamed)
                if (match.key, match.conditions) not in self._routes:
                    self._add(part, match, self._action(part, renamed))

    def _www(self, part: Part) -> None:
        if not part.settings.from_to_www_redirect:
            return
        taken = {route.match.host for route in self._routes.values()}
        for host in part.own_hosts:
            other = twin(host)
            if other and other not in taken:
                self._add(part, Match(other, "/", PathKind.PREFIX), Redirect(308, f"//{host}", keep=True), https=False)

    def _add(self, part: Part, match: Match, action: Action, *, https: bool = True) -> None:
        settings = part.settings
        secure = settings.force_ssl_redirect or settings.ssl_passthrough
        secure = https and (secure or (settings.ssl_redirect and self._covered(match.host)))
        route = Route(match, action, secure, part.owner)
        winner = self._routes.setdefault((match.key, match.conditions), route)
        if winner is not route:
            who = "this Ingress" if winner.owner == part.owner else f"Ingress {winner.owner}, which is older"
            self._problem(part, "PathConflict", f"host {match.host} path {match.path} is already served by {who}")
            return
        turned = self._regex_hosts.get(match.host)
        if turned is not None and turned.owner != part.owner and match.host not in self._scoped_hosts:
            self._problem(
                part,
                "HostUsesRegex",
                f"paths of host {match.host} are compared as regular expressions because Ingress {turned.owner} "
                "sets use-regex or rewrite-target; annotation fairway.dev/regex-scope: ingress there would spare them",
            )

    def _default(self, part: Part) -> None:
        """spec.defaultBackend: for what its own hosts do not answer; without rules, for everybody."""
        if part.default is None:
            return
        for host in part.own_hosts or (ANY_HOST,):
            match = self._everything(host)
            if (match.key, ()) not in self._routes:
                self._add(part, match, Forward(self._backend_of(part.default, part, part.profile)))

    def _close_hosts(self) -> None:
        """Every host answers every path, so that no request falls through to a wildcard or to another Ingress."""
        for host in {route.match.host for route in self._routes.values()} - {ANY_HOST}:
            match = self._everything(host)
            self._routes.setdefault((match.key, ()), Route(match, NotFound()))

    def _complete_conditions(self) -> None:
        """Where a route has conditions, those who do not meet them get what they would get without it."""
        for key, conditions in list(self._routes):
            if conditions and (key, ()) not in self._routes:
                route = self._routes[key, conditions]
                match = msgspec.structs.replace(route.match, conditions=())
                self._routes[key, ()] = msgspec.structs.replace(self._covering(match), match=match)

    def _covering(self, match: Match) -> Route:
        """The route that a path falls to when it has none of its own; the longest, as ever."""
        found = Route(self._everything(match.host), NotFound())
        for (_, conditions), route in self._routes.items():
            other = route.match
            if conditions or other.host != match.host or len(other.path) < len(found.match.path):
                continue
            slash = other.path.rstrip("/") + "/"
            element = other.kind is PathKind.PREFIX and f"{match.path}/".startswith(slash)
            if element or (other.kind is PathKind.STRING and match.path.startswith(other.path)) or other.path == "/":
                found = route
        return found

    def _everything(self, host: str) -> Match:
        return Match(host, "/", PathKind.REGEX if host in self._regex_hosts else PathKind.PREFIX)

    def _canary(self, part: Part) -> None:
        for rule in part.rules:
            match = self._match(part, rule)
            where = f"host {rule.host} path {rule.path}"
            main = self._routes.get((match.key, match.conditions))
            if main is None or not isinstance(main.action, Forward) or rule.service is None:
                self._problem(part, "CanaryWithoutMain", f"{where} has no Ingress that this canary could be for")
                continue
            if len(main.action.canaries) >= canaries.MANY:
                self._problem(part, "CanaryConflict", f"{where} already has {canaries.MANY} canaries")
                continue
            owner = self._parts[main.owner]
            wanted = canaries.profile(part, owner.profile, len(main.action.canaries))
            canary = canaries.canary(part, owner, self._backend_of(rule.service, owner, wanted), wanted)
            action = msgspec.structs.replace(main.action, canaries=(*main.action.canaries, canary))
            self._routes[match.key, match.conditions] = msgspec.structs.replace(main, action=action)

    def _problem(self, part: Part, reason: str, message: str) -> None:
        problem = Problem(part.owner, reason, message)
        if problem not in self._problems:
            self._problems.append(problem)


def _as_it_was(rule: Rule) -> str:
    """An expression that compares as the rule does, on a host where others are expressions."""
    text = re.escape(rule.path.rstrip("/") if rule.kind is PathKind.PREFIX else rule.path)
    ends = {PathKind.EXACT: "$", PathKind.PREFIX: "(?:/|$)"}
    return f"(?-i:{text}{ends.get(rule.kind, '')})"


def _first(pairs: Iterable[tuple[str, T]]) -> dict[str, T]:
    found: dict[str, T] = {}
    for key, value in pairs:
        found.setdefault(key, value)
    return found


def _order(route: Route) -> tuple[str, bool, int, str, bool, int]:
    """By host; expressions by falling length, which is the order in which ingress-nginx tries them."""
    match = route.match
    expression = match.kind is PathKind.REGEX
    length = -len(match.path) if expression else 0
    return match.host, expression, length, match.path, match.kind is not PathKind.EXACT, -len(match.conditions)


def backend_names(routes: Iterable[Route]) -> set[str]:
    """The backends that routes lead to."""
    forwards = [route.action for route in routes if isinstance(route.action, Forward)]
    return {name for one in forwards for name in (one.backend, *(canary.backend for canary in one.canaries))}
