"""What is remembered changes nothing: a chain of changes ends where a fresh start does."""

from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairway.edge.place import EMPTY, place
from fairway.edge.render import Options, render
from fairway.edge.render.entries import Entries
from fairway.edge.snapshot import Snapshot, of_manifests
from fairway.edge.sources import ByService, Ordered
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
        kept = tuple(known.get(msgspec.json.encode(one).decode(), one) for one in snapshot.ingresses)
        known = {msgspec.json.encode(one).decode(): one for one in kept}
        snapshot = msgspec.structs.replace(snapshot, ingresses=kept)
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


def bundles_of(translation: Translation) -> Any:
    return msgspec.structs.replace(Translation().secured, bundles=translation.bundles)


@NO_FIXTURE_RESET
@given(CHANGES)
def test_sources_are_in_the_order_of_a_snapshot(make: Any, changes: list[Any]) -> None:
    ingresses, slices = Cache(Ingress), Cache(EndpointSlice)
    ordered, by_service = Ordered(ingresses), ByService(slices)
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
        assert ordered.values() == expected.ingresses
        assert by_service.found == expected.slices
