"""Who may come in: networks, passwords, other servers' say, client certificates, and how often."""

import hashlib

from fairway.edge.ir import Entrance
from fairway.edge.policy import BasicAuth, ClientCertificate, ExternalAuth, Limits, Profile, Text, Variable
from fairway.edge.render import text
from fairway.edge.render.names import own_name
from fairway.edge.render.rendered import Section

_SOURCES_PER_LINE = 32
_LUA_HASHES = ("$apr1$", "{SHA}")
AGAIN = "again"  # the name of the edge's own back door, and what the Lua part calls it


def access(profile: Profile, hosts: frozenset[str]) -> tuple[str, ...]:
    """Everything that must be passed; `hosts` are those that this edge serves itself."""
    asks = profile.basic_auth is not None or profile.external_auth is not None
    either = profile.any_protection and asks and bool(profile.allowed_sources)
    guard = " if !allowed" if either else ""
    lines = _client_certificate(profile.client_certificate) if profile.client_certificate else ()
    lines += _sources(profile, either)
    lines += _basic(profile.basic_auth, guard) if profile.basic_auth else ()
    return lines + (_external(profile.external_auth, guard, hosts) if profile.external_auth else ())


def _sources(profile: Profile, either: bool) -> tuple[str, ...]:
    lines = (*networks("denied", profile.denied_sources), *networks("allowed", profile.allowed_sources))
    if profile.denied_sources:
        lines += ("http-request deny deny_status 403 if denied",)
    if profile.allowed_sources and not either:
        lines += ("http-request deny deny_status 403 if !allowed",)
    return lines


def networks(name: str, found: tuple[str, ...]) -> tuple[str, ...]:
    """An ACL of source networks."""
    starts = range(0, len(found), _SOURCES_PER_LINE)
    return tuple(f"acl {name} src {' '.join(found[start : start + _SOURCES_PER_LINE])}" for start in starts)


def userlist(auth: BasicAuth) -> str:
    """The name of the list of users; another content is another name, so that no cached success outlives it."""
    content = "\n".join(f"{one.name}:{one.password_hash}" for one in auth.users or ())
    return "u" + hashlib.sha256(f"{auth.secret}\n{content}".encode()).hexdigest()[:16]


def users_section(auth: BasicAuth) -> Section:
    """Those whose hashes crypt(3) knows; the others are for the Lua part."""
    native = [one for one in auth.users or () if not one.password_hash.startswith(_LUA_HASHES)]
    return Section(
        f"userlist {userlist(auth)}", tuple(f"user {one.name} password '{one.password_hash}'" for one in native)
    )


def users_of_lua(auth: BasicAuth) -> dict[str, str]:
    """`list/user` → hash, for what crypt(3) does not know."""
    name = userlist(auth)
    return {
        f"{name}/{one.name}": one.password_hash for one in auth.users or () if one.password_hash.startswith(_LUA_HASHES)
    }


SUCCESSES = Section("backend logins from edge", ("stick-table type binary len 32 size 100k expire 5m store gpt0",))
"""Who has shown the right password, by a hash of it: checking one takes milliseconds."""


def _basic(auth: BasicAuth, guard: str) -> tuple[str, ...]:
    if auth.users is None:
        return (f"http-request deny deny_status 503{guard}",)
    name = userlist(auth)
    given = "{ req.hdr(Authorization) -m found }"
    lines: tuple[str, ...] = (
        "acl known var(txn.known) -m int 1",
        f"http-request set-var(txn.login) req.hdr(Authorization),concat(|{name}),sha2(256) if {given}",
        f"http-request track-sc1 var(txn.login) table logins if {given}",
        f"http-request set-var(txn.known) int(1) if {given} {{ sc_get_gpt0(1) eq 1 }}",
        f"http-request set-var(txn.known) int(1) if {given} !known {{ http_auth({name}) }}",
    )
    if users_of_lua(auth):
        lines += (f"http-request lua.fairway_basic {name} if {given} !known",)
    return (
        *lines,
        f'http-request auth realm "{auth.realm}"{guard or " if"} !known',
        "http-request sc-set-gpt0(1) 1 if known",
    )


def _external(auth: ExternalAuth, guard: str, hosts: frozenset[str]) -> tuple[str, ...]:
    headers = (*auth.headers, *((name, (value,)) for name, value in auth.extra_headers))
    if auth.request_redirect:
        headers += (("X-Auth-Request-Redirect", auth.request_redirect),)
    lines = [
        f"http-request return status 508 if {{ so_name -m str {AGAIN} }}",
        f"http-request set-var-fmt(txn.auth_url) {text.format_of(auth.url)}",
        *(f"http-request set-var-fmt(txn.auth_header{number}) {text.format_of(value)}"
          for number, (_, value) in enumerate(headers)),
    ]  # fmt: skip
    if auth.cache_key:
        lines.append(f"http-request set-var-fmt(txn.auth_key) {text.format_of(auth.cache_key)}")
    words = (
        auth.method or "GET",
        way(auth.url, auth.backend, hosts),
        ",".join(auth.response_headers) or "-",
        ",".join(name for name, _ in headers) or "-",
        ",".join(f"{status}:{seconds}" for status, seconds in auth.cache_seconds) if auth.cache_key else "-",
        "signin" if auth.signin else "-",
    )
    lines.append(f"http-request lua.fairway_auth {' '.join(words)}{guard}")
    if auth.signin:
        lines.append(
            f"http-request redirect location {text.format_of(_signin(auth))} code 302 "
            f"if {{ var(txn.auth_status) -m int 401 }}"
        )
    # Should the Lua part fail, the request must not get through.
    lines.append(f"http-request deny deny_status 500{guard or ' if'} !{{ var(txn.auth_status) -m int 200 }}")
    good = "" if auth.always_set_cookie else " { status 200:299 301 302 303 304 307 308 }"
    lines.append(
        "http-after-response add-header Set-Cookie %[var(txn.auth_cookie)] "
        f"if {{ var(txn.auth_cookie) -m found }}{good}"
    )
    return tuple(lines)


def _signin(auth: ExternalAuth) -> Text:
    """Where to log in, and where to come back to afterwards; as ingress-nginx builds it."""
    plain = "".join(one if isinstance(one, str) else "" for one in auth.signin)
    if f"{auth.signin_parameter}=" in plain:
        return auth.signin
    joint = "&" if "?" in plain else "?"
    back = (Variable("pass_access_scheme"), "://", Variable("http_host"), Variable("escaped_request_uri"))
    return (*auth.signin, f"{joint}{auth.signin_parameter}=", *back)


def way(url: Text, backend: str, hosts: frozenset[str]) -> str:
    """How an address is reached: a backend, the edge itself, or `-` by its name."""
    if backend:
        return own_name(backend)
    first = url[0] if isinstance(url[0], str) else ""
    host = first.partition("://")[2].partition("/")[0].partition(":")[0].lower()
    wild = f"*.{host.partition('.')[2]}"
    return AGAIN if not host or host in hosts or wild in hosts else "-"


def _client_certificate(wanted: ClientCertificate) -> tuple[str, ...]:
    """A certificate shown for one host is none for another (421: ask again on a connection of its own)."""
    # What was handed over by a replaced process showed none, so there is none to misuse (see `handover`).
    elsewhere = "!{ ssl_fc_sni,lower,strcmp(txn.name) -m int 0 } !{ so_name -m str handed_tls }"
    lines = [f"http-request deny deny_status 421 if {elsewhere}"]
    lines.insert(0, "http-request set-var(txn.name) req.hdr(X-Forwarded-Host),host_only,lower,rtrim(.)")
    shown, good = "{ ssl_c_used }", "{ ssl_c_verify 0 }"
    refuse = "http-request deny deny_status 400"
    if wanted.error_page:
        refuse = f"http-request redirect location {text.literal(wanted.error_page)} code 302"
    if not wanted.optional:
        lines += [f"{refuse} if !{shown}", f"{refuse} if !{good}"]
    elif not wanted.unverified:
        lines.append(f"{refuse} if {shown} !{good}")
    if wanted.common_name:
        lines.append(f"http-request deny deny_status 403 if !{{ ssl_c_s_dn(cn) -m reg -- "
                     f"{text.expression(wanted.common_name)} }}")  # fmt: skip
    lines += [
        "http-request set-header ssl-client-subject-dn %[ssl_c_s_dn]",
        "http-request set-header ssl-client-issuer-dn %[ssl_c_i_dn]",
        f"http-request set-header ssl-client-verify SUCCESS if {shown} {good}",
        f"http-request set-header ssl-client-verify FAILED if {shown} !{good}",
        f"http-request set-header ssl-client-verify NONE if !{shown}",
        "http-request del-header ssl-client-cert",
    ]
    if wanted.pass_on:
        lines.append(
            'http-request set-header ssl-client-cert "-----BEGIN%%20CERTIFICATE-----%%0A%[ssl_c_der,base64,url_enc]'
            f'%%0A-----END%%20CERTIFICATE-----%%0A" if {shown}'
        )
    return tuple(lines)


def _deny(code: int) -> str:
    known = code in (400, 401, 403, 404, 405, 408, 410, 413, 425, 429, 500, 501, 502, 503, 504)
    return f"http-request deny deny_status {code}" if known else f"http-request return status {code}"


def zone(limits: Limits) -> str:
    """The table that counts for the limits of one Ingress."""
    parts = f"{limits.zone}|{limits.per_second}|{limits.per_minute}|{limits.burst}"
    return "l" + hashlib.sha256(parts.encode()).hexdigest()[:12]


def limit_section(limits: Limits) -> Section:
    """A window as long as the burst multiplier lets through that many times the rate at once, and the rate on average:
    what the leaky bucket of nginx does with `nodelay`.
    """
    seconds, minutes = limits.burst, limits.burst * 60
    stores = f"gpc0,gpc1,gpc0_rate({seconds}s),gpc1_rate({minutes}s),conn_cur"
    line = f"stick-table type ipv6 size 100k expire {max(minutes * 2, 60)}s store {stores}"
    return Section(f"backend {zone(limits)} from edge", (line,))


def limits(wanted: Limits, entrance: Entrance) -> tuple[str, ...]:
    """Only what is let through is counted."""
    lines: tuple[str, ...] = ()
    table = zone(wanted)
    counted = ""
    if wanted.exempt:
        lines += networks("exempt", wanted.exempt)
        counted = " if !exempt"
    if wanted.per_second or wanted.per_minute or wanted.connections:
        lines += (f"http-request track-sc2 src table {table}{counted}",)
    request, connection = _deny(entrance.limit_request_code), _deny(entrance.limit_connection_code)
    joint = counted or " if"
    if wanted.connections:
        lines += (f"{connection}{joint} {{ sc_conn_cur(2) gt {wanted.connections} }}",)
    if wanted.per_second:
        lines += (f"{request}{joint} {{ sc_gpc0_rate(2) ge {wanted.per_second * wanted.burst} }}",)
    if wanted.per_minute:
        lines += (f"{request}{joint} {{ sc_gpc1_rate(2) ge {wanted.per_minute * wanted.burst} }}",)
    if wanted.per_second:
        lines += (f"http-request sc-inc-gpc0(2){counted}",)
    if wanted.per_minute:
        lines += (f"http-request sc-inc-gpc1(2){counted}",)
    return lines
