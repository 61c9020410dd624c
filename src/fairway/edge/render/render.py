"""The whole of it: sections, maps, pages, slots and certificates."""

from collections.abc import Iterator

import msgspec

from fairway.edge.ir import ANY_HOST, Edge, Entrance, Profile
from fairway.edge.place import Placement
from fairway.edge.render import extras, handover, pages, tuning
from fairway.edge.render.backend import backend
from fairway.edge.render.entries import Wanted
from fairway.edge.render.frontend import frontends
from fairway.edge.render.logging import ring
from fairway.edge.render.maps import maps
from fairway.edge.render.names import INNER_MAP
from fairway.edge.render.rendered import TUNING_MAP, Options, Rendered, Section

_DEFAULTS = (
    "mode http",
    "timeout connect 2s",
    "timeout client 60s",
    "timeout server 60s",
    "timeout tunnel 1h",
    "timeout http-request 30s",
    "timeout http-keep-alive 75s",
    "timeout client-fin 10s",
    "timeout queue 5s",
    "balance roundrobin",
    # A server that is gone costs a look at the next one, not a request. Only what no byte was sent for, or what may
    # safely be sent twice (see `disable-l7-retry`), is tried again.
    "retries 3",
    "option redispatch 1",
    "retry-on conn-failure empty-response",
    "http-reuse safe",
    # A reload answers what comes on connections that wait, instead of closing them under the client's hands.
    "option idle-close-on-response",
)


def render(
    edge: Edge,
    placement: Placement,
    options: Options,
    previous: Rendered | None = None,
    wanted: Wanted | None = None,
) -> Rendered:
    """Everything HAProxy needs for an edge; the same input gives the same bytes.

    `previous` and `wanted` only save work: backends of the same shape are taken from the one, which must have the same
    options, and the entries of the routes are the other.
    """
    wanted = wanted or Wanted(maps(edge.routes, placement), tuple(edge.routes))
    entries = wanted.maps
    profiles = _profiles(placement)
    more = extras.maps(edge, placement.names)
    keyed = {**entries.keyed, **more, TUNING_MAP: tuning.entries(placement.tunings)}
    sections = (
        _global(options, profiles),
        *ring(options),
        *extras.resolvers(profiles, options),
        _defaults(edge.entrance),
        _TCP_DEFAULTS,
        *frontends(msgspec.structs.replace(edge, routes=wanted.special), options, entries.ordered),
        handover.section(options),
        *((extras.inner(options),) if INNER_MAP in more else ()),
        *extras.doors(edge, options),
        *extras.sections(profiles),
        *_backends(edge, placement, options, previous),
    )
    return Rendered(
        sections=sections,
        pages={**pages.PAGES, **extras.files(edge, profiles)},
        maps=keyed,
        ordered_maps=entries.ordered,
        placement=placement,
        certificates={certificate.name: certificate for certificate in edge.certificates},
    )


def _profiles(placement: Placement) -> tuple[Profile, ...]:
    """All that backends have, each once."""
    found = {id(shape.profile): shape.profile for shape in placement.shapes.values()}
    return tuple(found.values())


def _backends(edge: Edge, placement: Placement, options: Options, previous: Rendered | None) -> Iterator[Section]:
    if previous and placement.shapes is previous.placement.shapes and all(map(_alone, _profiles(placement))):
        yield from previous.sections[-len(placement.shapes) :]
        return
    known = {section.backend: section for section in previous.sections} if previous else {}
    shapes = previous.placement.shapes if previous else {}
    hosts = (
        frozenset(route.match.host for route in edge.routes) - {ANY_HOST} if _look_at_hosts(placement) else frozenset()
    )
    for name, shape in placement.shapes.items():
        profile = shape.profile
        if _alone(profile) and shapes.get(name) is shape and name in known:
            yield known[name]
        else:
            section = backend(name, shape, options, edge.entrance, hosts)
            yield msgspec.structs.replace(section, lines=(*tuning.rules(name, shape), *section.lines))


def _alone(profile: Profile) -> bool:
    """Whether a backend looks at nothing but its profile."""
    return not (profile.limits or profile.external_auth or profile.mirror)


def _look_at_hosts(placement: Placement) -> bool:
    return any(profile.external_auth or profile.mirror for profile in _profiles(placement))


def _global(options: Options, profiles: tuple[Profile, ...]) -> Section:
    lines = [
        "description fairway edge",
        "stats socket unix@haproxy.sock mode 600 level admin expose-fd listeners",
        "stats timeout 10s",
        "fd-hard-limit 65536",
        f"hard-stop-after {options.hard_stop_seconds}s",
        "ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets",
        "expose-experimental-directives",  # normalize-uri, experimental by name in every version up to 3.4
    ]
    if options.locked:
        lines.append("chroot root")
    if extras.needs_lua(profiles):
        # Authentication servers are often in the cluster with certificates of nobody; nginx does not check them either.
        lines += [f"setenv FAIRWAY_SOCKETS {options.inside('')}", f"lua-load-per-thread {extras.LUA_FILE}"]
        lines.append("httpclient.ssl.verify none")
    if options.threads:
        lines.append(f"nbthread {options.threads}")
    if options.run_as:
        lines += [f"uid {options.run_as[0]}", f"gid {options.run_as[1]}"]
    return Section("global", tuple(lines))


def _defaults(entrance: Entrance) -> Section:
    errors = tuple(f"http-error status {code} {pages.HTML} file {name}" for code, name in pages.ERRORS.items())
    lines = {line.rpartition(" ")[0]: line for line in _DEFAULTS}
    if entrance.connect_timeout_seconds:
        lines["timeout connect"] = f"timeout connect {entrance.connect_timeout_seconds}s"
    if entrance.read_timeout_seconds:
        lines["timeout server"] = f"timeout server {entrance.read_timeout_seconds}s"
    return Section("defaults edge", (*lines.values(), *errors))


_TCP_DEFAULTS = Section(
    "defaults tcp",
    (
        "mode tcp",
        "timeout connect 2s",
        "timeout client 1h",
        "timeout server 1h",
        "timeout client-fin 10s",
        "timeout queue 5s",
        "balance roundrobin",
        "retries 3",
        "option redispatch 1",
    ),
)
