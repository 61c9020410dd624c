"""The rules that every request passes, from the accept to the choice of a backend.

They are the same whatever the cluster holds (canary names apart): hosts and paths are in maps, see `maps.py`.
The usual request is decided by two look-ups and leaves at `allow`; the rest of the rules are for the others.
"""

from collections.abc import Iterable

from fairway.edge.ir import Canary
from fairway.edge.render import logging
from fairway.edge.render.maps import REGEX_HOST
from fairway.edge.render.rendered import (
    CANARY_MAP,
    CRT_LIST,
    DEFAULT_CERTIFICATE,
    EXACT_MAP,
    PREFIX_MAP,
    REGEX_MAP,
    Options,
    Section,
)

HTML = 'content-type "text/html; charset=utf-8"'
_REDIRECT_CODES = (301, 302, 303, 307, 308)
_TESTS = (
    "acl odd path -m sub // /. %",
    "acl raw var(txn.raw) -m found",
    "acl found var(txn.route) -m found",
    "acl plain var(txn.route) -m beg p b",
    "acl secured var(txn.route) -m beg s|",
    "acl tls ssl_fc",
)
# The set of ingress-nginx (rootfs/etc/nginx/template/nginx.tmpl); what the client sent under these names is lost.
_HEADERS = (
    "http-request set-header X-Request-ID %[uuid()] unless { req.hdr(X-Request-ID) -m found }",
    "http-request set-header X-Original-Forwarded-For %[req.fhdr(X-Forwarded-For)] "
    "if { req.hdr(X-Forwarded-For) -m found }",
    "http-request set-header X-Real-IP %[src]",
    "http-request set-header X-Forwarded-For %[src]",
    "http-request set-header X-Forwarded-Host %[req.hdr(Host)]",
    "http-request set-header X-Forwarded-Port %[dst_port]",
    "http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]",
    "http-request set-header X-Forwarded-Scheme %[ssl_fc,iif(https,http)]",
    "http-request set-header X-Scheme %[ssl_fc,iif(https,http)]",
    "http-request del-header Proxy",
)
# nginx compares the decoded path without //, /./ and /../ but passes on what the client sent. `txn.raw` is what was
# sent, `txn.clean` the normal form that is still encoded (what a rewrite works on), and the path meanwhile is decoded.
_TIDY = (
    "http-request normalize-uri path-merge-slashes if raw",
    "http-request normalize-uri path-strip-dot if raw",
    "http-request normalize-uri path-strip-dotdot full if raw",
)
_NORMAL_FORM = (
    "http-request deny deny_status 400 if raw { path -m sub %00 }",
    # Without `strict` a condition makes HAProxy 2.8 pass over this rule.
    "http-request normalize-uri percent-decode-unreserved strict if raw",
    *_TIDY,
    "http-request set-var(txn.clean) pathq if raw",
    "http-request set-path %[path,url_dec,regsub(\\?,%3F,g),regsub(\\x23,%23,g)] if raw",
    "http-request deny deny_status 400 if raw !{ path -m beg / }",
    *_TIDY,
)
_GUARD = (
    # A slash in Host would move the border between host and path; a comma would make two hosts of it.
    "http-request deny deny_status 400 if { req.fhdr(Host) -m sub / , }",
)
_DECIDED = (
    "http-request disable-l7-retry unless { method GET HEAD OPTIONS PUT DELETE TRACE }",
    "http-request set-var(txn.raw) pathq if odd",
    f"http-request set-var(txn.route) base,map_str({EXACT_MAP}) if !raw",
    f"http-request set-var(txn.route) base,concat(/),map_beg({PREFIX_MAP}) if !found !raw",
    "http-request allow if plain",
    "http-request allow if secured tls",
)


def _look_up() -> tuple[str, str]:
    return (
        f"http-request set-var(txn.route) var(txn.key),concat(,txn.path),map_str({EXACT_MAP}) if !found",
        f"http-request set-var(txn.route) var(txn.key),concat(,txn.path,/),map_beg({PREFIX_MAP}) if !found",
    )


_OTHER_SPELLINGS = (
    *_NORMAL_FORM,
    "http-request set-var(txn.path) path",
    "http-request set-var(txn.host) req.hdr(Host),host_only,lower,rtrim(.)",
    "http-request set-var(txn.key) req.hdr(Host)",
    "http-request set-var(txn.key) var(txn.host) if !found",
    *_look_up(),
    "http-request set-var(txn.key) var(txn.host),regsub(^[^.]+,*) if !found",
    *_look_up(),
    "http-request set-var(txn.key) str(*) if !found",
    *_look_up(),
    f"http-request return status 404 {HTML} lf-file pages/unknown.html if !found",
    "http-request set-pathq %[var(txn.raw)] if raw plain",
    "http-request allow if plain",
)
_FIELDS = (
    f"http-request set-var(txn.route) var(txn.key),concat(,txn.path),map_regm({REGEX_MAP}) "
    f"if {{ var(txn.route) -m str {REGEX_HOST} }}",
    "http-request set-var(txn.flags) var(txn.route),field(1,|)",
    "http-request set-var(txn.backend) var(txn.route),field(2,|)",
    "acl secure var(txn.flags) -m sub s",
    "acl rewrite var(txn.flags) -m sub w",
    # The path that was compared was decoded; the one that is rewritten must stay encoded. Should they lead to different
    # places, the request is trying something.
    "http-request set-pathq %[var(txn.clean)] if raw rewrite",
    "http-request set-var(txn.path) path if raw rewrite",
    "http-request set-var(txn.fields) var(txn.route),field(1,|,3) if raw rewrite",
    f"http-request set-var(txn.route) var(txn.key),concat(,txn.path),map_regm({REGEX_MAP}) if raw rewrite",
    "http-request deny deny_status 400 if raw rewrite !{ var(txn.route),field(1,|,3),strcmp(txn.fields) -m int 0 }",
)


def _https(options: Options) -> tuple[str, ...]:
    port = "" if options.https_port == 443 else f":{options.https_port}"
    return (
        "http-request set-var(txn.sent) pathq",
        "http-request set-var(txn.sent) var(txn.raw) if raw",
        f"http-request redirect location https://%[var(txn.host)]{port}%[var(txn.sent)] code 308 "
        "if secure !tls !{ var(txn.path) -m beg /.well-known/acme-challenge/ }",
        "http-request set-pathq %[var(txn.raw)] if raw !rewrite",
    )


_ANSWERS = (
    f"http-request return status 404 {HTML} lf-file pages/unknown.html if {{ var(txn.flags) -m sub n }}",
    f"http-request return status 503 {HTML} hdr Retry-After 5 lf-file pages/unavailable.html "
    "if { var(txn.flags) -m sub u }",
    *(
        f"http-request redirect location %[var(txn.route),field(4,|,0)] code {code} "
        f"if {{ var(txn.flags) -m sub r{code} }}"
        for code in _REDIRECT_CODES
    ),
)
_REWRITE = (
    "http-request set-var(txn.target) var(txn.route),field(4,|,0) if rewrite",
    "http-request set-path %[var(txn.target)] if rewrite { var(txn.target) -m beg / }",
    "http-request set-path /%[var(txn.target)] if rewrite !{ var(txn.target) -m beg / }",
)


def canary_rules(canaries: Iterable[Canary]) -> tuple[str, ...]:
    """How a canary is chosen: by header, then cookie, then by lot, as in ingress-nginx.

    Weights, values and backends are in a map; only a header or cookie name that nobody used before is a new rule.
    """
    found = tuple(canaries)
    headers = sorted({canary.header for canary in found if canary.header})
    cookies = sorted({canary.cookie for canary in found if canary.cookie})
    return (
        f"http-request set-var(txn.canary) var(txn.route),field(3,|),map_str({CANARY_MAP}) "
        "if { var(txn.flags) -m sub c }",
        "acl canary var(txn.canary) -m found",
        "acl picked var(txn.pick) -m found",
        *(rule for name in headers for rule in _by_header(name)),
        *(rule for name in cookies for rule in _by_cookie(name)),
        "http-request set-var(txn.share) var(txn.canary),field(1,|) if canary !picked",
        "http-request set-var(txn.lot) rand(1000000) if canary !picked",
        "http-request set-var(txn.pick) str(yes) if canary !picked { var(txn.lot),sub(txn.share) -m int lt 0 }",
        "http-request set-var(txn.backend) var(txn.canary),field(2,|) if canary { var(txn.pick) -m str yes }",
    )


def _by_header(name: str) -> tuple[str, ...]:
    this = f"canary !picked {{ var(txn.canary),field(3,|) -m str {name} }}"
    valued = "{ var(txn.value) -m len gt 0 }"
    return (
        "http-request set-var(txn.value) var(txn.canary),field(4,|) if canary",
        f"http-request set-var(txn.pick) str(yes) if {this} {valued} {{ req.hdr({name}),strcmp(txn.value) -m int 0 }}",
        f"http-request set-var(txn.pick) str(yes) if {this} !{valued} {{ req.hdr({name}) -m str always }}",
        f"http-request set-var(txn.pick) str(no) if {this} !{valued} {{ req.hdr({name}) -m str never }}",
    )


def _by_cookie(name: str) -> tuple[str, ...]:
    this = f"canary !picked {{ var(txn.canary),field(5,|) -m str {name} }}"
    return tuple(
        f"http-request set-var(txn.pick) str({pick}) if {this} {{ req.cook({name}) -m str {value} }}"
        for pick, value in (("yes", "always"), ("no", "never"))
    )


def frontend(options: Options, canaries: Iterable[Canary]) -> Section:
    """The one frontend, for HTTP and HTTPS."""
    return Section(
        "frontend edge from edge",
        (
            *_binds(options),
            *logging.captures(options),
            *_TESTS,
            *_GUARD,
            *_HEADERS,
            *logging.trace(options),
            *logging.late_captures(options),
            *_DECIDED,
            *_OTHER_SPELLINGS,
            *_FIELDS,
            *canary_rules(canaries),
            *_https(options),
            *_ANSWERS,
            *_REWRITE,
            "use_backend %[var(txn.backend)] if { var(txn.backend) -m found }",
            "use_backend %[var(txn.route),field(-1,|)]",
        ),
    )


def _binds(options: Options) -> tuple[str, ...]:
    https = f"bind {options.https} ssl crt {DEFAULT_CERTIFICATE} crt-list {CRT_LIST} alpn h2,http/1.1"
    return ((f"bind {options.http}",) if options.http else ()) + ((https,) if options.https else ())
