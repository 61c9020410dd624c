"""The one table of annotations: what each does here, how its text is read, and what is said about it.

All 136 of ingress-nginx v1.15 (docs/user-guide/nginx-configuration/annotations.md), their aliases and older names, and
Fairway's own. `docs/annotations.md` is made from it.
"""

import enum
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from fairway.edge.translate import checks, conditions, snippets, variables

PREFIX = "nginx.ingress.kubernetes.io/"
OWN_PREFIX = "fairway.dev/"
_WEEK_SECONDS = 7 * 24 * 3600
_MANY = 2_000_000_000


_PROTECTING = re.compile(
    r"\b(allow|deny|return|if|internal|satisfy|valid_referers|(auth|access|limit|ssl|secure|modsecurity|js)_?\w*)\b|_by_lua"
)


class How(enum.Enum):
    """How far an annotation is obeyed."""

    NATIVE = "native"  # by HAProxy itself
    LUA = "lua"  # by HAProxy with the edge's small Lua part
    HARMLESS = "harmless"  # nothing to do: it has no meaning on a proxy that streams, or is always so
    PARTIAL = "partial"  # a warning Event says what is missing
    REFUSED = "refused"  # an Event says what to use instead


class Annotation(msgspec.Struct, frozen=True):
    """One row. `idle` are values that ask for nothing, so nothing is said about them.

    `protects`: it keeps people out. When it cannot be obeyed nobody is let in, as ingress-nginx denies the location.
    Of a snippet that is so only where `protects_with` is found in its text.
    """

    name: str
    how: How
    read: Callable[[str], Any]
    note: str = ""
    protects: bool = False
    idle: tuple[Any, ...] = ()
    protects_with: re.Pattern[str] | None = None

    @property
    def field(self) -> str:
        """What it is called in `Settings`."""
        return self.name.replace("-", "_")


def _number(least: int, most: int) -> Callable[[str], int]:
    return lambda text: checks.number(text, least, most)


def _one_of(*words: str) -> Callable[[str], str]:
    return lambda text: checks.one_of(text, *words)


def _redirect_code(text: str) -> int:
    return int(checks.one_of(text, "301", "302", "303", "307", "308"))


def _anything(text: str) -> str:
    return text


def _native(name: str, read: Callable[[str], Any], note: str = "", protects: bool = False) -> Annotation:
    return Annotation(name, How.NATIVE, read, note, protects)


def _lua(name: str, read: Callable[[str], Any], note: str = "", protects: bool = False) -> Annotation:
    return Annotation(name, How.LUA, read, note, protects)


def _harmless(name: str, read: Callable[[str], Any], note: str) -> Annotation:
    return Annotation(name, How.HARMLESS, read, note)


def _partial(name: str, read: Callable[[str], Any], note: str, idle: tuple[Any, ...] = ()) -> Annotation:
    return Annotation(name, How.PARTIAL, read, note, idle=idle)


def _snippet(name: str, note: str) -> Annotation:
    return Annotation(name, How.PARTIAL, snippets.parse, note, True, ((),), _PROTECTING)


def _refused(name: str, read: Callable[[str], Any], note: str, idle: tuple[Any, ...] = ()) -> Annotation:
    return Annotation(name, How.REFUSED, read, note, idle=idle)


_SECONDS = _number(1, _WEEK_SECONDS)
_COUNT = _number(0, 1_000_000)
_WAF = "a web application firewall in front of the Service, for example Coraza as its own Deployment"
_STREAMS = "bodies are streamed, never gathered in files or buffers"
_CONNECTIONS = "connections to the authentication server are kept and shared without being asked"

NGINX: tuple[Annotation, ...] = (
    _native("affinity", _one_of("cookie")),
    _native("affinity-canary-behavior", _one_of("sticky", "legacy")),
    _harmless(
        "affinity-mode", _one_of("balanced", "persistent"), "a cookie stays valid while its server exists, with both"
    ),
    _native("allowlist-source-range", checks.networks, protects=True),
    _native("app-root", checks.path),
    _lua("auth-always-set-cookie", checks.boolean),
    _lua("auth-cache-duration", checks.cache_times),
    _lua("auth-cache-key", variables.parse),
    _harmless("auth-keepalive", _COUNT, _CONNECTIONS),
    _harmless("auth-keepalive-requests", _COUNT, _CONNECTIONS),
    _harmless("auth-keepalive-share-vars", checks.boolean, _CONNECTIONS),
    _harmless("auth-keepalive-timeout", _COUNT, _CONNECTIONS),
    _lua("auth-method", _one_of("GET", "POST", "PUT", "HEAD", "DELETE"), protects=True),
    _lua("auth-proxy-set-headers", checks.object_name, protects=True),
    _native("auth-realm", checks.realm),
    _lua("auth-request-redirect", variables.parse),
    _lua("auth-response-headers", checks.tokens, protects=True),
    _native("auth-secret", checks.object_name, "apr1 and SHA hashes are checked by the Lua part", protects=True),
    _native("auth-secret-type", _one_of("auth-file", "auth-map"), protects=True),
    _lua("auth-signin", variables.url, protects=True),
    _lua("auth-signin-redirect-param", checks.token),
    _lua("auth-snippet", snippets.request_headers, "proxy_set_header only", protects=True),
    _native("auth-tls-error-page", checks.url, protects=True),
    _native("auth-tls-match-cn", checks.common_name, protects=True),
    _native("auth-tls-pass-certificate-to-upstream", checks.boolean),
    _native("auth-tls-secret", checks.object_name, protects=True),
    _native("auth-tls-verify-client", _one_of("on", "off", "optional", "optional_no_ca"), protects=True),
    _partial(
        "auth-tls-verify-depth",
        _number(0, 100),
        "chains may be as deep as OpenSSL allows; keep the list of authorities in the Secret short",
        idle=(1,),
    ),
    _native("auth-type", _one_of("basic"), "digest is refused: use basic over HTTPS", protects=True),
    _lua("auth-url", variables.url, protects=True),
    _native("backend-protocol", _one_of("HTTP", "HTTPS", "AUTO_HTTP", "GRPC", "GRPCS", "FCGI")),
    _native("canary", checks.boolean),
    _native("canary-by-cookie", checks.token),
    _native("canary-by-header", checks.token),
    _native("canary-by-header-pattern", checks.expression),
    _native("canary-by-header-value", checks.token),
    _native("canary-weight", _COUNT),
    _native("canary-weight-total", _number(1, 1_000_000)),
    _harmless("client-body-buffer-size", checks.size, _STREAMS),
    _snippet(
        "configuration-snippet",
        "obeyed are proxy_set_header, add_header, more_set_headers, more_clear_headers, proxy_hide_header, return, "
        "rewrite, set and simple if; `last` acts as `break`",
    ),
    _harmless("connection-proxy-header", checks.token, "connections to pods are the proxy's own matter"),
    _native("cors-allow-credentials", checks.boolean),
    _native("cors-allow-headers", checks.token_list),
    _native("cors-allow-methods", checks.token_list),
    _native("cors-allow-origin", checks.origins),
    _native("cors-expose-headers", checks.token_list),
    _native("cors-max-age", _number(0, _MANY)),
    _native("custom-headers", checks.object_name),
    _lua("custom-http-errors", checks.codes, "answered by the Service of default-backend"),
    _native("default-backend", checks.service_port),
    _native("denylist-source-range", checks.networks, protects=True),
    _native("disable-proxy-intercept-errors", checks.boolean),
    _native("enable-access-log", checks.boolean),
    _native("enable-cors", checks.boolean),
    _lua("enable-global-auth", checks.boolean, "where the ConfigMap has a global-auth-url"),
    _refused("enable-modsecurity", checks.boolean, _WAF, idle=(False,)),
    _partial(
        "enable-opentelemetry",
        checks.boolean,
        "trace headers are passed on, spans are not exported; let the application export them",
        idle=(False,),
    ),
    _refused("enable-owasp-core-rules", checks.boolean, _WAF, idle=(False,)),
    _harmless("enable-rewrite-log", checks.boolean, "`fairway edge explain` shows what a rewrite does"),
    _native("fastcgi-index", checks.fcgi_index),
    _native("fastcgi-params-configmap", checks.object_name),
    _native("force-ssl-redirect", checks.boolean),
    _native("from-to-www-redirect", checks.boolean),
    _harmless("http2-push-preload", checks.boolean, "browsers have dropped HTTP/2 push"),
    _native("limit-allowlist", checks.networks),
    _native("limit-burst-multiplier", _number(1, 1000)),
    _native("limit-connections", _COUNT),
    _native("limit-rate", _number(0, _MANY), "where HAProxy is older than 2.7, a warning Event says that it cannot"),
    _refused("limit-rate-after", _number(0, _MANY), "limit-rate alone, which counts from the first byte", idle=(0,)),
    _native("limit-rpm", _COUNT),
    _native("limit-rps", _COUNT),
    _native("load-balance", _one_of("round_robin", "ewma"), "ewma takes the less busy of two servers"),
    _lua("mirror-host", variables.parse),
    _lua("mirror-request-body", _one_of("on", "off"), "bodies up to 16 KiB"),
    _lua("mirror-target", variables.url),
    _refused("modsecurity-snippet", _anything, _WAF, idle=("",)),
    _refused("modsecurity-transaction-id", _anything, _WAF, idle=("",)),
    _partial(
        "opentelemetry-operation-name", _anything, "spans are not exported; let the application name them", idle=("",)
    ),
    _harmless("opentelemetry-trust-incoming-span", checks.boolean, "trace headers are passed on as they come"),
    _native("permanent-redirect", checks.redirect),
    _native("permanent-redirect-code", _redirect_code),
    _harmless("preserve-trailing-slash", checks.boolean, "redirects always keep the path as it was"),
    _lua("proxy-body-size", checks.size, "what does not announce its length is broken off where it grows too long"),
    _harmless("proxy-buffer-size", checks.size, _STREAMS),
    _harmless("proxy-buffering", _one_of("on", "off"), _STREAMS),
    _harmless("proxy-buffers-number", _COUNT, _STREAMS),
    _harmless("proxy-busy-buffers-size", checks.size, _STREAMS),
    _native("proxy-connect-timeout", _SECONDS),
    _native("proxy-cookie-domain", checks.change),
    _native("proxy-cookie-path", checks.change),
    _harmless("proxy-http-version", _one_of("1.0", "1.1"), "pods are spoken to with HTTP/1.1, or HTTP/2 for gRPC"),
    _harmless("proxy-max-temp-file-size", checks.size, _STREAMS),
    _partial(
        "proxy-next-upstream",
        checks.retry_conditions,
        "http_403 and http_429 are not tried again, and requests that may not be repeated (POST) never are",
        idle=(),
    ),
    _partial(
        "proxy-next-upstream-timeout",
        _COUNT,
        "the time of all tries is bounded by proxy-next-upstream-tries and the timeouts",
        idle=(0,),
    ),
    _native("proxy-next-upstream-tries", _COUNT),
    _native("proxy-read-timeout", _SECONDS),
    _native("proxy-redirect-from", checks.location),
    _native("proxy-redirect-to", checks.location),
    _harmless("proxy-request-buffering", _one_of("on", "off"), _STREAMS),
    _native("proxy-send-timeout", _SECONDS, "the longer of this and proxy-read-timeout counts for both"),
    _native("proxy-ssl-ciphers", checks.ciphers),
    _native("proxy-ssl-name", checks.exact_host),
    _native("proxy-ssl-protocols", checks.protocols),
    _native("proxy-ssl-secret", checks.object_name),
    _native("proxy-ssl-server-name", _one_of("on", "off")),
    _native("proxy-ssl-verify", _one_of("on", "off")),
    _harmless("proxy-ssl-verify-depth", _number(0, 100), "chains may be as deep as OpenSSL allows"),
    _harmless("relative-redirects", checks.boolean, "redirects within a host leave out the host already"),
    _native("rewrite-target", checks.target),
    _native("satisfy", _one_of("all", "any"), protects=True),
    _native("server-alias", checks.hosts),
    _snippet(
        "server-snippet",
        "obeyed as a configuration-snippet for the paths of this Ingress; `location` blocks belong into Ingresses",
    ),
    _native("service-upstream", checks.boolean),
    _native("session-cookie-change-on-failure", checks.boolean),
    _native("session-cookie-conditional-samesite-none", checks.boolean),
    _native("session-cookie-domain", checks.domain),
    _native("session-cookie-expires", _number(0, _MANY), "as Max-Age, which every browser knows"),
    _native("session-cookie-max-age", _number(0, _MANY)),
    _native("session-cookie-name", checks.token),
    _native("session-cookie-path", checks.cookie_path),
    _native("session-cookie-samesite", _one_of("None", "Lax", "Strict")),
    _native("session-cookie-secure", checks.boolean),
    _native("ssl-ciphers", checks.ciphers),
    _native("ssl-passthrough", checks.boolean),
    _harmless("ssl-prefer-server-ciphers", checks.boolean, "the edge's order counts, as recommended"),
    _native("ssl-redirect", checks.boolean),
    _refused("stream-snippet", _anything, "the tcp-services ConfigMap, or a Service of type LoadBalancer", idle=("",)),
    _native("temporal-redirect", checks.redirect),
    _native("temporal-redirect-code", _redirect_code),
    _native("upstream-hash-by", variables.parse),
    _refused("upstream-hash-by-subset", checks.boolean, "upstream-hash-by alone: one server for a key", idle=(False,)),
    _refused("upstream-hash-by-subset-size", _COUNT, "upstream-hash-by alone: one server for a key"),
    _native("upstream-vhost", checks.exact_host),
    _harmless("use-port-in-redirects", checks.boolean, "redirects name the port whenever it is not the usual one"),
    _native("use-regex", checks.boolean),
    _native("x-forwarded-prefix", checks.prefix),
)
"""In the order of the alphabet."""

OWN: tuple[Annotation, ...] = (
    _native("cache", checks.seconds, "how long answers to GET are kept in memory when they do not say it themselves"),
    _native("maintenance", checks.boolean, "every path answers 503 with a page that says so"),
    _native("match", conditions.parse, "a further condition: `header X-Env = beta; method = GET; language = de`"),
    _native(
        "regex-scope", _one_of("host", "ingress"), "`ingress` keeps use-regex from changing other Ingresses' paths"
    ),
)
"""Fairway's own, under `fairway.dev/`."""

ALIASES: Mapping[str, str] = {
    "whitelist-source-range": "allowlist-source-range",
    "limit-whitelist": "limit-allowlist",
}

DEPRECATED: Mapping[str, str] = {
    "add-base-url": "the application's own setting for its base address",
    "base-url-scheme": "the application's own setting for its base address",
    "client-max-body-size": "proxy-body-size",
    "grpc-backend": "backend-protocol: GRPC",
    "mirror-uri": "mirror-target",
    "secure-backends": "backend-protocol: HTTPS",
    "secure-verify-ca-secret": "proxy-ssl-secret with proxy-ssl-verify: on",
    "session-cookie-hash": "nothing: the value of the cookie is always a hash",
    "influxdb-config": "the metrics of the edge",
    "enable-influxdb": "the metrics of the edge",
    "enable-opentracing": "enable-opentelemetry",
    "enable-dynamic-tls": "nothing: certificates always change without a restart",
    "lua-resty-waf": _WAF,
    "tls-cert-file": "spec.tls",
}
"""Names of older versions of ingress-nginx: without effect, with an Event that says what to use."""

TABLE: Mapping[str, Annotation] = {
    **{PREFIX + one.name: one for one in NGINX},
    **{PREFIX + alias: next(one for one in NGINX if one.name == name) for alias, name in ALIASES.items()},
    **{OWN_PREFIX + one.name: one for one in OWN},
}
"""By full name."""
