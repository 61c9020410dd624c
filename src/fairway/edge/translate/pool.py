"""The backends that groups ask for, with their servers; only what changed is found again."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from fairway.edge.ir import Backend, Problem
from fairway.edge.snapshot import Snapshot
from fairway.edge.translate import backends, contents
from fairway.edge.translate.backends import Unresolved
from fairway.edge.translate.groups import Asked, Change
from fairway.edge.translate.references import ServiceRef
from fairway.kube.api.config import ConfigMap, Secret
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.services import EndpointSlice, Service


class Resolved(msgspec.Struct, frozen=True):
    """A backend, the objects that it was made of, and the reason and message of what is wrong with them."""

    made_of: tuple[object, ...]
    backend: Backend
    found_problems: tuple[tuple[str, str], ...] = ()


class Pool(msgspec.Struct, frozen=True):
    """Who asks for each backend, how many groups lead to it, and what it is; `backends` are in order of their names."""

    asked: Mapping[str, Asked] = {}
    uses: Mapping[str, int] = {}
    resolved: Mapping[str, Resolved] = {}
    backends: tuple[Backend, ...] = ()
    problems: tuple[Problem, ...] = ()
    services: Mapping[ObjectKey, Service] = {}
    slices: Mapping[ObjectKey, tuple[EndpointSlice, ...]] = {}
    secrets: Mapping[ObjectKey, Secret] = {}
    config_maps: Mapping[ObjectKey, ConfigMap] = {}

    def change(self, change: Change, snapshot: Snapshot) -> "Pool":
        """The pool after groups came and went and Services and their endpoints changed."""
        asked, uses = dict(self.asked), dict(self.uses)
        for group in change.gone:
            _leave(asked, group.asked)
            _count(uses, group.used, -1)
        for group in change.new:
            _join(asked, group.asked)
            _count(uses, group.used, 1)
        same_objects = (
            snapshot.services == self.services
            and snapshot.slices == self.slices
            and snapshot.secrets == self.secrets
            and snapshot.config_maps == self.config_maps
        )
        known = self.resolved
        resolved = {
            name: known[name] if same_objects and name in known else _resolve(name, one, snapshot, known.get(name))
            for name, one in asked.items()
        }
        return Pool(
            asked=asked,
            uses=uses,
            resolved=resolved,
            backends=tuple(resolved[name].backend for name in sorted(uses)),
            problems=tuple(dict.fromkeys(_problems(asked, resolved))),
            services=snapshot.services,
            slices=snapshot.slices,
            secrets=snapshot.secrets,
            config_maps=snapshot.config_maps,
        )


def _leave(asked: dict[str, Asked], leaving: Mapping[str, Asked]) -> None:
    for name, one in leaving.items():
        gone = set(one.owners)
        owners = tuple(owner for owner in asked[name].owners if owner not in gone)
        if owners:
            asked[name] = msgspec.structs.replace(asked[name], owners=owners)
        else:
            del asked[name]


def _join(asked: dict[str, Asked], joining: Mapping[str, Asked]) -> None:
    for name, one in joining.items():
        known = asked.get(name)
        asked[name] = one if known is None else msgspec.structs.replace(known, owners=known.owners + one.owners)


def _count(uses: dict[str, int], names: Iterable[str], step: int) -> None:
    for name in names:
        uses[name] = uses.get(name, 0) + step
        if not uses[name]:
            del uses[name]


def _resolve(name: str, asked: Asked, snapshot: Snapshot, known: Resolved | None) -> Resolved:
    made_of = tuple(_objects(asked, snapshot))
    if known is not None and made_of == known.made_of:
        return known
    profile, problems = contents.fill(asked.profile, snapshot)
    found = tuple(("InvalidReference", message) for message in problems)
    try:
        servers = backends.servers(asked.ref, snapshot, virtual=asked.profile.virtual_address)
    except Unresolved as error:
        servers, found = (), (*found, (error.reason, str(error)))
    if not servers and asked.profile.fallback:
        try:
            servers = backends.servers(ServiceRef(*asked.profile.fallback), snapshot)
        except Unresolved as error:
            found = (*found, (error.reason, f"default-backend: {error}"))
    return Resolved(made_of, Backend(name, servers, profile), found)


def _objects(asked: Asked, snapshot: Snapshot) -> Iterator[object]:
    """Everything that the backend is made of; the same objects make the same backend."""
    references = [asked.ref, *([ServiceRef(*asked.profile.fallback)] if asked.profile.fallback else [])]
    for reference in references:
        key = ObjectKey(reference.namespace, reference.name)
        yield snapshot.services.get(key)
        yield snapshot.slices.get(key, ())
    secrets, maps = contents.needs(asked.profile)
    yield from (snapshot.secrets.get(key) for key in secrets)
    yield from (snapshot.config_maps.get(key) for key in maps)


def _problems(asked: Mapping[str, Asked], resolved: Mapping[str, Resolved]) -> Iterator[Problem]:
    for name, one in resolved.items():
        for reason, message in one.found_problems:
            for owner in asked[name].owners:
                yield Problem(owner, reason, message)
