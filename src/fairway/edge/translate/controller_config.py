"""The ConfigMaps of the controller itself: ingress-nginx' settings for all, and its TCP services.

Where the first exists, ingress-nginx' own defaults count (HSTS among them); where it does not, Fairway's.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from fairway.edge.ir import Backend, Entrance, Listener, Problem, Profile, Protocol
from fairway.edge.snapshot import Snapshot
from fairway.edge.translate import backends, checks, contents
from fairway.edge.translate.backends import Unresolved
from fairway.edge.translate.checks import Refused
from fairway.edge.translate.global_auth import SETTINGS as SETTINGS
from fairway.edge.translate.global_auth import Guard
from fairway.edge.translate.references import ServiceRef
from fairway.kube.api.meta import ObjectKey

UDP_SERVICES = ObjectKey("ingress-nginx", "udp-services")
TCP_SERVICES = ObjectKey("ingress-nginx", "tcp-services")
_TARGET = re.compile(
    r"([a-z0-9][-a-z0-9]{0,62})/([a-z0-9][-a-z0-9]{0,62}):([a-z0-9][-a-z0-9]{0,14})(?::(PROXY)?)?(?::(PROXY)?)?"
)
_PORTS_TAKEN = (80, 443)
_GZIP_TYPES = (
    "application/atom+xml application/javascript application/x-javascript application/json application/rss+xml "
    "application/vnd.ms-fontobject application/x-font-ttf application/x-web-app-manifest+json application/xhtml+xml "
    "application/xml font/opentype image/svg+xml image/x-icon text/css text/javascript text/plain text/x-component"
)


class ControllerConfig(msgspec.Struct, frozen=True):
    """What holds for all, TCP ports, and the backends that these need."""

    entrance: Entrance = Entrance()
    listeners: tuple[Listener, ...] = ()
    backends: tuple[Backend, ...] = ()
    problems: tuple[Problem, ...] = ()


def _types(text: str) -> tuple[str, ...]:
    found = tuple(text.split())
    for one in found:
        if not re.fullmatch(r"[a-z0-9.+-]+/[a-z0-9.+*-]+|\*", one):
            raise Refused(f"{checks.short(one)} is not a media type")
    return found


def _code(text: str) -> int:
    return checks.number(text, 400, 599)


KEYS: Mapping[str, Callable[[str], Any]] = {
    "use-forwarded-headers": checks.boolean,
    "use-proxy-protocol": checks.boolean,
    "proxy-real-ip-cidr": checks.networks,
    "forwarded-for-header": checks.token,
    "compute-full-forwarded-for": checks.boolean,
    "http-redirect-code": lambda text: int(checks.one_of(text, "301", "302", "307", "308")),
    "hsts": checks.boolean,
    "hsts-max-age": lambda text: checks.number(text, 0, 10**10),
    "hsts-include-subdomains": checks.boolean,
    "hsts-preload": checks.boolean,
    "use-gzip": checks.boolean,
    "gzip-types": _types,
    "add-headers": checks.object_name,
    "hide-headers": checks.tokens,
    "limit-req-status-code": _code,
    "limit-conn-status-code": _code,
    "proxy-connect-timeout": lambda text: checks.number(text, 1, 604800),
    "proxy-read-timeout": lambda text: checks.number(text, 1, 604800),
}
"""The keys that are read; all others are for nginx alone."""


def read(snapshot: Snapshot, guard: Guard) -> ControllerConfig:
    """Pure; a value that cannot be used keeps its default."""
    values, problems = _values(snapshot)
    tcp = _tcp(snapshot)
    return ControllerConfig(
        _entrance(values, snapshot, problems) if SETTINGS in snapshot.config_maps else Entrance(),
        tuple(listener for listener, _ in tcp[0]),
        (*(backend for _, backend in tcp[0]), *([guard.backend] if guard.backend else [])),
        (
            *(Problem(SETTINGS, "InvalidConfiguration", message) for message in problems),
            *(Problem(TCP_SERVICES, "InvalidConfiguration", message) for message in tcp[1]),
            *_udp(snapshot),
            *guard.problems,
        ),
    )


def _values(snapshot: Snapshot) -> tuple[dict[str, Any], list[str]]:
    found: dict[str, Any] = {}
    problems: list[str] = []
    config = snapshot.config_maps.get(SETTINGS)
    for name, text in sorted(config.data.items()) if config else ():
        if name in KEYS:
            try:
                found[name] = KEYS[name](text.strip())
            except Refused as error:
                problems.append(f"{name}: {error}")
    return found, problems


def _entrance(values: Mapping[str, Any], snapshot: Snapshot, problems: list[str]) -> Entrance:
    trusted = values.get("proxy-real-ip-cidr", ("0.0.0.0/0", "::/0"))
    headers: tuple[tuple[str, str], ...] = ()
    if "add-headers" in values:
        namespace, _, name = values["add-headers"].rpartition("/")
        key = ObjectKey(namespace or SETTINGS.namespace, name)
        filled, wrong = contents.fill(Profile(response_headers_from=key), snapshot)
        headers = filled.response_headers
        problems += wrong
    return Entrance(
        forwarded_from=trusted if values.get("use-forwarded-headers") else (),
        forwarded_header=values.get("forwarded-for-header", "X-Forwarded-For"),
        proxy_protocol=values.get("use-proxy-protocol", False),
        append_forwarded_for=values.get("compute-full-forwarded-for", False),
        redirect_code=values.get("http-redirect-code", 308),
        hsts=_hsts(values),
        gzip_types=values.get("gzip-types", tuple(_GZIP_TYPES.split())) if values.get("use-gzip") else (),
        response_headers=headers,
        hide_headers=values.get("hide-headers", ()),
        limit_request_code=values.get("limit-req-status-code", 503),
        limit_connection_code=values.get("limit-conn-status-code", 503),
        connect_timeout_seconds=values.get("proxy-connect-timeout"),
        read_timeout_seconds=values.get("proxy-read-timeout"),
    )


def _hsts(values: Mapping[str, Any]) -> str:
    if not values.get("hsts", True):
        return ""
    text = f"max-age={values.get('hsts-max-age', 31536000)}"
    text += "; includeSubDomains" if values.get("hsts-include-subdomains", True) else ""
    return text + ("; preload" if values.get("hsts-preload") else "")


def _tcp(snapshot: Snapshot) -> tuple[list[tuple[Listener, Backend]], list[str]]:
    """`PORT: namespace/service:port[:PROXY[:PROXY]]`; the first PROXY is for clients, the second for servers."""
    found: list[tuple[Listener, Backend]] = []
    problems: list[str] = []
    config = snapshot.config_maps.get(TCP_SERVICES)
    for key, text in sorted(config.data.items()) if config else ():
        try:
            found.append(_listener(key, text.strip(), snapshot))
        except (Refused, Unresolved) as error:
            problems.append(f"tcp-services {checks.short(key)}: {error}")
    return found, problems


def _udp(snapshot: Snapshot) -> Iterator[Problem]:
    """HAProxy passes no datagrams on; the cluster's own load balancers do."""
    config = snapshot.config_maps.get(UDP_SERVICES)
    for key, text in sorted(config.data.items()) if config else ():
        service = text.strip().rpartition(":")[0] or text.strip()
        yield Problem(
            UDP_SERVICES,
            "UnsupportedConfiguration",
            f"udp-services {checks.short(key)}: the edge passes on TCP only; give Service {checks.short(service)} "
            "the type LoadBalancer or NodePort, which leads datagrams to it",
        )


def _listener(key: str, text: str, snapshot: Snapshot) -> tuple[Listener, Backend]:
    port = checks.number(key, 1, 65535)
    match = _TARGET.fullmatch(text)
    if match is None or port in _PORTS_TAKEN:
        raise Refused(f"{checks.short(text)} is not namespace/service:port, or the port is taken")
    number = match[3]
    ref = ServiceRef(match[1], match[2], int(number) if number.isdigit() else number)
    profile = Profile(protocol=Protocol.TCP, inner=True, proxy_protocol=bool(match[5]))
    profile = msgspec.structs.replace(profile, external=backends.external(ref, snapshot))
    backend = Backend(f"tcp:{port}", backends.servers(ref, snapshot), profile)
    return Listener(port, backend.name, bool(match[4])), backend
