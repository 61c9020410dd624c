"""A backend: what its profile asks for, in HAProxy's words."""

from fairway.edge.ir import Affinity, Cors, Profile, Protocol
from fairway.edge.place import Shape
from fairway.edge.render.rendered import Options, Section

_SERVER_OPTIONS = {
    Protocol.HTTP: "",
    Protocol.HTTPS: " ssl verify none",  # ingress-nginx: proxy-ssl-verify is off unless asked for
    Protocol.GRPC: " proto h2",
    Protocol.GRPCS: " ssl verify none alpn h2",
}
_SOURCES_PER_LINE = 32


def backend(name: str, shape: Shape, options: Options) -> Section:
    """The section without its servers."""
    profile = shape.profile
    lines = (*_timeouts(profile), *_sources(profile), *_body(profile), *_host(profile))
    lines += _cors(profile.cors) if profile.cors else ()
    lines += _affinity(profile.affinity, options) if profile.affinity else ()
    return Section(f"backend {name} from edge", lines, shape.slots, _SERVER_OPTIONS[profile.protocol])


def _timeouts(profile: Profile) -> tuple[str, ...]:
    lines: tuple[str, ...] = ()
    if profile.connect_timeout_seconds is not None:
        lines += (f"timeout connect {profile.connect_timeout_seconds}s",)
    if profile.read_timeout_seconds is not None:
        lines += (f"timeout server {profile.read_timeout_seconds}s",)
        lines += (f"timeout tunnel {profile.read_timeout_seconds}s",)
    return lines


def _sources(profile: Profile) -> tuple[str, ...]:
    lines = (*_networks("denied", profile.denied_sources), *_networks("allowed", profile.allowed_sources))
    if profile.denied_sources:
        lines += ("http-request deny deny_status 403 if denied",)
    if profile.allowed_sources:
        lines += ("http-request deny deny_status 403 if !allowed",)
    return lines


def _networks(name: str, networks: tuple[str, ...]) -> tuple[str, ...]:
    starts = range(0, len(networks), _SOURCES_PER_LINE)
    return tuple(f"acl {name} src {' '.join(networks[start : start + _SOURCES_PER_LINE])}" for start in starts)


def _body(profile: Profile) -> tuple[str, ...]:
    # Only what announces its length is refused at once; a chunked body is counted as far as the buffer goes.
    limit = profile.body_bytes_max
    return (f"http-request deny deny_status 413 if {{ req.body_size gt {limit} }}",) if limit else ()


def _host(profile: Profile) -> tuple[str, ...]:
    return (f"http-request set-header Host {profile.upstream_host}",) if profile.upstream_host else ()


def _cors(cors: Cors) -> tuple[str, ...]:
    headers = [("Access-Control-Allow-Methods", cors.methods), ("Access-Control-Allow-Headers", cors.headers)]
    if cors.credentials:
        headers.append(("Access-Control-Allow-Credentials", "true"))
    headers.append(("Access-Control-Expose-Headers", cors.expose))
    headers.append(("Access-Control-Max-Age", str(cors.max_age_seconds)))
    return (
        *_origin(cors),
        "http-request return status 204 if METH_OPTIONS { var(txn.origin) -m found }",
        'http-after-response set-header Access-Control-Allow-Origin "%[var(txn.origin)]" '
        "if { var(txn.origin) -m found }",
        *(
            f'http-after-response set-header {name} "{value}" if {{ var(txn.origin) -m found }}'
            for name, value in headers
            if value
        ),
    )


def _origin(cors: Cors) -> tuple[str, ...]:
    if "*" in cors.origins:
        return ("http-request set-var(txn.origin) str(*)",)
    exact = [origin for origin in cors.origins if "*" not in origin]
    lines = [f"acl cross req.hdr(Origin) -m str {origin}" for origin in exact]
    for origin in cors.origins:
        if "*" in origin:
            scheme, suffix = origin.split("*", 1)
            pattern = f"^{scheme}[A-Za-z0-9-]+{suffix.replace('.', '[.]')}$"
            lines.append(f"acl cross req.hdr(Origin) -m reg {pattern}")
    return (*lines, "http-request set-var(txn.origin) req.hdr(Origin) if cross")


def _affinity(affinity: Affinity, options: Options) -> tuple[str, ...]:
    words = [f"cookie {affinity.cookie} insert indirect nocache httponly dynamic"]
    words += ["secure"] if affinity.secure else []
    if affinity.path:
        words.append(f'attr "Path={affinity.path}"')  # after HAProxy's own path=/; the last one counts (RFC 6265, 5.3)
    if affinity.same_site:
        words.append(f'attr "SameSite={affinity.same_site}"')
    if affinity.max_age_seconds is not None:
        words.append(f'attr "Max-Age={affinity.max_age_seconds}"')
    return " ".join(words), f"dynamic-cookie-key {options.affinity_key}"
