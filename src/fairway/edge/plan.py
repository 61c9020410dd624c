"""The one place that decides what reaching a new configuration takes."""

from collections.abc import Iterator, Mapping

import msgspec

from fairway.edge.ir import Certificate, Server
from fairway.edge.place import Slots
from fairway.edge.render.rendered import Rendered, Section

_REASONS_LISTED = 5


class SetServer(msgspec.Struct, frozen=True):
    """Give a slot an address and let it take requests."""

    backend: str
    slot: int
    server: Server


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
    | DisableServer
    | AddEntries
    | SetEntries
    | DeleteEntries
    | ReplaceMap
    | AddCertificate
    | ReplaceCertificate
    | RemoveCertificate
)


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


def without_reload(running: Rendered, desired: Rendered) -> Rendered:
    """What of `desired` can be had at once: the servers of the backends that are there, as far as their slots go."""
    used = set(running.placement.names.values())
    slots = {
        name: desired.slots.get(name, now)[: len(now)] if name in used else now for name, now in running.slots.items()
    }
    return msgspec.structs.replace(running, placement=msgspec.structs.replace(running.placement, slots=slots))


def _reload_reasons(running: Rendered, desired: Rendered) -> tuple[str, ...]:
    before, after = _by_title(running), _by_title(desired)
    reasons = [f"new {title}" for title in after.keys() - before.keys()]
    reasons += [f"no more {title}" for title in before.keys() - after.keys()]
    reasons += [f"changed {title}" for title in after.keys() & before.keys() if after[title] != before[title]]
    if running.pages != desired.pages:
        reasons.append("changed pages")
    reasons.sort()
    more = len(reasons) - _REASONS_LISTED
    return (*reasons[:_REASONS_LISTED], f"and {more} more") if more > 0 else tuple(reasons)


def _by_title(rendered: Rendered) -> dict[str, Section]:
    return {section.title.removesuffix(" from edge"): section for section in rendered.sections}


def _commands(running: Rendered, desired: Rendered) -> Iterator[Command]:
    """What is new comes first, then the routes turn to it, then what is old goes."""
    yield from _new_certificates(running.certificates, desired.certificates)
    yield from _servers(running.slots, desired.slots)
    for name in desired.ordered_maps:
        if running.ordered_maps.get(name) != desired.ordered_maps[name]:
            yield ReplaceMap(name, desired.ordered_maps[name])
    canary_first = sorted(desired.maps, key=lambda name: ("canary" not in name, name))
    for name in canary_first:
        yield from _grown(name, running.maps.get(name, {}), desired.maps[name])
    for name in reversed(canary_first):
        if gone := tuple(key for key in running.maps.get(name, {}) if key not in desired.maps[name]):
            yield DeleteEntries(name, gone)
    yield from _drained(running.slots, desired.slots)
    for name in running.certificates.keys() - desired.certificates.keys():
        yield RemoveCertificate(name)


def _new_certificates(before: Mapping[str, Certificate], after: Mapping[str, Certificate]) -> Iterator[Command]:
    for name, certificate in after.items():
        if name not in before:
            yield AddCertificate(certificate)
        elif before[name] != certificate:
            yield ReplaceCertificate(certificate)


def _servers(before: Mapping[str, Slots], after: Mapping[str, Slots]) -> Iterator[Command]:
    for backend, slots in after.items():
        if slots is before.get(backend):
            continue
        for number, server in enumerate(slots, 1):
            if server is not None and server != before[backend][number - 1]:
                yield SetServer(backend, number, server)


def _drained(before: Mapping[str, Slots], after: Mapping[str, Slots]) -> Iterator[Command]:
    for backend, slots in after.items():
        if slots is before.get(backend):
            continue
        for number, server in enumerate(slots, 1):
            if server is None and before[backend][number - 1] is not None:
                yield DisableServer(backend, number)


def _grown(name: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Command]:
    if added := {key: value for key, value in after.items() if key not in before}:
        yield AddEntries(name, added)
    if changed := {key: value for key, value in after.items() if before.get(key, value) != value}:
        yield SetEntries(name, changed)
