"""The nginx.ingress.kubernetes.io annotations: one table, and what an Ingress asks for with them.

Meaning and defaults follow ingress-nginx v1.15 (docs/user-guide/nginx-configuration/annotations.md).
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from fairway.edge.ir import Affinity, Cors, Profile, Protocol
from fairway.edge.translate import checks
from fairway.edge.translate.checks import Refused

PREFIX = "nginx.ingress.kubernetes.io/"
_WEEK_SECONDS = 7 * 24 * 3600
_CHARACTERS_MAX = 16 * 1024
_CORS_METHODS = "GET, PUT, POST, DELETE, PATCH, OPTIONS"
_CORS_HEADERS = (
    "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization"
)


class Settings(msgspec.Struct, frozen=True):
    """What the annotations of one Ingress ask for; the defaults are those of an Ingress without any."""

    rewrite_target: str = ""
    use_regex: bool = False
    ssl_redirect: bool = True
    force_ssl_redirect: bool = False
    app_root: str = ""
    permanent_redirect: str = ""
    permanent_redirect_code: int = 301
    temporal_redirect: str = ""
    temporal_redirect_code: int = 302
    canary: bool = False
    canary_weight: int = 0
    canary_weight_total: int = 100
    canary_by_header: str = ""
    canary_by_header_value: str = ""
    canary_by_cookie: str = ""
    backend_protocol: str = "HTTP"
    proxy_connect_timeout: int | None = None
    proxy_read_timeout: int | None = None
    proxy_send_timeout: int | None = None
    proxy_body_size: int | None = None
    allowlist_source_range: tuple[str, ...] = ()
    denylist_source_range: tuple[str, ...] = ()
    upstream_vhost: str = ""
    enable_cors: bool = False
    cors_allow_origin: tuple[str, ...] = ("*",)
    cors_allow_methods: str = _CORS_METHODS
    cors_allow_headers: str = _CORS_HEADERS
    cors_expose_headers: str = ""
    cors_allow_credentials: bool = True
    cors_max_age: int = 1728000
    affinity: str = ""
    session_cookie_name: str = "INGRESSCOOKIE"
    session_cookie_max_age: int | None = None
    session_cookie_path: str = ""
    session_cookie_samesite: str = ""
    session_cookie_secure: bool = False
    closed: bool = False

    @property
    def redirect(self) -> tuple[int, str] | None:
        """Where every path of the Ingress goes; the temporal one wins, as in ingress-nginx."""
        if self.temporal_redirect:
            return self.temporal_redirect_code, self.temporal_redirect
        if self.permanent_redirect:
            return self.permanent_redirect_code, self.permanent_redirect
        return None

    @property
    def profile(self) -> Profile:
        """What the backends of the Ingress must do."""
        timeouts = [seconds for seconds in (self.proxy_read_timeout, self.proxy_send_timeout) if seconds is not None]
        return Profile(
            protocol=Protocol(self.backend_protocol.lower()),
            connect_timeout_seconds=self.proxy_connect_timeout,
            read_timeout_seconds=max(timeouts, default=None),
            body_bytes_max=self.proxy_body_size or None,
            allowed_sources=NOBODY if self.closed else self.allowlist_source_range,
            denied_sources=self.denylist_source_range,
            upstream_host=self.upstream_vhost,
            cors=self._cors() if self.enable_cors else None,
            affinity=self._affinity() if self.affinity else None,
        )

    def _cors(self) -> Cors:
        return Cors(
            origins=self.cors_allow_origin,
            methods=self.cors_allow_methods,
            headers=self.cors_allow_headers,
            expose=self.cors_expose_headers,
            credentials=self.cors_allow_credentials,
            max_age_seconds=self.cors_max_age,
        )

    def _affinity(self) -> Affinity:
        return Affinity(
            cookie=self.session_cookie_name,
            max_age_seconds=self.session_cookie_max_age,
            path=self.session_cookie_path,
            same_site=self.session_cookie_samesite,
            secure=self.session_cookie_secure,
        )


def _number(least: int, most: int) -> Callable[[str], int]:
    return lambda text: checks.number(text, least, most)


def _one_of(*words: str) -> Callable[[str], str]:
    return lambda text: checks.one_of(text, *words)


def _redirect_code(text: str) -> int:
    return int(checks.one_of(text, "301", "302", "303", "307", "308"))


_SECONDS = _number(1, _WEEK_SECONDS)
NATIVE: Mapping[str, Callable[[str], Any]] = {
    "rewrite-target": checks.target,
    "use-regex": checks.boolean,
    "ssl-redirect": checks.boolean,
    "force-ssl-redirect": checks.boolean,
    "app-root": checks.path,
    "permanent-redirect": checks.url,
    "permanent-redirect-code": _redirect_code,
    "temporal-redirect": checks.url,
    "temporal-redirect-code": _redirect_code,
    "canary": checks.boolean,
    "canary-weight": _number(0, 1_000_000),
    "canary-weight-total": _number(1, 1_000_000),
    "canary-by-header": checks.token,
    "canary-by-header-value": checks.token,
    "canary-by-cookie": checks.token,
    "backend-protocol": _one_of("HTTP", "HTTPS", "GRPC", "GRPCS"),
    "proxy-connect-timeout": _SECONDS,
    "proxy-read-timeout": _SECONDS,
    "proxy-send-timeout": _SECONDS,
    "proxy-body-size": checks.size,
    "allowlist-source-range": checks.networks,
    "denylist-source-range": checks.networks,
    "upstream-vhost": checks.exact_host,
    "enable-cors": checks.boolean,
    "cors-allow-origin": checks.origins,
    "cors-allow-methods": checks.token_list,
    "cors-allow-headers": checks.token_list,
    "cors-expose-headers": checks.token_list,
    "cors-allow-credentials": checks.boolean,
    "cors-max-age": _number(0, 2_000_000_000),
    "affinity": _one_of("cookie"),
    "session-cookie-name": checks.token,
    "session-cookie-max-age": _number(0, 2_000_000_000),
    "session-cookie-path": checks.cookie_path,
    "session-cookie-samesite": _one_of("None", "Lax", "Strict"),
    "session-cookie-secure": checks.boolean,
}
"""What works, and how its text is read; the field of `Settings` has the same name."""

ALIASES: Mapping[str, str] = {"whitelist-source-range": "allowlist-source-range"}

HARMLESS = frozenset(
    {
        "affinity-mode",  # the cookie stays valid while its server exists, which is `persistent`
        "auth-keepalive",
        "auth-keepalive-requests",
        "auth-keepalive-share-vars",
        "auth-keepalive-timeout",
        "client-body-buffer-size",
        "connection-proxy-header",
        "enable-rewrite-log",
        "http2-push-preload",
        "preserve-trailing-slash",
        "proxy-buffer-size",
        "proxy-buffering",
        "proxy-buffers-number",
        "proxy-busy-buffers-size",
        "proxy-max-temp-file-size",
        "proxy-request-buffering",
        "ssl-prefer-server-ciphers",
    }
)
"""What has no meaning on a proxy that streams, or is always so."""


PROTECTING = frozenset(
    {
        "allowlist-source-range",
        "auth-secret",
        "auth-tls-match-cn",
        "auth-tls-secret",
        "auth-tls-verify-client",
        "auth-type",
        "auth-url",
        "denylist-source-range",
        "satisfy",
    }
)
"""What keeps people out. When one of these cannot be obeyed nobody is let in, as ingress-nginx denies the location."""

NOBODY = ("0.0.0.0/32",)  # no client has this address


def read(annotations: Mapping[str, str]) -> tuple[Settings, tuple[Refused, ...], tuple[str, ...]]:
    """The settings, what was refused (its setting keeps the default), and the names that are not supported."""
    fields: dict[str, Any] = {}
    refused: list[Refused] = []
    unsupported: list[str] = []
    for name, text in sorted(annotations.items()):
        if not name.startswith(PREFIX):
            continue
        short = ALIASES.get(name.removeprefix(PREFIX), name.removeprefix(PREFIX))
        try:
            if len(text) > _CHARACTERS_MAX:
                raise Refused(f"{len(text)} characters are more than {_CHARACTERS_MAX}")
            if short in NATIVE:
                fields[short.replace("-", "_")] = NATIVE[short](text.strip())
            elif short in PROTECTING:
                raise Refused("this protection is not supported")
            elif short not in HARMLESS:
                unsupported.append(name)
        except Refused as error:
            closed = "; nobody is let in meanwhile" if short in PROTECTING else ""
            refused.append(Refused(f"annotation {name}: {error}{closed}"))
            if short in PROTECTING:
                fields["closed"] = True
    return Settings(**fields), tuple(refused), tuple(unsupported)
