"""The smallest change, and the script it becomes."""

import random

import pytest

from fairway.engine.serviceproxy import ir, render
from fairway.engine.serviceproxy.affinity import moving, statements
from fairway.engine.serviceproxy.fake import FakeNftables
from fairway.engine.serviceproxy.ir import ANY_LOCAL, Backend, Frontend, Pool, Ruleset
from fairway.engine.serviceproxy.listing import Client
from fairway.engine.serviceproxy.plan import NoChange, SetHairpin, SetPool, plan

WEB = Frontend("10.96.0.5", "tcp", 80)
NODE = Frontend(ANY_LOCAL, "tcp", 30080)
A, B, C = (Backend(f"10.42.0.{last}", 8080) for last in (3, 4, 5))


def rules(**pools: Pool) -> Ruleset:
    return ir.ruleset({{"web": WEB, "node": NODE}[name]: pool for name, pool in pools.items()})


EMPTY = ir.ruleset({})
ONE, TWO = Pool((A,)), Pool((A, B))


@pytest.mark.parametrize(
    ("applied", "wanted", "expected"),
    [
        pytest.param(rules(web=ONE), rules(web=Pool((A,))), NoChange(), id="equal values are no change"),
        pytest.param(
            EMPTY, rules(web=ONE), (SetPool(WEB, None, ONE), SetHairpin("10.42.0.3", True)), id="a new Service"
        ),
        pytest.param(
            rules(web=ONE), rules(web=TWO), (SetPool(WEB, ONE, TWO), SetHairpin("10.42.0.4", True)), id="scale up"
        ),
        pytest.param(
            rules(web=TWO, node=TWO),
            rules(web=ONE, node=TWO),
            (SetPool(WEB, TWO, ONE),),
            id="the hairpin stays while another pool has the address",
        ),
        pytest.param(
            rules(web=ONE), EMPTY, (SetPool(WEB, ONE, None), SetHairpin("10.42.0.3", False)), id="deleted Service"
        ),
    ],
)
def test_plan(applied: Ruleset, wanted: Ruleset, expected: object) -> None:
    assert plan(applied, wanted) == expected


def test_scaling_touches_only_the_verdict_and_the_new_backend() -> None:
    script = render.apply("fairway", (SetPool(WEB, ONE, TWO),), frozenset({"spread-2"}))
    assert script.splitlines() == [
        "delete element ip fairway services { 10.96.0.5 . tcp . 80 }",
        "add element ip fairway services { 10.96.0.5 . tcp . 80 : goto spread-2 }",
        "add element ip fairway backends { 10.96.0.5 . tcp . 80 . 1 : 10.42.0.4 . 8080 }",
    ]


def test_a_shared_chain_is_added_once() -> None:
    changes = (SetPool(WEB, None, ONE), SetPool(Frontend("10.96.0.6", "tcp", 80), None, ONE))
    script = render.apply("fairway", changes, frozenset())
    assert script.count("add chain ip fairway spread-1\n") == 1


def test_sticky_clients_stay_move_or_go() -> None:
    change = SetPool(WEB, Pool((A, B, C), 60), Pool((A, C), 60))
    clients = [Client(WEB, f"10.42.0.{n + 10}", n, 30) for n in range(3)]
    assert list(statements("fairway", clients, moving([change]))) == [
        "delete element ip fairway affinity { 10.96.0.5 . tcp . 80 . 10.42.0.11 }",
        "delete element ip fairway affinity { 10.96.0.5 . tcp . 80 . 10.42.0.12 }",
        "add element ip fairway affinity { 10.96.0.5 . tcp . 80 . 10.42.0.12 timeout 60s expires 30s : 1 }",
    ]


def test_a_pool_that_only_grows_at_its_end_moves_no_client() -> None:
    assert not moving([SetPool(WEB, Pool((A, B), 60), Pool((A, B, C), 60))])


async def test_any_walk_of_rulesets_is_followed_exactly() -> None:
    chance = random.Random(7)
    kernel, applied = FakeNftables(), EMPTY
    await kernel.load(applied)
    for _ in range(300):
        frontends = [Frontend(address, "tcp", port) for address in ("10.96.0.5", ANY_LOCAL) for port in (80, 81)]
        chosen = chance.sample(frontends, chance.randint(0, 4))
        backends = [Backend(f"10.42.0.{n}", 80) for n in range(2, 7)]
        pools = {f: ir.pool(chance.sample(backends, chance.randint(0, 4)), chance.choice((0, 60))) for f in chosen}
        wanted = ir.ruleset(pools)
        changes = plan(applied, wanted)
        if not isinstance(changes, NoChange):
            await kernel.apply(changes)
        assert kernel.ruleset == wanted
        assert plan(wanted, kernel.ruleset) == NoChange()
        applied = wanted
