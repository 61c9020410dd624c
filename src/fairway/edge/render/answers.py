"""What becomes of answers: CORS, cookies, headers, the cache, and error pages of another Service."""

import re

from fairway.edge.policy import Affinity, Cors, ErrorPages, Profile
from fairway.edge.render import text
from fairway.edge.render.names import own_name
from fairway.edge.render.rendered import Options, Section

_CACHE_MEGABYTES = 64
# Browsers that take SameSite=None for Strict, as ingress-nginx lists them.
_OLD_BROWSERS = "'Chrome/(5[1-9]|6[0-6])|iP(hone|ad|od).*OS 12_|Macintosh.*OS X 10_14.*Version.*Safari'"


def cors(wanted: Cors) -> tuple[str, ...]:
    """A preflight is answered here."""
    headers = [("Access-Control-Allow-Methods", wanted.methods), ("Access-Control-Allow-Headers", wanted.headers)]
    if wanted.credentials:
        headers.append(("Access-Control-Allow-Credentials", "true"))
    headers.append(("Access-Control-Expose-Headers", wanted.expose))
    headers.append(("Access-Control-Max-Age", str(wanted.max_age_seconds)))
    return (
        *_origin(wanted),
        "http-request return status 204 if METH_OPTIONS { var(txn.origin) -m found }",
        'http-after-response set-header Access-Control-Allow-Origin "%[var(txn.origin)]" '
        "if { var(txn.origin) -m found }",
        *(
            f'http-after-response set-header {name} "{value}" if {{ var(txn.origin) -m found }}'
            for name, value in headers
            if value
        ),
        *(() if "*" in wanted.origins else ("http-after-response add-header Vary Origin",)),
    )


def _origin(wanted: Cors) -> tuple[str, ...]:
    if "*" in wanted.origins:
        return ("http-request set-var(txn.origin) str(*)",)
    exact = [origin for origin in wanted.origins if "*" not in origin]
    lines = [f"acl cross req.hdr(Origin) -m str {origin}" for origin in exact]
    for origin in wanted.origins:
        if "*" in origin:
            scheme, suffix = origin.split("*", 1)
            pattern = f"^{scheme}[A-Za-z0-9-]+{suffix.replace('.', '[.]')}$"
            lines.append(f"acl cross req.hdr(Origin) -m reg {pattern}")
    return (*lines, "http-request set-var(txn.origin) req.hdr(Origin) if cross")


def affinity(wanted: Affinity, options: Options) -> tuple[str, ...]:
    """A cookie that names the server by a hash, the same in every HAProxy that has the key."""
    words = [f"cookie {wanted.cookie} insert indirect nocache httponly dynamic"]
    words += ["secure"] if wanted.secure else []
    words += [f"domain {wanted.domain}"] if wanted.domain else []
    if wanted.path:
        words.append(f'attr "Path={wanted.path}"')  # after HAProxy's own path=/; the last one counts (RFC 6265, 5.3)
    if wanted.same_site:
        words.append(f'attr "SameSite={wanted.same_site}"')
    if wanted.max_age_seconds is not None:
        words.append(f'attr "Max-Age={wanted.max_age_seconds}"')
    lines: tuple[str, ...] = (" ".join(words), f"dynamic-cookie-key {options.affinity_key}")
    if wanted.conditional_same_site_none and wanted.same_site == "None":
        lines += (
            f"http-request set-var(txn.old_browser) bool(true) if {{ req.hdr(User-Agent) -m reg {_OLD_BROWSERS} }}",
            "http-after-response replace-header Set-Cookie '(.*); *SameSite=None(.*)' '\\1\\2' "
            "if { var(txn.old_browser) -m bool }",
        )
    return lines


def changes(profile: Profile) -> tuple[str, ...]:
    """Headers that are rewritten on the way back, and those of a ConfigMap."""
    lines: tuple[str, ...] = ()
    if profile.cookie_domain:
        lines += _cookie("[Dd]omain", *profile.cookie_domain)
    if profile.cookie_path:
        lines += _cookie("[Pp]ath", *profile.cookie_path)
    if profile.location:
        before, after = profile.location
        lines += (f"http-response replace-header Location '^{re.escape(before)}(.*)$' '{after}\\1'",)
    return lines + tuple(
        f"http-after-response set-header {name} {text.literal(value)}" for name, value in profile.response_headers
    )


def _cookie(name: str, before: str, after: str) -> tuple[str, ...]:
    pattern = f"^(.*; *{name}=){re.escape(before)}(.*)$"
    return (f"http-response replace-header Set-Cookie '{pattern}' '\\1{after}\\2'",)


def cache_name(seconds: int) -> str:
    return f"c{seconds}"


def cache_section(seconds: int) -> Section:
    """One cache for everything that is kept equally long."""
    lines = (
        f"total-max-size {_CACHE_MEGABYTES}",
        "max-object-size 4194304",
        f"max-age {seconds}",
        "process-vary on",
    )
    return Section(f"cache {cache_name(seconds)}", lines)


def cache(seconds: int) -> tuple[str, ...]:
    """After everything that keeps people out: what is kept for one is shown to all who may come in."""
    name = cache_name(seconds)
    # Nobody's own page becomes everybody's: with a cookie only what the pod itself calls cacheable is kept.
    return (
        "http-request set-var(txn.own_cookie) bool(true) if { req.hdr(Cookie) -m found }",
        f"http-request cache-use {name}",
        f"http-response set-header Cache-Control max-age={seconds} "
        "if !{ res.hdr(Cache-Control) -m found } !{ var(txn.own_cookie) -m bool } { status 200 }",
        f"http-response cache-store {name} "
        "if { res.hdr(Cache-Control) -m found } !{ res.hdr(Set-Cookie) -m found }",
        "http-after-response set-header X-Cache HIT if !{ srv_id -m found } { status 200 }",
    )


def error_pages(wanted: ErrorPages) -> tuple[str, ...]:
    codes = " ".join(map(str, wanted.codes))
    about = " ".join(f"{name}={value}" for name, value in wanted.about)
    return (
        "http-request set-var(txn.accept) req.hdr(Accept)",
        f"http-response lua.fairway_error {own_name(wanted.backend)} {about.replace(' ', ',') or '-'} "
        f"if {{ status {codes} }}",
    )
