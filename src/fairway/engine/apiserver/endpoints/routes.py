"""What a URL is about: a resource request, or any other path."""

import re
from urllib.parse import unquote

import msgspec

_PROXY = re.compile(r"(/api/v1/(?:namespaces/[^/]+/(?:pods|services)|nodes)/[^/]+/proxy)(?=/|$)(.*)", re.DOTALL)
_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})


class Target(msgspec.Struct, frozen=True):
    """The parts of a resource URL. `namespace` is None for all namespaces and for cluster-wide kinds."""

    group: str
    version: str
    plural: str = ""
    namespace: str | None = None
    name: str = ""
    subresource: str = ""
    rest: tuple[str, ...] = ()
    """Segments behind the subresource."""
    watch: bool = False
    """The deprecated `/watch/` prefix."""


def proxied(path: str) -> tuple[str, str]:
    """The part of a URL that names a node, pod or service to pass it on to, and the rest, as it was sent."""
    found = _PROXY.match(path) if "/proxy" in path else None
    return (found[1], found[2]) if found else (path, "")


def parse_path(path: str) -> Target | None:
    """None when the path is not below /api/<version>/ or /apis/<group>/<version>/."""
    path = proxied(path)[0]
    segments = path.split("/")[1:]
    if "%" in path:
        segments = [unquote(segment) for segment in segments]
    if segments and segments[-1] == "":
        segments.pop()
    if len(segments) >= 2 and segments[0] == "api":
        return _resource("", segments[1], segments[2:])
    if len(segments) >= 3 and segments[0] == "apis":
        return _resource(segments[1], segments[2], segments[3:])
    return None


def _resource(group: str, version: str, parts: list[str]) -> Target | None:
    watch = bool(parts) and parts[0] == "watch"
    if watch:
        parts = parts[1:]
    if "" in parts:
        return None
    if len(parts) >= 3 and parts[0] == "namespaces" and not (len(parts) == 3 and parts[2] in _NAMESPACE_SUBRESOURCES):
        return _target(group, version, parts[1], parts[2:], watch)
    return _target(group, version, None, parts, watch)


def _target(group: str, version: str, namespace: str | None, parts: list[str], watch: bool) -> Target:
    plural, name, subresource, *rest = [*parts, "", "", ""][: max(3, len(parts))]
    return Target(group, version, plural, namespace, name, subresource, tuple(rest), watch)
