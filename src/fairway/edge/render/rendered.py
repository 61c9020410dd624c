"""What HAProxy is told, split by how it can be changed: sections by a reload, the rest while it runs."""

from collections.abc import Iterator, Mapping

import msgspec

from fairway.edge.ir import Certificate, Server
from fairway.edge.place import Placement, Slots

CONFIG = "haproxy.cfg"
CRT_LIST = "crt-list.txt"
ROUTE_MAP = "maps/route.map"
REGEX_MAP = "maps/regex.map"
CANARY_MAP = "maps/canary.map"
TUNING_MAP = "maps/tuning.map"
DEFAULT_CERTIFICATE = "default.pem"
_NOWHERE = Server("127.0.0.1", 1)  # an empty slot needs some address


class Options(msgspec.Struct, frozen=True):
    """What does not come from the cluster. `http` and `https` are addresses as `bind` takes them; "" is none.

    `version` is HAProxy's; `tcp_address` is where TCP services listen,
    `name_servers` (ADDRESS:PORT) know names outside the cluster, in place of those of /etc/resolv.conf.
    `locked`: HAProxy sees nothing but one folder once it runs, which takes root.
    `log`: a line about every request to the socket in `render/logging.py`; `trace`: W3C trace context.
    """

    http: str = ""
    https: str = ""
    https_port: int = 443
    threads: int | None = None
    run_as: tuple[int, int] | None = None
    affinity_key: str = "fairway"
    hard_stop_seconds: int = 3600
    log: bool = False
    trace: bool = False
    version: tuple[int, int] = (2, 8)
    tcp_address: str = "*"
    name_servers: tuple[str, ...] = ()
    locked: bool = True

    def inside(self, name: str) -> str:
        """A socket in the folder that HAProxy is locked into, as HAProxy itself sees it."""
        return f"unix@/{name}" if self.locked else f"unix@root/{name}"


class Section(msgspec.Struct, frozen=True):
    """A piece of the configuration file; `server_options` follow the address of every slot."""

    title: str
    lines: tuple[str, ...]
    slots: int = 0
    server_options: str = ""

    @property
    def backend(self) -> str:
        """The name of the backend, "" for other sections."""
        kind, _, rest = self.title.partition(" ")
        return rest.partition(" ")[0] if kind == "backend" else ""


class Rendered(msgspec.Struct, frozen=True):
    """All of it. Maps are ordered where the order matters, and looked up by key otherwise."""

    sections: tuple[Section, ...] = ()
    pages: Mapping[str, str] = {}
    maps: Mapping[str, Mapping[str, str]] = {}
    ordered_maps: Mapping[str, tuple[tuple[str, str], ...]] = {}
    placement: Placement = Placement()
    certificates: Mapping[str, Certificate] = {}

    @property
    def slots(self) -> Mapping[str, Slots]:
        return self.placement.slots


Texts = dict[str, tuple[object, object, str]]
"""What was made into text, and the text: by the title of a section or the name of a map."""


def files(rendered: Rendered, texts: Texts | None = None) -> dict[str, str]:
    """File name → text: HAProxy started on these is as if it had been told everything while it ran.

    `texts` are remembered from one time to the next, for what is still the same.
    """
    texts = {} if texts is None else texts
    found = {CONFIG: "".join(_remembered_section(section, rendered, texts) for section in rendered.sections)}
    found |= rendered.pages
    for name, entries in rendered.maps.items():
        found[name] = _remembered_map(name, entries, texts)
    for name, ordered in rendered.ordered_maps.items():
        found[name] = _map(ordered)
    found[CRT_LIST] = "".join(f"{_listed_as(cert)}\n" for cert in _listed(rendered))
    for cert in rendered.certificates.values():
        found[certificate_file(cert.name)] = cert.pem
    return found


def certificate_file(name: str) -> str:
    """Where a certificate lies, and what it is called in the list and on the socket."""
    return f"certs/{name}.pem"


def authority_file(name: str) -> str:
    """Where the authority of a certificate's clients lies."""
    return f"certs/{name}.authority.crt"


def certificate_options(certificate: Certificate) -> str:
    """What stands between the file and the hosts; "" is nothing."""
    words = []
    if certificate.client_authority:
        words += [f"ca-file {authority_file(certificate.name)}", "verify optional"]
    if certificate.ciphers:
        words.append(f"ciphers {certificate.ciphers}")
    return f"[{' '.join(words)}]" if words else ""


def _listed_as(certificate: Certificate) -> str:
    words = (certificate_file(certificate.name), certificate_options(certificate), *certificate.hosts)
    return " ".join(word for word in words if word)


def _listed(rendered: Rendered) -> Iterator[Certificate]:
    return (cert for cert in rendered.certificates.values() if cert.hosts)


def _map(entries: tuple[tuple[str, str], ...]) -> str:
    return "".join(f"{key} {value}\n" for key, value in entries)


def _remembered_section(section: Section, rendered: Rendered, texts: Texts) -> str:
    slots = rendered.slots.get(section.backend)
    known = texts.get(section.title)
    if known is None or known[0] is not section or known[1] is not slots:
        known = texts[section.title] = (section, slots, _section(section, rendered))
    return known[2]


def _remembered_map(name: str, entries: Mapping[str, str], texts: Texts) -> str:
    known = texts.get(name)
    if known is None or known[0] is not entries:
        known = texts[name] = (entries, None, _map(tuple(entries.items())))
    return known[2]


def _section(section: Section, rendered: Rendered) -> str:
    lines = [section.title, *(f"  {line}" for line in section.lines)]
    for number, server in enumerate(rendered.slots.get(section.backend, ()), 1):
        lines.append(f"  server {_server(number, server)}{section.server_options}{'' if server else ' disabled'}")
    return "\n".join(lines) + "\n\n"


def _server(number: int, server: Server | None) -> str:
    return f"s{number} {socket_address(server or _NOWHERE)}"


def socket_address(server: Server) -> str:
    """Address and port; IPv6 in brackets."""
    return f"[{server.address}]:{server.port}" if ":" in server.address else f"{server.address}:{server.port}"
