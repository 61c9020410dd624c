"""What is remembered changes nothing: a chain of changes ends where a fresh start does."""

from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairway.edge.haproxy import encoded
from fairway.edge.place import EMPTY, Placement, place, pool_of
from fairway.edge.plan import (
    AddCertificate,
    AddEntries,
    AddServer,
    DeleteEntries,
    DisableServer,
    Observed,
    Plan,
    Reload,
    RemoveCertificate,
    ReplaceMap,
    RuntimeCommands,
    SetEntries,
    SetServer,
    plan,
)
from fairway.edge.proxy import expected
from fairway.edge.render import Options, Rendered, render
from fairway.edge.render.entries import Entries
from fairway.edge.snapshot import Snapshot, of_manifests
from fairway.edge.sources import ByService, Followed
from fairway.edge.translate import Translation, translate
from fairway.kube.api.ingresses import Ingress
from fairway.kube.api.services import EndpointSlice
from fairway.kube.reconcile.cache import Cache, key_of

HOSTS = ("a.test", "b.test", "c.test", "*.wild.test", "")
ANNOTATIONS: tuple[dict[str, str], ...] = (
    {},
    {"rewrite-target": "/$1", "use-regex": "true"},
    {"canary": "true", "canary-weight": "20"},
    {"proxy-read-timeout": "5"},
    {"upstream-vhost": "x.internal"},
    {"app-root": "/start"},
)
INGRESS = st.tuples(
    st.lists(st.tuples(st.sampled_from(HOSTS), st.sampled_from(("/", "/x"))), min_size=1, max_size=3, unique=True),
    st.sampled_from(("web", "api", "none")),
    st.sampled_from(ANNOTATIONS),
    st.booleans(),
)
CLUSTER = st.tuples(
    st.dictionaries(st.sampled_from(("i1", "i2", "i3", "i4", "i5")), INGRESS, max_size=5),
    st.sampled_from(((), (("10.0.0.1", 80),), (("10.0.0.1", 80), ("10.0.0.2", 80)))),
    st.booleans(),
)
CHANGES = st.lists(CLUSTER, min_size=2, max_size=6)
NO_FIXTURE_RESET = settings(
    max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


def manifests(make: Any, secret: dict[str, Any], cluster: Any) -> list[dict[str, Any]]:
    ingresses, addresses, secured = cluster
    found = []
    for name, (rules, service, annotations, tls) in ingresses.items():
        paths = [(host, path, "Prefix", service) for host, path in rules]
        more = {"tls": {"tls": ["a.test", "*.wild.test"]}} if tls else {}
        found.append(make.ingress(name, *paths, annotations=annotations, **more))
    return [*found, *make.service("web", *addresses), *make.service("api", ("10.0.0.9", 80)), *([secret] * secured)]


def same(first: Translation, second: Translation) -> bool:
    """But for the order of problems."""
    return (
        first.edge == second.edge
        and set(first.problems) == set(second.problems)
        and set(first.served) == set(second.served)
        and first.parts == second.parts
    )


BRIDGED: Any = {
    "i1": ([("a.test", "/")], "web", {}, False),
    "i2": ([("b.test", "/")], "web", {}, False),
    "i3": ([("a.test", "/"), ("c.test", "/")], "web", {}, False),
    "i5": ([("c.test", "/x"), ("b.test", "/x"), ("a.test", "/")], "web", ANNOTATIONS[1], True),
}


def test_an_ingress_that_joins_several_groups_loses_none(make: Any) -> None:
    translation = translate(of_manifests([*make.classes(), *manifests(make, {}, (BRIDGED, (), False))]))
    assert {route.owner.name for route in translation.edge.routes} >= set(BRIDGED)


@NO_FIXTURE_RESET
@given(CHANGES)
def test_translations_and_entries_that_remember_end_where_a_fresh_start_does(make: Any, changes: list[Any]) -> None:
    secret = make.secret("tls", "a.test", "*.wild.test")
    remembered, placement, entries = Translation(), EMPTY, Entries()
    known: dict[str, Ingress] = {}
    for cluster in changes:
        snapshot = of_manifests([*make.classes(), *manifests(make, secret, cluster)])
        kept = tuple(known.get(msgspec.json.encode(one).decode(), one) for one in snapshot.ingresses.values())
        known = {msgspec.json.encode(one).decode(): one for one in kept}
        snapshot = msgspec.structs.replace(snapshot, ingresses={one.metadata.key: one for one in kept})
        before = remembered
        remembered = translate(snapshot, before)
        # A fresh start knows what was good before, and nothing else.
        here = {one.metadata.key for one in kept}
        good = {key: part for key, part in before.parts.items() if key in here}
        fresh = translate(snapshot, Translation(parts=good, secured=bundles_of(before)))
        assert same(remembered, fresh)
        placement = place(remembered.edge, placement)
        options = Options(http="fd@3")
        quick = render(remembered.edge, placement, options, None, entries.of(remembered.groups.by_host, placement))
        slow = render(remembered.edge, placement, options)
        assert quick == slow


def without_memory(rendered: Rendered) -> Rendered:
    """As the next engine reads it from the disk: equal, but nothing in it is the same object."""
    return msgspec.json.decode(encoded(rendered), type=Rendered)


def told(before: Rendered, step: Plan) -> Observed:
    """What a HAProxy has that had `before` and is told the commands of a plan."""
    had = expected(before)
    maps = {name: dict(entries) for name, entries in had.maps.items()}
    servers, certificates = dict(had.servers), dict(had.certificates)
    for one in step.commands if isinstance(step, RuntimeCommands) else ():
        match one:
            case SetServer() | AddServer():
                servers[f"{one.backend}/s{one.slot}"] = (one.server.address, one.server.port)
            case DisableServer():
                del servers[f"{one.backend}/s{one.slot}"]
            case AddEntries() | SetEntries():
                assert all((key in maps[one.map]) == isinstance(one, SetEntries) for key in one.entries)
                maps[one.map] |= one.entries
            case DeleteEntries():
                maps[one.map] = {key: value for key, value in maps[one.map].items() if key not in one.keys}
            case ReplaceMap():
                maps[one.map] = dict(one.entries)
            case AddCertificate():
                certificates[one.certificate.name] = one.certificate.hosts
            case RemoveCertificate():
                del certificates[one.name]
    return Observed({name: tuple(sorted(entries.items())) for name, entries in maps.items()}, servers, certificates)


def seen(rendered: Rendered) -> Observed:
    """What it should have, in the same order."""
    wanted = expected(rendered)
    maps = {name: tuple(sorted(entries)) for name, entries in wanted.maps.items()}
    return Observed(maps, wanted.servers, wanted.certificates)


@NO_FIXTURE_RESET
@given(CHANGES, st.booleans())
def test_places_and_plans_that_remember_are_those_of_a_fresh_start(
    make: Any, changes: list[Any], dynamic: bool
) -> None:
    secret = make.secret("tls", "a.test", "*.wild.test")
    translation, entries, running = Translation(), Entries(), None
    options = Options(http="fd@3")
    for cluster in changes:
        snapshot = of_manifests([*make.classes(), *manifests(make, secret, cluster)])
        translation = translate(snapshot, translation)
        edge = translation.edge
        placement = place(edge, running.placement if running else EMPTY, dynamic=dynamic)
        afresh = without_memory(running) if running else None
        slow = place(edge, afresh.placement if afresh else EMPTY, dynamic=dynamic)
        assert by_pool(placement) == by_pool(slow)
        wanted = entries.of(translation.groups.by_host, placement)
        desired = render(edge, placement, options, running, wanted)
        assert desired == render(edge, placement, options)
        step = plan(running, desired)
        assert step == plan(afresh, desired)
        if running and not isinstance(step, Reload):
            assert told(running, step) == seen(desired)
        running = desired


def by_pool(placement: Placement) -> Any:
    """Everything that a place is; the order of spares counts within a pool only."""
    spare = sorted(placement.spare, key=pool_of)
    fields = (placement.names, placement.shapes, placement.slots, placement.tunings, placement.backends)
    return (*map(dict, fields), spare, placement.dynamic)


def bundles_of(translation: Translation) -> Any:
    """The certificates that were good, and which hosts they were shown for."""
    secured = translation.secured
    return msgspec.structs.replace(Translation().secured, bundles=secured.bundles, made=secured.made)


@NO_FIXTURE_RESET
@given(CHANGES)
def test_sources_are_as_a_snapshot(make: Any, changes: list[Any]) -> None:
    ingresses, slices = Cache(Ingress), Cache(EndpointSlice)
    followed, by_service = Followed(ingresses), ByService(slices)
    for number, cluster in enumerate(changes):
        raws = manifests(make, {}, (cluster[0], cluster[1], False))
        for raw in raws:
            if raw["kind"] == "Ingress":
                day = 1 + (int(raw["metadata"]["name"][1:]) * 3 + number) % 9
                raw["metadata"]["creationTimestamp"] = f"2026-01-0{day}T00:00:00Z"
        for cache, kind in ((ingresses, "Ingress"), (slices, "EndpointSlice")):
            wanted = [raw for raw in raws if raw["kind"] == kind]
            for key in set(cache.keys()) - {key_of(raw) for raw in wanted}:
                cache.remove(key)
            for raw in wanted:
                cache.apply(raw)
        expected: Snapshot = of_manifests(raws)
        assert followed.take() == expected.ingresses
        assert by_service.take() == expected.slices
