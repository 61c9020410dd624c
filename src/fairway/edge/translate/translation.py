"""A snapshot to the edge, with what is wrong in it.

What was the same in the snapshot before is not looked at again: the previous translation carries what was found then.
"""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import msgspec

from fairway.edge.ir import Edge, Problem
from fairway.edge.snapshot import Snapshot, precedence
from fairway.edge.translate import certificates, controller_config, groups, part
from fairway.edge.translate.certificates import Certificates
from fairway.edge.translate.classes import serves
from fairway.edge.translate.controller_config import ControllerConfig
from fairway.edge.translate.groups import Groups, Reading
from fairway.edge.translate.part import Part
from fairway.edge.translate.pool import Pool
from fairway.edge.translate.table_of_routes import TableOfRoutes
from fairway.kube.api.ingresses import Ingress, IngressClass
from fairway.kube.api.meta import ObjectKey
from fairway.toolkit.persistent_map import PersistentMap, differences, persistent


class Readings(msgspec.Struct, frozen=True):
    """Every Ingress that was looked at, and what was read from those that are ours."""

    classes: Mapping[str, IngressClass] = {}
    ingresses: Mapping[ObjectKey, Ingress] = {}
    served: PersistentMap[ObjectKey, Reading] = msgspec.field(default_factory=PersistentMap)
    problems: PersistentMap[ObjectKey, tuple[Problem, ...]] = msgspec.field(default_factory=PersistentMap)


class Translation(msgspec.Struct, frozen=True):
    """The edge; the rest is what the next translation falls back to, or need not find again."""

    edge: Edge = Edge()
    parts: Mapping[ObjectKey, Part] = {}
    readings: Readings = msgspec.field(default_factory=Readings)
    secured: Certificates = msgspec.field(default_factory=Certificates)
    groups: Groups = msgspec.field(default_factory=Groups)
    pool: Pool = msgspec.field(default_factory=Pool)
    config: ControllerConfig = ControllerConfig()

    @property
    def served(self) -> tuple[ObjectKey, ...]:
        """The Ingresses that are ours."""
        return tuple(self.readings.served)

    @property
    def bundles(self) -> Mapping[ObjectKey, str]:
        """The good content of the Secrets with certificates."""
        return self.secured.bundles

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All that is wrong."""
        read, shared, found = (chain.from_iterable(one.values()) for one in self._by_place)
        return (*read, *self.secured.problems, *shared, *found, *self.config.problems)

    @property
    def _by_place(self) -> tuple[Mapping[Any, tuple[Problem, ...]], ...]:
        return self.readings.problems, self.groups.problems, self.pool.problems

    @property
    def _others(self) -> tuple[tuple[Problem, ...], ...]:
        return self.secured.problems, self.config.problems


def changed_problems(before: Translation, after: Translation) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """Those that went and those that came; only what differs between the two is looked at."""
    gone: dict[Problem, None] = {}
    new: dict[Problem, None] = {}
    for was, now in _differing(before, after):
        gone |= dict.fromkeys(was)
        new |= dict.fromkeys(now)
    return tuple(one for one in gone if one not in new), tuple(one for one in new if one not in gone)


def _differing(before: Translation, after: Translation) -> Iterator[tuple[tuple[Problem, ...], tuple[Problem, ...]]]:
    for old, new in zip(before._by_place, after._by_place, strict=True):
        for pair in differences(old, new).values():
            yield pair.before or (), pair.after or ()
    yield from zip(before._others, after._others, strict=True)


EMPTY = Translation()


def translate(
    snapshot: Snapshot, previous: Translation = EMPTY, *, refused: Mapping[str, str] | None = None
) -> Translation:
    """Translate everything; an Ingress that cannot be translated keeps its last good translation from `previous`.

    `refused`: certificates (PEM text) that HAProxy would not take, and why.
    """
    readings, gone, new = _read(snapshot, previous)
    parts = _changed_parts(previous.parts, gone, new)
    secured = certificates.translate(gone, new, snapshot, previous.secured, refused or {})
    stale = groups.stale_hosts(previous.groups, previous.secured.names, secured.names)
    change = groups.change(previous.groups, gone, new, stale, secured.names)
    pool = previous.pool.change(change, snapshot)
    config = controller_config.read(snapshot, pool.guard)
    return Translation(
        edge=Edge(
            TableOfRoutes(change.groups.by_host),
            (*pool.backends, *config.backends),
            secured.served,
            passthroughs=tuple(chain.from_iterable(change.groups.passthroughs.values())),
            listeners=config.listeners,
            entrance=config.entrance,
        ),
        parts=parts,
        readings=readings,
        secured=secured,
        groups=change.groups,
        pool=pool,
        config=config,
    )


def _read(snapshot: Snapshot, previous: Translation) -> tuple[Readings, list[Reading], list[Reading]]:
    """All readings, those that went, and those that came."""
    known = previous.readings
    same_classes = snapshot.classes == known.classes
    before = known if same_classes else Readings()
    gone = [] if same_classes else list(known.served.values())
    served: dict[ObjectKey, Reading] = {}
    lost = []
    for key, pair in differences(before.ingresses, snapshot.ingresses).items():
        old = before.served.get(key)
        if pair.after is not None and serves(pair.after, snapshot):
            if old is not None and _says_the_same(pair.before, pair.after):
                continue
            served[key] = _reading(pair.after, previous.parts)
        else:
            lost.append(key)
        if old is not None:
            gone.append(old)
    problems = {key: reading.problems for key, reading in served.items() if reading.problems}
    readings = Readings(
        snapshot.classes,
        snapshot.ingresses,
        before.served.change(served, lost),
        before.problems.change(problems, (*lost, *served)),
    )
    return readings, gone, list(served.values())


def _says_the_same(before: Ingress, after: Ingress) -> bool:
    """Whether only such things changed that are not read, as the status."""
    return (
        before.spec == after.spec
        and before.metadata.annotations == after.metadata.annotations
        and precedence(before) == precedence(after)
    )


def _reading(ingress: Ingress, previous: Mapping[ObjectKey, Part]) -> Reading:
    key = ingress.metadata.key
    found, problems = part.read(ingress)
    if key in previous and any(problem.refused for problem in problems):
        found = previous[key]
        problems = tuple(_still_serving(problem) for problem in problems)
    return Reading(found, problems, precedence(ingress))


def _still_serving(problem: Problem) -> Problem:
    return msgspec.structs.replace(problem, message=f"{problem.message}; serving the last version that was right")


def _changed_parts(
    before: Mapping[ObjectKey, Part], gone: list[Reading], new: list[Reading]
) -> Mapping[ObjectKey, Part]:
    parts = {reading.part.owner: reading.part for reading in new}
    return persistent(before).change(parts, [reading.part.owner for reading in gone])
