"""What a change costs: nothing, a few commands, or a reload; and where everything is placed."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.edge.ir import PLAIN, Backend, Edge, Forward, Match, PathKind, Profile, Route, Server
from fairway.edge.place import EMPTY, SLOTS_LEAST, Placement, place
from fairway.edge.plan import (
    AddEntries,
    AddServer,
    DeleteEntries,
    DisableServer,
    NoChange,
    Reload,
    RuntimeCommands,
    SetEntries,
    SetServer,
    plan,
    without_reload,
)
from fairway.edge.render import Options, Rendered, render

ROUTES = "maps/route.map"
ONE, TWO, THREE = (Server(f"10.42.0.{number}", 8080) for number in (1, 2, 3))
SLOW = Profile(read_timeout_seconds=300)
NAMED = Profile(upstream_host="a.internal")
BOUNDED = "b663cd1f9855en0"  # the first backend of those with nothing but a limit on bodies and a timeout


def edge(
    servers: tuple[Server, ...] = (ONE,), *, profile: Profile = PLAIN, hosts: tuple[str, ...] = ("a.test",)
) -> Edge:
    name = f"default/web:80{'#slow' if profile != PLAIN else ''}"
    routes = tuple(Route(Match(host, "/", PathKind.PREFIX), Forward(name)) for host in hosts)
    return Edge(routes, (Backend(name, servers, profile),) if hosts else ())


def rendered(wanted: Edge, before: Rendered | None = None, **options: Any) -> Rendered:
    return render(wanted, place(wanted, before.placement if before else EMPTY), Options(http="fd@3", **options))


def changed(*commands: Any) -> RuntimeCommands:
    return RuntimeCommands(tuple(commands))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(edge(), edge(), NoChange(), id="the same changes nothing"),
        pytest.param(
            edge(),
            edge((TWO,)),
            changed(SetServer("p0", 2, TWO), DisableServer("p0", 1)),
            id="a pod that replaces another serves before the old one leaves",
        ),
        pytest.param(
            edge(),
            edge((ONE, TWO, THREE)),
            changed(SetServer("p0", 2, TWO), SetServer("p0", 3, THREE)),
            id="scaling up",
        ),
        pytest.param(
            edge((ONE, TWO)),
            edge(()),
            changed(SetEntries(ROUTES, {"a.test/": "u|p0||"}), DisableServer("p0", 1), DisableServer("p0", 2)),
            id="the last pods leave after the page took over",
        ),
        pytest.param(
            edge(()),
            edge((ONE,)),
            changed(SetServer("p0", 1, ONE), SetEntries(ROUTES, {"a.test/": "p0"})),
            id="the first pod serves before the page goes",
        ),
        pytest.param(
            edge(),
            edge(hosts=("a.test", "b.test")),
            changed(AddEntries(ROUTES, {"b.test/": "p0"})),
            id="a new host is an entry",
        ),
        pytest.param(
            edge(hosts=()),
            edge(),
            changed(SetServer("p0", 1, ONE), AddEntries(ROUTES, {"a.test/": "p0"})),
            id="a new service takes a spare backend, servers first",
        ),
        pytest.param(
            edge(),
            edge(hosts=()),
            changed(DeleteEntries(ROUTES, ("a.test/",)), DisableServer("p0", 1)),
            id="a host that goes, goes before its servers",
        ),
        pytest.param(
            edge(),
            edge(profile=SLOW),
            changed(
                SetServer("pt0", 1, ONE),
                AddEntries("maps/tuning.map", {"pt0.timeout": "300000"}),
                SetEntries(ROUTES, {"a.test/": "pt0"}),
                DisableServer("p0", 1),
            ),
            id="a timeout is an entry",
        ),
        pytest.param(
            edge(profile=msgspec.structs.replace(SLOW, body_bytes_max=8)),
            edge(profile=msgspec.structs.replace(SLOW, read_timeout_seconds=7, body_bytes_max=9)),
            changed(
                SetEntries("maps/tuning.map", {f"{BOUNDED}.timeout": "7000", f"{BOUNDED}.body": "9"}),
            ),
            id="timeouts and limits change where they are",
        ),
    ],
)
def test_plan(before: Edge, after: Edge, expected: Any) -> None:
    first = rendered(before)
    assert plan(first, rendered(after, first)) == expected


def test_nothing_running_or_known_is_a_reload() -> None:
    assert plan(None, rendered(edge())) == Reload(("nothing known is running",))


def test_other_settings_are_a_reload_with_the_reason() -> None:
    first = rendered(edge())
    assert plan(first, rendered(edge(), first, threads=2)) == Reload(("changed global",))


def test_reasons_are_few() -> None:
    after = rendered(Edge(backends=tuple(Backend(f"b{number}", (), NAMED) for number in range(16))))
    reasons = plan(rendered(Edge()), after)
    assert isinstance(reasons, Reload) and len(reasons.reasons) == 6 and reasons.reasons[-1] == "and 11 more"


def test_more_servers_than_slots_double_the_slots_and_meanwhile_as_many_as_fit_are_served() -> None:
    many = tuple(Server("10.42.0.9", port) for port in range(1, SLOTS_LEAST + 3))
    first = rendered(edge(many[:2]))
    after = rendered(edge(many), first)
    assert plan(first, after) == Reload(("changed backend p0",))
    assert len(after.slots["p0"]) == SLOTS_LEAST * 2
    bridge = without_reload(first, after)
    assert plan(first, bridge) == changed(SetServer("p0", 3, many[2]), SetServer("p0", 4, many[3]))


def test_what_nobody_uses_waits_for_the_next_reload() -> None:
    named = rendered(edge(profile=NAMED))
    plain = rendered(edge(), named)
    assert isinstance(plan(named, plain), RuntimeCommands)
    assert isinstance(plan(plain, rendered(edge(profile=NAMED), plain)), RuntimeCommands)
    other = rendered(edge(profile=msgspec.structs.replace(NAMED, upstream_host="b.internal")), plain)
    step = plan(plain, other)
    assert isinstance(step, Reload) and "and 3 more" in step.reasons
    assert len([name for name in other.placement.shapes if name.startswith("b")]) == 4


def test_the_second_service_with_the_same_annotations_costs_no_reload() -> None:
    def services(*names: str) -> Edge:
        return Edge(backends=tuple(Backend(name, (ONE,), NAMED) for name in names))

    first = rendered(services("a"))
    assert isinstance(plan(rendered(Edge()), first), Reload)
    second = rendered(services("a", "b", "c"), first)
    assert isinstance(plan(first, second), RuntimeCommands)
    third = rendered(services(*"abcdef"), second)
    assert isinstance(plan(second, third), Reload)
    assert len(third.placement.spare) - len(rendered(Edge()).placement.spare) == 2


def test_servers_are_added_where_haproxy_can() -> None:
    many = tuple(Server("10.42.0.9", port) for port in range(1, SLOTS_LEAST + 3))

    def step(wanted: Edge, before: Rendered | None = None) -> Rendered:
        placement = place(wanted, before.placement if before else EMPTY, dynamic=True)
        return render(wanted, placement, Options(http="fd@3"))

    first = step(edge(many[:4]))
    after = step(edge(many), first)
    assert plan(first, after) == changed(AddServer("p0", 5, many[4]), AddServer("p0", 6, many[5]))
    fewer = step(edge(many[:1]), after)
    assert len(fewer.slots["p0"]) == 6
    assert plan(fewer, step(edge(many), fewer)) == changed(*(SetServer("p0", n, many[n - 1]) for n in range(2, 7)))


def test_a_spare_backend_is_not_given_away_in_the_pass_that_frees_it() -> None:
    first = rendered(edge())
    other = Edge(backends=(Backend("default/other:80", (TWO,)),))
    assert rendered(other, first).placement.names == {"default/other:80": "p1"}


SERVERS = st.lists(st.sampled_from([Server("10.42.0.1", port) for port in range(1, 12)]), unique=True).map(tuple)
EDGES = st.dictionaries(st.sampled_from([f"n/s{number}:80" for number in range(8)]), SERVERS).map(
    lambda found: Edge(backends=tuple(Backend(name, servers) for name, servers in sorted(found.items())))
)


@given(st.lists(EDGES, min_size=1, max_size=8))
def test_every_server_has_one_slot_and_keeps_it(edges: list[Edge]) -> None:
    before = Placement()
    for wanted in edges:
        after = place(wanted, before)
        assert len(set(after.names.values())) == len(wanted.backends)
        assert not set(after.spare) & set(after.names.values())
        for backend in wanted.backends:
            name = after.names[backend.name]
            assert sorted(filter(None, after.slots[name])) == sorted(backend.servers)
            old = before.slots.get(name, ())
            kept = [index for index, server in enumerate(old) if server in backend.servers]
            assert all(after.slots[name][index] == old[index] for index in kept)
        assert all(len(after.slots[name]) == shape.slots for name, shape in after.shapes.items())
        assert place(wanted, after) == msgspec.structs.replace(after, spare=place(wanted, after).spare)
        before = after
