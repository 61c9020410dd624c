"""All parts together: who gets which host and path, and what every host answers otherwise."""

import hashlib
import re
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from fairway.edge.ir import (
    ANY_HOST,
    PLAIN,
    Action,
    Canary,
    Forward,
    Match,
    NotFound,
    PathKind,
    Problem,
    Profile,
    Redirect,
    Route,
)
from fairway.edge.translate.part import Part, Rule, ServiceRef
from fairway.kube.api.meta import ObjectKey

T = TypeVar("T")
BackendOf = Callable[[ServiceRef, Part], str]
"""The name of the backend for a reference, as the settings of a part want it."""


class Routes(msgspec.Struct, frozen=True):
    """Routes in a fixed order, without two for the same requests."""

    routes: tuple[Route, ...]
    problems: tuple[Problem, ...]


def merge(parts: tuple[Part, ...], backend_of: BackendOf, covered: Callable[[str], bool]) -> Routes:
    """`parts` in order of precedence; `covered` tells which hosts have a certificate."""
    return _Merger(backend_of, covered).merge(parts)


class _Merger:
    """Fills one table of routes; the first to ask for a key gets it."""

    def __init__(self, backend_of: BackendOf, covered: Callable[[str], bool]) -> None:
        self._backend_of = backend_of
        self._covered = covered
        self._routes: dict[tuple[bool, str], Route] = {}
        self._problems: list[Problem] = []
        self._regex_hosts: dict[str, Part] = {}
        self._parts: dict[ObjectKey, Part] = {}

    def merge(self, parts: tuple[Part, ...]) -> Routes:
        plain = tuple(part for part in parts if not part.settings.canary)
        self._parts = {part.owner: part for part in plain}
        self._regex_hosts = _first((host, part) for part in plain if part.regex for host in part.hosts)
        for part in plain:
            self._app_roots(part)
            for rule in part.rules:
                self._add(part, self._match(part, rule), self._action(part, rule))
        for part in parts:
            if part.settings.canary:
                self._canary(part)
        for part in plain:
            self._default(part)
        self._close_hosts()
        return Routes(tuple(sorted(self._routes.values(), key=_order)), tuple(self._problems))

    def _match(self, part: Part, rule: Rule) -> Match:
        if rule.host not in self._regex_hosts:
            return Match(rule.host, rule.path, rule.kind)
        text = rule.path if rule.kind is PathKind.REGEX else re.escape(rule.path)
        return Match(rule.host, text, PathKind.REGEX)

    def _action(self, part: Part, rule: Rule) -> Action:
        if part.settings.redirect:
            return Redirect(*part.settings.redirect)
        service = rule.service or part.default
        if service is None:
            return NotFound()
        target = part.settings.rewrite_target
        return Forward(self._backend_of(service, part), rewrite=target if target != rule.path else "")

    def _app_roots(self, part: Part) -> None:
        if part.settings.app_root:
            for host in part.hosts:
                kind = PathKind.REGEX if host in self._regex_hosts else PathKind.EXACT
                path = "/$" if kind is PathKind.REGEX else "/"
                self._add(part, Match(host, path, kind), Redirect(302, part.settings.app_root))

    def _add(self, part: Part, match: Match, action: Action) -> None:
        settings = part.settings
        https = settings.force_ssl_redirect or (settings.ssl_redirect and self._covered(match.host))
        route = Route(match, action, https, part.owner)
        winner = self._routes.setdefault(match.key, route)
        if winner is not route:
            who = "this Ingress" if winner.owner == part.owner else f"Ingress {winner.owner}, which is older"
            self._problem(part, "PathConflict", f"host {match.host} path {match.path} is already served by {who}")
            return
        turned = self._regex_hosts.get(match.host)
        if turned is not None and turned.owner != part.owner:
            self._problem(
                part,
                "HostUsesRegex",
                f"paths of host {match.host} are compared as regular expressions because Ingress {turned.owner} "
                "sets use-regex or rewrite-target",
            )

    def _default(self, part: Part) -> None:
        """spec.defaultBackend: for what its own hosts do not answer; without rules, for everybody."""
        if part.default is None:
            return
        for host in part.hosts or (ANY_HOST,):
            kind = PathKind.REGEX if host in self._regex_hosts else PathKind.PREFIX
            match = Match(host, "/", kind)
            if match.key not in self._routes:
                self._add(part, match, Forward(self._backend_of(part.default, part)))

    def _close_hosts(self) -> None:
        """Every host answers every path, so that no request falls through to a wildcard or to another Ingress."""
        for host in {route.match.host for route in self._routes.values()} - {ANY_HOST}:
            kind = PathKind.REGEX if host in self._regex_hosts else PathKind.PREFIX
            match = Match(host, "/", kind)
            self._routes.setdefault(match.key, Route(match, NotFound()))

    def _canary(self, part: Part) -> None:
        for rule in part.rules:
            match = self._match(part, rule)
            main = self._routes.get(match.key)
            if main is None or not isinstance(main.action, Forward) or rule.service is None:
                where = f"host {rule.host} path {rule.path}"
                self._problem(part, "CanaryWithoutMain", f"{where} has no Ingress that this canary could be for")
            elif main.action.canary is not None:
                self._problem(part, "CanaryConflict", f"host {rule.host} path {rule.path} already has a canary")
            else:
                canary = self._split(part, rule.service, self._parts[main.owner])
                action = msgspec.structs.replace(main.action, canary=canary)
                self._routes[match.key] = msgspec.structs.replace(main, action=action)

    def _split(self, part: Part, service: ServiceRef, main: Part) -> Canary:
        """The canary's own say is who gets it; how it is spoken to is for the main Ingress, as in ingress-nginx."""
        settings = part.settings
        return Canary(
            self._backend_of(service, main),
            weight=settings.canary_weight,
            weight_total=settings.canary_weight_total,
            header=settings.canary_by_header.lower(),
            header_value=settings.canary_by_header_value,
            cookie=settings.canary_by_cookie,
        )

    def _problem(self, part: Part, reason: str, message: str) -> None:
        problem = Problem(part.owner, reason, message)
        if problem not in self._problems:
            self._problems.append(problem)


def _first(pairs: Iterable[tuple[str, T]]) -> dict[str, T]:
    found: dict[str, T] = {}
    for key, value in pairs:
        found.setdefault(key, value)
    return found


def _order(route: Route) -> tuple[str, bool, int, str, bool]:
    """By host; expressions by falling length, which is the order in which ingress-nginx tries them."""
    match = route.match
    expression = match.kind is PathKind.REGEX
    return match.host, expression, -len(match.path) if expression else 0, match.path, match.kind is not PathKind.EXACT


def backend_names(routes: Iterable[Route]) -> set[str]:
    """The backends that routes lead to."""
    forwards = [route.action for route in routes if isinstance(route.action, Forward)]
    canaries = {forward.canary.backend for forward in forwards if forward.canary}
    return {forward.backend for forward in forwards} | canaries


def backend_name(ref: ServiceRef, profile: Profile) -> str:
    """The name of the backend for a Service that is treated as the profile says."""
    return str(ref) if profile == PLAIN else f"{ref}#{_digest(profile)}"


def _digest(profile: Profile) -> str:
    return hashlib.sha256(msgspec.json.encode(profile)).hexdigest()[:10]
