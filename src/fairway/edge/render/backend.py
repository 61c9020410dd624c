"""A backend: what its profile asks for, in HAProxy's words and in the order in which nginx would do it."""

from fairway.edge.abilities import BANDWIDTH_LIMITS_SINCE
from fairway.edge.ir import Entrance, Profile, Protocol
from fairway.edge.place import Shape
from fairway.edge.policy import Mirror
from fairway.edge.render import access, answers, servers, text
from fairway.edge.render.rendered import Options, Section
from fairway.edge.render.snippet import snippet


def backend(
    name: str, shape: Shape, options: Options, entrance: Entrance, hosts: frozenset[str] = frozenset()
) -> Section:
    """The section without its servers; `hosts` are those that this edge serves itself."""
    profile = shape.profile
    defaults = "tcp" if profile.protocol is Protocol.TCP else "edge"
    lines = () if profile.protocol is Protocol.TCP else _lines(profile, options, entrance, hosts)
    if profile.external:
        lines += (servers.external(profile, profile.external),)
    return Section(f"backend {name} from {defaults}", lines, shape.slots, servers.options(profile))


def _lines(profile: Profile, options: Options, entrance: Entrance, hosts: frozenset[str]) -> tuple[str, ...]:
    return (
        *servers.choice(profile),
        *_remembered(profile),
        *_limits(profile, entrance, options),
        *(answers.cors(profile.cors) if profile.cors else ()),
        *snippet(profile.snippet),
        *access.access(profile, hosts),
        *_servers_refused(profile),
        *(answers.cache(profile.cache_seconds) if profile.cache_seconds else ()),
        *(_mirror(profile.mirror, hosts) if profile.mirror else ()),
        *_request(profile),
        *(answers.affinity(profile.affinity, options) if profile.affinity else ()),
        *answers.changes(profile),
        *(answers.error_pages(profile.error_pages) if profile.error_pages else ()),
    )


def _remembered(profile: Profile) -> tuple[str, ...]:
    """What later rules look at, and what is not logged."""
    lines: tuple[str, ...] = ("http-request set-log-level silent",) if profile.silent else ()
    texts = profile.external_auth or profile.mirror or profile.snippet or profile.hash_by or profile.error_pages
    if texts:
        lines += ("http-request set-var(txn.sent) pathq if !{ var(txn.sent) -m found }",)
    return lines + servers.hash_key(profile)


def _limits(profile: Profile, entrance: Entrance, options: Options) -> tuple[str, ...]:
    if profile.limits is None:
        return ()
    lines = access.limits(profile.limits, entrance)
    if profile.limits.bytes_per_second and options.version >= BANDWIDTH_LIMITS_SINCE:
        rate = profile.limits.bytes_per_second
        lines += (
            f"filter bwlim-out slow default-limit {rate} default-period 1s",
            "http-response set-bandwidth-limit slow",
        )
    return lines


def _servers_refused(profile: Profile) -> tuple[str, ...]:
    lines: tuple[str, ...] = ()
    if profile.upstream_tls and servers.unusable(profile.upstream_tls):
        lines += ("http-request deny deny_status 502",)
    if profile.fast_cgi:
        lines += (f"use-fcgi-app {servers.fast_cgi_name(profile.fast_cgi)}",)
    return lines


def _mirror(mirror: Mirror, hosts: frozenset[str]) -> tuple[str, ...]:
    lines: tuple[str, ...] = ("option http-buffer-request",) if mirror.body else ()
    lines += (f"http-request set-var-fmt(txn.mirror_url) {text.format_of(mirror.url)}",)
    if mirror.host:
        lines += (f"http-request set-var-fmt(txn.mirror_host) {text.format_of(mirror.host)}",)
    way = access.way(mirror.url, mirror.backend, hosts)
    return (*lines, f"http-request lua.fairway_mirror {way} {'body' if mirror.body else '-'}")


def _request(profile: Profile) -> tuple[str, ...]:
    lines: tuple[str, ...] = ()
    if profile.request_prefix:
        lines += (f"http-request set-header X-Forwarded-Prefix {text.literal(profile.request_prefix)}",)
    if profile.upstream_host:
        lines += (f"http-request set-header Host {profile.upstream_host}",)
    return lines
