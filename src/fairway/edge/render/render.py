"""The whole of it: sections, maps, pages, slots and certificates."""

from collections.abc import Iterable, Iterator

import msgspec

from fairway.edge.ir import Canary, Edge, Forward
from fairway.edge.place import Placement
from fairway.edge.render import pages, tuning
from fairway.edge.render.backend import backend
from fairway.edge.render.frontend import HTML, frontend
from fairway.edge.render.logging import ring
from fairway.edge.render.maps import maps
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


def render(edge: Edge, placement: Placement, options: Options, previous: Rendered | None = None) -> Rendered:
    """Everything HAProxy needs for an edge; the same input gives the same bytes.

    `previous` only saves work: backends of the same shape are taken from it. It must have the same options.
    """
    entries = maps(edge.routes, placement)
    sections = (
        _global(options),
        *ring(options),
        _defaults(),
        frontend(options, _canaries(edge)),
        *_backends(placement, options, previous),
    )
    return Rendered(
        sections=sections,
        pages=pages.PAGES,
        maps={**entries.keyed, TUNING_MAP: tuning.entries(placement.tunings)},
        ordered_maps=entries.ordered,
        placement=placement,
        certificates={certificate.name: certificate for certificate in edge.certificates},
    )


def _backends(placement: Placement, options: Options, previous: Rendered | None) -> Iterator[Section]:
    known = {section.backend: section for section in previous.sections} if previous else {}
    shapes = previous.placement.shapes if previous else {}
    for name, shape in placement.shapes.items():
        if shapes.get(name) is shape and name in known:
            yield known[name]
        else:
            section = backend(name, shape, options)
            yield msgspec.structs.replace(section, lines=(*tuning.rules(name, shape), *section.lines))


def _global(options: Options) -> Section:
    lines = [
        "description fairway edge",
        "stats socket unix@haproxy.sock mode 600 level admin expose-fd listeners",
        "stats timeout 10s",
        "fd-hard-limit 65536",
        f"hard-stop-after {options.hard_stop_seconds}s",
        "ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets",
        "expose-experimental-directives",  # normalize-uri, experimental by name in every version up to 3.4
        "chroot root",
    ]
    if options.threads:
        lines.append(f"nbthread {options.threads}")
    if options.run_as:
        lines += [f"uid {options.run_as[0]}", f"gid {options.run_as[1]}"]
    return Section("global", tuple(lines))


def _defaults() -> Section:
    errors = tuple(f"http-error status {code} {HTML} file {name}" for code, name in pages.ERRORS.items())
    return Section("defaults edge", (*_DEFAULTS, *errors))


def _canaries(edge: Edge) -> Iterable[Canary]:
    for route in edge.routes:
        if isinstance(route.action, Forward) and route.action.canary:
            yield route.action.canary
