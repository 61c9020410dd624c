"""Which Ingress answers a URL, and what happens to the request on the way: read from the translation in service."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec

from fairway.edge.ir import ANY_HOST, Backend, Forward, NotFound, PathKind, Redirect, Route
from fairway.edge.lint import judge
from fairway.edge.snapshot import Snapshot
from fairway.edge.translate.table import OWN_PREFIX, PREFIX
from fairway.edge.translate.translation import Translation
from fairway.kube.api.meta import ObjectKey

_KINDS = {
    PathKind.EXACT: "Exact",
    PathKind.PREFIX: "Prefix",
    PathKind.STRING: "ImplementationSpecific",
    PathKind.REGEX: "regular expression",
}


class Explanation(msgspec.Struct, frozen=True):
    """Facts as name and value, the annotations that act (name, text, level), and what is wrong with the Ingress."""

    facts: tuple[tuple[str, str], ...]
    annotations: tuple[tuple[str, str, str], ...] = ()
    problems: tuple[str, ...] = ()


def explain(url: str, snapshot: Snapshot, translation: Translation) -> Explanation:
    """What is known about a URL, with or without a scheme. Raises ValueError for one that is none."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if not parts.hostname:
        raise ValueError(f"{url} names no host")
    host, path = parts.hostname.rstrip("."), parts.path or "/"
    route = find(translation, host, path)
    if route is None or isinstance(route.action, NotFound):
        return Explanation((("host", host), ("path", path), ("answer", _nothing(route))))
    facts = (
        ("host", f"{route.match.host}" if route.match.host == host else f"{host} (rule for {route.match.host})"),
        ("path", f"{route.match.path} ({_KINDS[route.match.kind]})"),
        ("ingress", str(route.owner)),
        ("certificate", _certificate(translation, host) if parts.scheme == "https" else ""),
        *_answer(route, path, parts.scheme, translation),
    )
    problems = tuple(problem.message for problem in translation.problems if problem.ingress == route.owner)
    return Explanation(tuple(facts), tuple(_acting(snapshot, route.owner)), problems)


def find(translation: Translation, host: str, path: str) -> Route | None:
    """The route, in HAProxy's order: the host itself, its wildcard, any host; exact, expression, longest prefix."""
    by_host = translation.groups.by_host
    for name in (host.lower(), f"*.{host.lower().partition('.')[2]}", ANY_HOST):
        if name in by_host:
            fitting = [route for route in by_host[name] if fits(route, path)]
            return max(fitting, key=_rank, default=None)
    return None


def fits(route: Route, path: str) -> bool:
    """Whether the path of a route is for this path."""
    match = route.match
    if match.kind is PathKind.EXACT:
        return path == match.path
    if match.kind is PathKind.PREFIX:
        return f"{path}/".startswith(f"{match.path.rstrip('/')}/")
    if match.kind is PathKind.STRING:
        return path.startswith(match.path)
    return _expression(match.path).match(path) is not None


def _expression(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error:
        return re.compile(re.escape(text))  # PCRE knows it, Python does not


def _rank(route: Route) -> tuple[bool, int]:
    return route.match.kind in (PathKind.EXACT, PathKind.REGEX), len(route.match.path)


def _answer(route: Route, path: str, scheme: str, translation: Translation) -> Iterator[tuple[str, str]]:
    if route.https_only and scheme == "http":
        yield "answer", "308 to the same address with https"
        return
    if isinstance(route.action, Redirect):
        yield "answer", f"{route.action.code} to {route.action.location}"
    elif isinstance(route.action, Forward):
        backends = {backend.name: backend for backend in translation.edge.backends}
        yield "backend", _backend(backends.get(route.action.backend), route.action.backend)
        yield "rewritten to", _rewritten(route, path)
        for canary in route.action.canaries:
            yield "canary", _backend(backends.get(canary.backend), canary.backend)
    else:
        yield "answer", "503, under maintenance"


def _backend(backend: Backend | None, name: str) -> str:
    servers = ", ".join(f"{server.address}:{server.port}" for server in backend.servers) if backend else ""
    return f"{name.partition('#')[0]} → {servers or 'no ready endpoint: 503'}"


def _rewritten(route: Route, path: str) -> str:
    if not isinstance(route.action, Forward) or not route.action.rewrite:
        return ""
    if route.match.kind is not PathKind.REGEX:
        return route.action.rewrite
    found = _expression(route.match.path).match(path)
    groups = (found.group(0), *found.groups(default="")) if found else ()
    return re.sub(
        r"\$(\d)",
        lambda number: groups[int(number[1])] if int(number[1]) < len(groups) else "",
        route.action.rewrite,
    )


def _certificate(translation: Translation, host: str) -> str:
    for certificate in translation.edge.certificates:
        if host in certificate.hosts or f"*.{host.partition('.')[2]}" in certificate.hosts:
            return certificate.name.rpartition("_")[0].replace("_", "/", 1)
    return "the default certificate"


def _nothing(route: Route | None) -> str:
    return "404: no Ingress names this host" if route is None else "404: no rule of this host fits the path"


def _acting(snapshot: Snapshot, owner: ObjectKey) -> Iterator[tuple[str, str, str]]:
    if ingress := snapshot.ingresses.get(owner):
        for name, text in sorted(ingress.metadata.annotations.items()):
            if name.startswith((PREFIX, OWN_PREFIX)):
                yield name, text, judge(name, text)[0]
