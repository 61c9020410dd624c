"""The rules that every request passes, from the accept to the choice of a backend.

They are the same whatever the cluster holds (canary names apart): hosts and paths are in maps, see `maps.py`.
The usual request is decided by one look-up and leaves at `allow`; the rest of the rules are for the others.
"""

from collections.abc import Mapping

from fairway.edge.ir import Edge, Entrance, Forward
from fairway.edge.render import access, conditions, extras, handover, logging, text
from fairway.edge.render.canary import canary_rules
from fairway.edge.render.maps import CONDITION_MAP, EXACT_END, MATCH_MAP, OTHERWISE_MAP, PATTERN_MAP, REGEX_HOST
from fairway.edge.render.pages import HTML
from fairway.edge.render.rendered import (
    CRT_LIST,
    DEFAULT_CERTIFICATE,
    REGEX_MAP,
    ROUTE_MAP,
    Options,
    Section,
)

_REDIRECT_CODES = (301, 302, 303, 307, 308)
_TESTS = (
    "acl odd path -m sub // /. %",
    "acl raw var(txn.raw) -m found",
    "acl found var(txn.route) -m found",
    "acl plain var(txn.route) -m beg p b",
    "acl secured var(txn.route) -m beg s|",
    "acl tls ssl_fc",
)
_SCHEMES = ("X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Scheme")


# Numbers and addresses are made into text once for each connection: a third of what these headers cost.
_CONNECTION = (
    "tcp-request session set-var-fmt(sess.client) %[src]",
    "tcp-request session set-var-fmt(sess.id) %[uuid()]",
)


def _headers(entrance: Entrance, options: Options, again: bool, scheme: bool, own: bool) -> tuple[str, ...]:
    """The set of ingress-nginx (rootfs/etc/nginx/template/nginx.tmpl); what the client sent under these names is lost,
    unless the client is a proxy that is believed. `scheme`: whether txn.scheme may say what the connection does not;
    `own`: whether all requests of a connection come from whom `_CONNECTION` says.
    """
    believed = " unless { var(txn.believed) -m found }" if entrance.forwarded_from else ""
    known = " unless { var(txn.scheme) -m found }" if entrance.forwarded_from else ""
    client = "%[var(sess.client)]" if own else "%[src]"
    # Not the process's own count of requests: what one site is told must not say how busy the others are.
    number = "%[var(sess.id)]-%[var(sess.requests)]" if own else "%[uuid()]"
    return (
        *_believed(entrance, again),
        *(("http-request set-var(sess.requests) var(sess.requests,0),add(1)",) if own else ()),
        *logging.request_id(options, number),
        "http-request set-header X-Original-Forwarded-For %[req.fhdr(X-Forwarded-For)] "
        "if { req.hdr(X-Forwarded-For) -m found }",
        f"http-request set-header X-Real-IP {client}",
        *((f"http-request set-header X-Forwarded-For {client}",) if not entrance.append_forwarded_for else (
            f"http-request set-header X-Forwarded-For {client} unless {{ req.hdr(X-Original-Forwarded-For) -m found }}",
            f'http-request set-header X-Forwarded-For "%[req.fhdr(X-Original-Forwarded-For)], {client}" '
            "if { req.hdr(X-Original-Forwarded-For) -m found }",
        )),
        f"http-request set-header X-Forwarded-Host %[req.hdr(Host)]{believed}",
        f"http-request set-header X-Forwarded-Port %[dst_port]{believed}",
        *(f"http-request set-header {name} %[ssl_fc,iif(https,http)]{known}" for name in _SCHEMES),
        *((f"http-request set-header {name} %[var(txn.scheme)] if {{ var(txn.scheme) -m found }}"
           for name in _SCHEMES) if scheme else ()),
        "http-request del-header Proxy",
    )  # fmt: skip


def _believed(entrance: Entrance, again: bool) -> tuple[str, ...]:
    """Who a proxy in front says the client is: the last address that is not itself such a proxy, as nginx' realip."""
    lines: tuple[str, ...] = ()
    if again:
        lines += (
            "http-request set-src req.hdr_ip(X-Real-IP) if { so_name -m str again }",
            "http-request set-var(txn.scheme) str(https) if { so_name -m str again }",
        )
    if not entrance.forwarded_from:
        return lines
    header, networks = entrance.forwarded_header, entrance.forwarded_from
    known = f"{{ req.hdr({header}) -m found }}"
    lines += (
        *access.networks("believed", networks),
        "http-request set-var(txn.believed) bool(true) if believed { req.hdr(X-Forwarded-Host) -m found }",
        "http-request set-var(txn.scheme) req.hdr(X-Forwarded-Proto) if believed "
        "{ req.hdr(X-Forwarded-Proto) -m str http https }",
    )
    if "0.0.0.0/0" in networks:
        return (*lines, f"http-request set-src req.hdr_ip({header},1) if believed {known}")
    return (*lines, *(f"http-request set-src req.hdr_ip({header},-{place}) if believed {known}"
                      for place in range(1, _PROXIES_MOST + 1)))  # fmt: skip


_PROXIES_MOST = 5
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
_NO_ZEROS = ("http-request deny deny_status 400 if { req.hdrs -m reg '\\x00' }",)  # 2.6 itself lets them through
_DECIDED = (
    "http-request disable-l7-retry unless { method GET HEAD OPTIONS PUT DELETE TRACE }",
    "http-request set-var(txn.raw) pathq if odd",
    f"http-request set-var(txn.route) base,concat({EXACT_END}),map_beg({ROUTE_MAP}) if !raw",
    "http-request allow if plain",
    "http-request allow if secured tls",
)


_LOOK_UP = f"http-request set-var(txn.route) var(txn.key),concat(,txn.path,{EXACT_END}),map_beg({ROUTE_MAP}) if !found"
_OTHER_SPELLINGS = (
    *_NORMAL_FORM,
    "http-request set-var(txn.path) path",
    "http-request set-var(txn.host) req.hdr(Host),host_only,lower,rtrim(.)",
    "http-request set-var(txn.key) req.hdr(Host)",
    "http-request set-var(txn.key) var(txn.host) if !found",
    _LOOK_UP,
    "http-request set-var(txn.key) var(txn.host),regsub(^[^.]+,*) if !found",
    _LOOK_UP,
    "http-request set-var(txn.key) str(*) if !found",
    _LOOK_UP,
    f"http-request return status 404 {HTML} lf-file pages/unknown.html if !found",
    "http-request set-pathq %[var(txn.raw)] if raw plain",
    "http-request allow if plain",
)
_FIND_EXPRESSION = (
    f"http-request set-var(txn.route) var(txn.key),concat(,txn.path),map_regm({REGEX_MAP}) "
    f"if {{ var(txn.route) -m str {REGEX_HOST} }}"
)
_FIELDS = (
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


def _https(options: Options, entrance: Entrance) -> tuple[str, ...]:
    port = "" if options.https_port == 443 else f":{options.https_port}"
    return (
        "http-request set-var(txn.sent) pathq",
        "http-request set-var(txn.sent) var(txn.raw) if raw",
        f"http-request redirect location https://%[var(txn.host)]{port}%[var(txn.sent)] code {entrance.redirect_code} "
        "if secure !tls !{ var(txn.path) -m beg /.well-known/acme-challenge/ }",
        "http-request set-pathq %[var(txn.raw)] if raw !rewrite",
    )


_ANSWERS = (
    f"http-request return status 404 {HTML} lf-file pages/unknown.html if {{ var(txn.flags) -m sub n }}",
    f"http-request return status 503 {HTML} hdr Retry-After 5 lf-file pages/unavailable.html "
    "if { var(txn.flags) -m sub u }",
    f"http-request return status 503 {HTML} hdr Retry-After 60 lf-file pages/maintenance.html "
    "if { var(txn.flags) -m sub m }",
    "http-request set-var(txn.location) var(txn.route),field(4,|,0) if { var(txn.flags) -m sub r }",
    "http-request set-var(txn.location) var(txn.location),concat(,txn.sent) if { var(txn.flags) -m sub k }",
    *(
        f"http-request redirect location %[var(txn.location)] code {code} if {{ var(txn.flags) -m sub r{code} }}"
        for code in _REDIRECT_CODES
    ),
)
_REWRITE = (
    "http-request set-var(txn.target) var(txn.route),field(4,|,0) if rewrite",
    "http-request set-path %[var(txn.target)] if rewrite { var(txn.target) -m beg / }",
    "http-request set-path /%[var(txn.target)] if rewrite !{ var(txn.target) -m beg / }",
)

_USUAL_TARGET = "use_backend %[var(txn.route)] if plain"
_TARGETS = (
    "use_backend %[var(txn.backend)] if { var(txn.backend) -m found }",
    "use_backend %[var(txn.route),field(-1,|)]",
)


def frontends(edge: Edge, options: Options, maps: Mapping[str, object]) -> tuple[Section, Section]:
    """The one for HTTP and HTTPS, and the same for what a replaced process hands over; `maps` are those there are."""
    again = extras.asks_itself(backend.profile for backend in edge.backends)
    rules = _rules(edge, options, maps)
    captures, entrance = logging.captures(options), edge.entrance
    scheme = again or bool(entrance.forwarded_from)
    front = (
        *_binds(edge, options, again),
        *(() if scheme else _CONNECTION),
        *captures,
        *_TESTS,
        *(("acl tls var(txn.scheme) -m str https",) if scheme else ()),
        handover.first(again),
        *_GUARD,
        *(_NO_ZEROS if options.version < (2, 8) else ()),
        *_headers(entrance, options, again, scheme, not scheme),
        *rules,
        _USUAL_TARGET,
        handover.target(again),
        *_TARGETS,
    )
    handed = (
        *handover.binds(options),
        *captures,
        *_TESTS,
        "acl tls var(txn.scheme) -m str https",
        *_GUARD,
        *(_NO_ZEROS if options.version < (2, 8) else ()),
        handover.SCHEME,
        *_headers(entrance, options, False, True, False),
        *rules,
        _USUAL_TARGET,
        *_TARGETS,
    )
    return Section("frontend edge from edge", front), Section("frontend handed from edge", handed)


def _rules(edge: Edge, options: Options, maps: Mapping[str, object]) -> tuple[str, ...]:
    """What does not depend on the door."""
    routes, entrance = edge.routes, edge.entrance
    canaries = tuple(
        route.action.canaries for route in routes if isinstance(route.action, Forward) and route.action.canaries
    )
    return (
        *logging.trace(options),
        *_answers(entrance),
        *_DECIDED,
        *_OTHER_SPELLINGS,
        _FIND_EXPRESSION,
        *(conditions.rules(routes, CONDITION_MAP, OTHERWISE_MAP, MATCH_MAP) if MATCH_MAP in maps else ()),
        *_FIELDS,
        *canary_rules(canaries, PATTERN_MAP),
        *_https(options, entrance),
        *_ANSWERS,
        *_REWRITE,
    )


def _answers(entrance: Entrance) -> tuple[str, ...]:
    """What every answer gets or loses. HSTS only where a certificate was made for the host and HTTP leads to HTTPS."""
    lines = tuple(f"http-response del-header {name}" for name in entrance.hide_headers)
    lines += tuple(f"http-after-response set-header {name} {text.literal(value)}"
                   for name, value in entrance.response_headers)  # fmt: skip
    if entrance.hsts:
        lines += (f'http-after-response set-header Strict-Transport-Security "{entrance.hsts}" if secured tls',)
    if entrance.gzip_types:
        lines += ("filter compression", "compression algo gzip", f"compression type {' '.join(entrance.gzip_types)}")
    return lines


def _binds(edge: Edge, options: Options, again: bool) -> tuple[str, ...]:
    proxy = " accept-proxy" if edge.entrance.proxy_protocol else ""
    tls = f"{extras.tls_bind(edge, options)} crt {DEFAULT_CERTIFICATE} crt-list {CRT_LIST} alpn h2,http/1.1"
    found = ((f"bind {options.http}{proxy}",) if options.http else ()) + ((tls,) if options.https else ())
    return (*found, extras.again(options)) if again else found
