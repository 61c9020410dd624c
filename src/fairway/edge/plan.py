"""The one place that decides what reaching a new configuration takes."""

import binascii
import hashlib
from collections.abc import Iterator, Mapping

import msgspec

from fairway.edge.ir import Certificate, Server
from fairway.edge.place import Slots
from fairway.edge.render.rendered import ROUTE_MAP, Rendered, Section
from fairway.toolkit.persistent_map import Difference, differences

_REASONS_LISTED = 5


class SetServer(msgspec.Struct, frozen=True):
    """Give a slot an address and let it take requests."""

    backend: str
    slot: int
    server: Server


class AddServer(msgspec.Struct, frozen=True):
    """A slot that HAProxy did not have, with its address; it takes requests. `options` are words of a server line."""

    backend: str
    slot: int
    server: Server
    options: str = ""


class DisableServer(msgspec.Struct, frozen=True):
    """Let a slot finish what it has and take nothing new."""

    backend: str
    slot: int


class AddEntries(msgspec.Struct, frozen=True):
    """New keys of a map."""

    map: str
    entries: Mapping[str, str]


class SetEntries(msgspec.Struct, frozen=True):
    """New values of keys that a map has."""

    map: str
    entries: Mapping[str, str]


class DeleteEntries(msgspec.Struct, frozen=True):
    """Keys that go."""

    map: str
    keys: tuple[str, ...]


class ReplaceMap(msgspec.Struct, frozen=True):
    """All entries of a map at once, in order."""

    map: str
    entries: tuple[tuple[str, str], ...]


class AddCertificate(msgspec.Struct, frozen=True):
    """A certificate and the hosts that it serves from now on."""

    certificate: Certificate


class ReplaceCertificate(msgspec.Struct, frozen=True):
    """New content for a certificate."""

    certificate: Certificate


class RemoveCertificate(msgspec.Struct, frozen=True):
    """A certificate that goes, with its hosts."""

    name: str


Command = (
    SetServer
    | AddServer
    | DisableServer
    | AddEntries
    | SetEntries
    | DeleteEntries
    | ReplaceMap
    | AddCertificate
    | ReplaceCertificate
    | RemoveCertificate
)


class Observed(msgspec.Struct, frozen=True):
    """What a HAProxy has, as far as it changes while it runs: entries of maps, addresses of servers, hosts by file.

    `fingerprints`: SHA-1 of the first certificate of those that were looked into, as `show ssl cert` says it.
    """

    maps: Mapping[str, tuple[tuple[str, str], ...]]
    servers: Mapping[str, tuple[str, int]]
    certificates: Mapping[str, tuple[str, ...]]
    fingerprints: Mapping[str, str] = {}

    def differs(self, wanted: "Observed") -> bool:
        """Whether this is not what it should be; a certificate that was not looked into is taken to be right."""
        if (self.maps, self.servers, self.certificates) != (wanted.maps, wanted.servers, wanted.certificates):
            return True
        return any(wanted.fingerprints.get(name) != found for name, found in self.fingerprints.items())


class NoChange(msgspec.Struct, frozen=True):
    """It is so already."""


class RuntimeCommands(msgspec.Struct, frozen=True):
    """What the running HAProxy is told, in this order."""

    commands: tuple[Command, ...]


class Reload(msgspec.Struct, frozen=True):
    """A new HAProxy takes over from the running one; why."""

    reasons: tuple[str, ...]


Plan = NoChange | RuntimeCommands | Reload


def plan(running: Rendered | None, desired: Rendered) -> Plan:
    """The least that makes `running` into `desired`; None is a HAProxy that does not run or whose state is unknown."""
    if running is None:
        return Reload(("nothing known is running",))
    if reasons := _reload_reasons(running, desired):
        return Reload(reasons)
    commands = tuple(_commands(running, desired))
    return RuntimeCommands(commands) if commands else NoChange()


def repair(running: Rendered, seen: Observed) -> Plan:
    """What makes a HAProxy that was found like `seen` into what it should be."""
    slots = {
        backend: tuple(_seen(seen, backend, number) for number in range(1, len(slots) + 1))
        for backend, slots in running.slots.items()
    }
    certificates = {name: _certificate(running, seen, name, hosts) for name, hosts in seen.certificates.items()}
    found = msgspec.structs.replace(
        running,
        maps={name: dict(seen.maps.get(name, ())) for name in running.maps},
        ordered_maps={name: seen.maps.get(name, ()) for name in running.ordered_maps},
        placement=msgspec.structs.replace(running.placement, slots=slots),
        certificates=certificates,
    )
    return plan(found, running)


def _certificate(running: Rendered, seen: Observed, name: str, hosts: tuple[str, ...]) -> Certificate:
    """The one that should be there if it is that one, else one that is like no other."""
    known = running.certificates.get(name)
    if known is None or known.hosts != hosts:
        return Certificate(name, "", hosts)
    found = seen.fingerprints.get(name)
    return known if found in (None, fingerprint(known)) else msgspec.structs.replace(known, pem="")


def fingerprint(certificate: Certificate) -> str:
    """SHA-1 of the first certificate of a PEM text, as HAProxy shows it; "" where there is none."""
    text = certificate.pem.partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END")[0]
    try:
        return hashlib.sha1(binascii.a2b_base64(text), usedforsecurity=False).hexdigest().upper() if text else ""
    except binascii.Error:
        return ""


def _seen(seen: Observed, backend: str, number: int) -> Server | None:
    address = seen.servers.get(f"{backend}/s{number}")
    return Server(*address) if address else None


def without_reload(running: Rendered, desired: Rendered) -> Rendered:
    """What of `desired` can be had at once: the servers of the backends that are there, as far as their slots go."""
    used = set(running.placement.names.values()) & desired.placement.shapes.keys()
    slots = {
        name: desired.slots.get(name, now)[: len(now)] if name in used else now for name, now in running.slots.items()
    }
    return msgspec.structs.replace(running, placement=msgspec.structs.replace(running.placement, slots=slots))


def _reload_reasons(running: Rendered, desired: Rendered) -> tuple[str, ...]:
    if running.sections == desired.sections and running.pages == desired.pages:
        return ()
    known = {id(section) for section in running.sections} & {id(section) for section in desired.sections}
    before, after = _by_title(running, known), _by_title(desired, known)
    reasons = [f"new {title}" for title in after.keys() - before.keys()]
    reasons += [f"no more {title}" for title in before.keys() - after.keys()]
    dynamic = desired.placement.dynamic
    reasons += [
        f"changed {title}" for title in after.keys() & before.keys() if _differs(before[title], after[title], dynamic)
    ]
    if running.pages != desired.pages:
        reasons.append("changed pages")
    reasons.sort()
    more = len(reasons) - _REASONS_LISTED
    return (*reasons[:_REASONS_LISTED], f"and {more} more") if more > 0 else tuple(reasons)


def _differs(before: Section, after: Section, dynamic: bool) -> bool:
    if before is after or before == after:
        return False
    grown = dynamic and before.slots < after.slots
    return not grown or msgspec.structs.replace(before, slots=after.slots) != after


def _by_title(rendered: Rendered, known: set[int]) -> dict[str, Section]:
    """The sections apart from those that both have."""
    return {
        section.title.removesuffix(" from edge"): section for section in rendered.sections if id(section) not in known
    }


def _commands(running: Rendered, desired: Rendered) -> Iterator[Command]:
    """What is new comes first, then the routes turn to it, then what is old goes."""
    yield from _new_certificates(running.certificates, desired.certificates)
    yield from _servers(running.slots, desired)
    for name in desired.ordered_maps:
        if running.ordered_maps.get(name) != desired.ordered_maps[name]:
            yield ReplaceMap(name, desired.ordered_maps[name])
    routes_last = sorted(desired.maps, key=lambda name: (name == ROUTE_MAP, name))
    changed = {name: differences(running.maps.get(name, {}), desired.maps[name]) for name in routes_last}
    for name in routes_last:
        yield from _grown(name, changed[name])
    for name in reversed(routes_last):
        if gone := [key for key, pair in changed[name].items() if pair.after is None]:
            yield DeleteEntries(name, tuple(sorted(gone)))
    yield from _drained(running.slots, desired.slots)
    for name in running.certificates.keys() - desired.certificates.keys():
        yield RemoveCertificate(name)


def _new_certificates(before: Mapping[str, Certificate], after: Mapping[str, Certificate]) -> Iterator[Command]:
    for name, certificate in after.items():
        if name not in before:
            yield AddCertificate(certificate)
        elif before[name] != certificate:
            yield ReplaceCertificate(certificate)


def _servers(before: Mapping[str, Slots], desired: Rendered) -> Iterator[Command]:
    if before is desired.slots:
        return
    for backend, pair in differences(before, desired.slots).items():
        known, slots = pair.before or (), pair.after or ()
        for number, server in enumerate(slots, 1):
            if number > len(known):
                if server is not None:
                    yield AddServer(backend, number, server, _server_options(desired, backend))
            elif server is not None and server != known[number - 1]:
                yield SetServer(backend, number, server)


def _server_options(desired: Rendered, backend: str) -> str:
    return next(section.server_options for section in desired.sections if section.backend == backend).strip()


def _drained(before: Mapping[str, Slots], after: Mapping[str, Slots]) -> Iterator[Command]:
    if before is after:
        return
    for backend, pair in differences(before, after).items():
        for number, (was, server) in enumerate(zip(pair.before or (), pair.after or (), strict=False), 1):
            if server is None and was is not None:
                yield DisableServer(backend, number)


def _grown(name: str, changed: Mapping[str, Difference]) -> Iterator[Command]:
    if added := {key: pair.after for key, pair in changed.items() if pair.before is None}:
        yield AddEntries(name, added)
    both = {key: pair for key, pair in changed.items() if pair.before is not None and pair.after is not None}
    if values := {key: pair.after for key, pair in both.items() if pair.before != pair.after}:
        yield SetEntries(name, values)
