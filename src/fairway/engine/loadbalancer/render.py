"""Routes to HAProxy's configuration."""

from collections.abc import Iterator, Mapping

from fairway.engine.loadbalancer.ir import Place, Route

SERVER = "s"
_SOURCES_PER_LINE = 32
_HEAD = """global
  description fairway load balancer
  stats socket unix@haproxy.sock mode 600 level admin
  stats timeout 10s
  fd-hard-limit 65536
  chroot root
{user}
defaults
  mode tcp
  timeout connect 5s
  timeout client 24h
  timeout server 24h
  timeout client-fin 10s
  option tcpka
  option redispatch
  retries 1
  maxconn 20000
"""


def render(routes: Mapping[Place, Route], descriptors: Mapping[Place, int], run_as: tuple[int, int] | None) -> str:
    """The file; `descriptors` are the inherited sockets of the places."""
    user = f"  uid {run_as[0]}\n  gid {run_as[1]}\n" if run_as else ""
    sections = [_section(place, routes[place], descriptors[place]) for place in sorted(routes)]
    return _HEAD.format(user=user) + "".join(sections)


def name(place: Place) -> str:
    """The section of a place; from it, what a running HAProxy does can be read back."""
    return f"tcp-{place.host}-{place.port}"


def place_of(section: str) -> Place | None:
    """The place of a section; None when it is none of ours."""
    kind, _, rest = section.partition("-")
    host, _, port = rest.rpartition("-")
    return Place(host, int(port)) if kind == "tcp" and host and port.isdecimal() else None


def _section(place: Place, route: Route, descriptor: int) -> str:
    lines = [f"listen {name(place)}", f"  bind fd@{descriptor}", *_sources(route)]
    lines.append(f"  server {SERVER} {route.target.address}:{route.target.port}")
    return "\n" + "\n".join(lines) + "\n"


def _sources(route: Route) -> Iterator[str]:
    for start in range(0, len(route.sources), _SOURCES_PER_LINE):
        yield f"  acl allowed src {' '.join(route.sources[start : start + _SOURCES_PER_LINE])}"
    if route.sources:
        yield "  tcp-request connection reject if !allowed"
