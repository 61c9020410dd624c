"""A snapshot to the edge, with what is wrong in it.

What was the same in the snapshot before is not looked at again: the previous translation carries what was found then.
"""

from collections.abc import Mapping
from itertools import chain

import msgspec

from fairway.edge.ir import Edge, Problem
from fairway.edge.snapshot import Snapshot, precedence
from fairway.edge.translate import certificates, controller_config, groups, part
from fairway.edge.translate.certificates import Certificates
from fairway.edge.translate.classes import serves
from fairway.edge.translate.groups import Groups, Reading
from fairway.edge.translate.part import Part
from fairway.edge.translate.pool import Pool
from fairway.kube.api.ingresses import Ingress, IngressClass
from fairway.kube.api.meta import ObjectKey


class Readings(msgspec.Struct, frozen=True):
    """Every Ingress by identity (they are frozen), and what was read from those that are ours."""

    classes: Mapping[str, IngressClass] = {}
    ingresses: Mapping[int, Ingress] = {}
    served: Mapping[int, Reading] = {}
    problems: Mapping[int, tuple[Problem, ...]] = {}


class Translation(msgspec.Struct, frozen=True):
    """The edge and the problems; the rest is what the next translation falls back to, or need not find again."""

    edge: Edge = Edge()
    problems: tuple[Problem, ...] = ()
    served: tuple[ObjectKey, ...] = ()
    parts: Mapping[ObjectKey, Part] = {}
    bundles: Mapping[ObjectKey, str] = {}
    readings: Readings = Readings()
    secured: Certificates = Certificates((), {}, ())
    groups: Groups = Groups()
    pool: Pool = Pool()


EMPTY = Translation()


def translate(
    snapshot: Snapshot, previous: Translation = EMPTY, *, refused: Mapping[str, str] | None = None
) -> Translation:
    """Translate everything; an Ingress that cannot be translated keeps its last good translation from `previous`.

    `refused`: certificates (PEM text) that HAProxy would not take, and why.
    """
    readings, gone, new = _read(snapshot, previous)
    parts = _changed_parts(previous.parts, gone, new)
    secured = certificates.translate(readings.served.values(), snapshot, previous.secured, refused or {})
    stale = groups.stale_hosts(previous.groups, previous.secured.names, secured.names)
    change = groups.change(previous.groups, gone, new, stale, secured.names)
    pool = previous.pool.change(change, snapshot)
    by_host = change.groups.by_host
    routes = tuple(chain.from_iterable(by_host[host] for host in sorted(by_host)))
    config = controller_config.read(snapshot)
    return Translation(
        edge=Edge(
            routes,
            (*pool.backends, *config.backends),
            secured.served,
            passthroughs=tuple(chain.from_iterable(change.groups.passthroughs.values())),
            listeners=config.listeners,
            entrance=config.entrance,
        ),
        problems=(
            *chain.from_iterable(readings.problems.values()),
            *secured.problems,
            *chain.from_iterable(change.groups.problems.values()),
            *pool.problems,
            *config.problems,
        ),
        served=tuple(parts),
        parts=parts,
        bundles=secured.bundles,
        readings=readings,
        secured=secured,
        groups=change.groups,
        pool=pool,
    )


def _read(snapshot: Snapshot, previous: Translation) -> tuple[Readings, list[Reading], list[Reading]]:
    """All readings, those that went, and those that came."""
    same_classes = snapshot.classes == previous.readings.classes
    before = previous.readings if same_classes else Readings()
    ingresses = dict(zip(map(id, snapshot.ingresses), snapshot.ingresses, strict=True))
    served, problems = dict(before.served), dict(before.problems)
    gone = [] if same_classes else list(previous.readings.served.values())
    for number in before.ingresses.keys() - ingresses.keys():
        problems.pop(number, None)
        if reading := served.pop(number, None):
            gone.append(reading)
    new = []
    for number in [number for number in ingresses if number not in before.ingresses]:
        ingress = ingresses[number]
        if serves(ingress, snapshot):
            reading = _reading(ingress, previous.parts)
            served[number] = reading
            new.append(reading)
            if reading.problems:
                problems[number] = reading.problems
    return Readings(snapshot.classes, ingresses, served, problems), gone, new


def _reading(ingress: Ingress, previous: Mapping[ObjectKey, Part]) -> Reading:
    key = ingress.metadata.key
    found, problems = part.read(ingress)
    if key in previous and any(problem.refused for problem in problems):
        found = previous[key]
        problems = tuple(_still_serving(problem) for problem in problems)
    return Reading(ingress, found, problems, precedence(ingress))


def _still_serving(problem: Problem) -> Problem:
    return msgspec.structs.replace(problem, message=f"{problem.message}; serving the last version that was right")


def _changed_parts(
    before: Mapping[ObjectKey, Part], gone: list[Reading], new: list[Reading]
) -> Mapping[ObjectKey, Part]:
    if not gone and not new:
        return before
    parts = dict(before)
    for reading in gone:
        parts.pop(reading.part.owner, None)
    for reading in new:
        parts[reading.part.owner] = reading.part
    return parts
