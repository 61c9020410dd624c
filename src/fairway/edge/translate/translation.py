"""A snapshot to the edge, with what is wrong in it."""

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from fairway.edge.ir import PLAIN, Backend, Edge, Problem, Profile, Route, Server
from fairway.edge.snapshot import Snapshot
from fairway.edge.translate import backends, certificates, part, routes
from fairway.edge.translate.backends import Unresolved
from fairway.edge.translate.classes import serves
from fairway.edge.translate.part import Part, ServiceRef
from fairway.kube.api.ingresses import Ingress
from fairway.kube.api.meta import ObjectKey


class Translation(msgspec.Struct, frozen=True):
    """The edge and the problems; the rest is what the next translation falls back to."""

    edge: Edge = Edge()
    problems: tuple[Problem, ...] = ()
    served: tuple[ObjectKey, ...] = ()
    parts: Mapping[ObjectKey, Part] = {}
    bundles: Mapping[ObjectKey, str] = {}


EMPTY = Translation()


def translate(
    snapshot: Snapshot, previous: Translation = EMPTY, *, refused: Mapping[str, str] | None = None
) -> Translation:
    """Translate everything; an Ingress that cannot be translated keeps its last good translation from `previous`.

    `refused`: certificates (PEM text) that HAProxy would not take, and why.
    """
    served = tuple(ingress for ingress in snapshot.ingresses if serves(ingress, snapshot))
    parts, problems = _parts(served, previous.parts)
    secured = certificates.translate(parts.values(), snapshot, previous.bundles, refused or {})
    pool = _Backends(snapshot)
    merged = routes.merge(tuple(parts.values()), pool.name, secured.cover)
    edge = Edge(merged.routes, pool.used(merged.routes), secured.served)
    return Translation(
        edge=edge,
        problems=(*problems, *secured.problems, *merged.problems, *pool.problems),
        served=tuple(parts),
        parts=parts,
        bundles=secured.bundles,
    )


def _parts(
    ingresses: Iterable[Ingress], previous: Mapping[ObjectKey, Part]
) -> tuple[dict[ObjectKey, Part], list[Problem]]:
    parts: dict[ObjectKey, Part] = {}
    problems: list[Problem] = []
    for ingress in ingresses:
        key = ingress.metadata.key
        parts[key], found = part.read(ingress)
        if key in previous and any(problem.refused for problem in found):
            parts[key] = previous[key]
            found = tuple(_still_serving(problem) for problem in found)
        problems += found
    return parts, problems


def _still_serving(problem: Problem) -> Problem:
    return msgspec.structs.replace(problem, message=f"{problem.message}; serving the last version that was right")


class _Backends:
    """The backends that were asked for, by name."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._found: dict[str, Backend] = {}
        self.problems: list[Problem] = []

    def name(self, ref: ServiceRef, asking: Part) -> str:
        """The name of the backend for a Service as a part wants it; made when it is new."""
        profile = asking.settings.profile
        name = str(ref) if profile == PLAIN else f"{ref}#{_digest(profile)}"
        self._found[name] = Backend(name, self._servers(ref, asking), profile)
        return name

    def used(self, found: Iterable[Route]) -> tuple[Backend, ...]:
        """The backends that routes lead to, in order of their names."""
        return tuple(self._found[name] for name in sorted(routes.backend_names(found)))

    def _servers(self, ref: ServiceRef, asking: Part) -> tuple[Server, ...]:
        try:
            return backends.servers(ref, self._snapshot)
        except Unresolved as error:
            problem = Problem(asking.owner, error.reason, str(error))
            if problem not in self.problems:
                self.problems.append(problem)
            return ()


def _digest(profile: Profile) -> str:
    return hashlib.sha256(msgspec.json.encode(profile)).hexdigest()[:10]
