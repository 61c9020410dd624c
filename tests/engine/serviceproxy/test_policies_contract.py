"""What every packet filter for policies must do: the kernel's and the one in memory."""

from collections.abc import Iterator
from typing import Any

import pytest

from fairway.engine.serviceproxy.config import Config
from fairway.engine.serviceproxy.errors import NftablesError
from fairway.engine.serviceproxy.generations import Generations
from fairway.engine.serviceproxy.ir import Backend, Frontend, Pool
from fairway.engine.serviceproxy.ir import ruleset as pools
from fairway.engine.serviceproxy.nftables import KernelNftables as KernelProxy
from fairway.engine.serviceproxy.plan import SetPool
from fairway.engine.serviceproxy.policies import ir
from fairway.engine.serviceproxy.policies.fake import FakeNftables
from fairway.engine.serviceproxy.policies.ir import (
    Allow,
    Block,
    Direction,
    Either,
    Group,
    Isolation,
    Named,
    NameServer,
    Numbers,
    Rules,
    Ruleset,
)
from fairway.engine.serviceproxy.policies.nftables import KernelNftables, Nftables
from fairway.engine.serviceproxy.policies.plan import AddChain, NoChange, RemoveChain, plan

TABLE, NAME_SERVER = "fairway-policy", "10.42.0.1"
PODS, PORT = ir.peers_name("some"), ir.port_name("http", "TCP")
WEB, NAMES = Isolation(Direction.INGRESS, "10.42.0.3"), Isolation(Direction.EGRESS, "10.42.0.4")


def made(*rules: Rules, isolated: dict[Isolation, tuple[Rules, ...]]) -> Ruleset:
    chains: dict[str, Rules | Either] = {ir.rules_name(each): each for each in rules}
    names = {}
    for isolation, several in isolated.items():
        either = Either(isolation.direction, tuple(sorted(ir.rules_name(each) for each in several)))
        names[isolation] = ir.either_name(either)
        chains[names[isolation]] = either
    groups = {PODS: frozenset({"10.42.0.5", "10.42.0.6"}), PORT: frozenset({"10.42.0.3 . tcp . 8080"})}
    return ir.ruleset(chains, groups, names)


INTO_WEB = Rules(
    Direction.INGRESS,
    (
        Allow(Group(PODS), Named(PORT)),
        Allow(Block("10.0.0.0/8", ("10.1.0.0/16", "10.3.0.0/16")), Numbers("tcp", ((80, 80), (90, 99)))),
        Allow(None, Numbers("sctp")),
    ),
)
TO_NAMES = Rules(Direction.EGRESS, (Allow(NameServer(("udp",))), Allow(None, Numbers("udp", ((53, 53),)))))
NOTHING = Rules(Direction.INGRESS)
ALL = Rules(Direction.INGRESS, (Allow(),))
EMPTY = ir.ruleset({}, {}, {})
FULL = made(INTO_WEB, TO_NAMES, NOTHING, isolated={WEB: (INTO_WEB, NOTHING), NAMES: (TO_NAMES,)})
HALF = made(ALL, INTO_WEB, isolated={WEB: (ALL, INTO_WEB), Isolation(Direction.INGRESS, "10.42.0.4"): (INTO_WEB,)})


@pytest.fixture(params=["memory", pytest.param("kernel", marks=pytest.mark.real)])
def nftables(request: pytest.FixtureRequest) -> Iterator[Nftables]:
    if request.param == "memory":
        yield FakeNftables()
        return
    request.getfixturevalue("network")
    kernel = KernelNftables(TABLE, NAME_SERVER)
    yield kernel
    kernel.close()


async def test_nothing_is_in_force_at_first(nftables: Nftables) -> None:
    assert not nftables.untouched()
    assert await nftables.read() is None


async def test_what_was_loaded_can_be_read(nftables: Nftables) -> None:
    for wanted in (FULL, HALF, EMPTY):
        await nftables.load(wanted)
        assert nftables.untouched()
        assert await nftables.read() == wanted.wanted


async def test_changes_lead_from_any_ruleset_to_any_other(nftables: Nftables) -> None:
    await nftables.load(EMPTY)
    for before, after in ((EMPTY, FULL), (FULL, HALF), (HALF, FULL), (FULL, EMPTY), (EMPTY, HALF), (HALF, EMPTY)):
        changes = plan(before.wanted, after)
        assert not isinstance(changes, NoChange)
        await nftables.apply(changes)
        assert nftables.untouched()
        assert await nftables.read() == after.wanted


async def test_a_refused_change_changes_nothing(nftables: Nftables) -> None:
    await nftables.load(FULL)
    with pytest.raises(NftablesError):
        await nftables.apply((AddChain(ir.rules_name(ALL), ALL), RemoveChain(ir.rules_name(INTO_WEB))))
    assert await nftables.read() == FULL.wanted


async def test_a_change_without_a_table_is_refused(nftables: Nftables) -> None:
    with pytest.raises(NftablesError):
        await nftables.apply((AddChain(ir.rules_name(ALL), ALL),))


@pytest.mark.real
@pytest.mark.parametrize(
    "command",
    [
        "flush ruleset",
        f"delete table inet {TABLE}",
        f"flush chain inet {TABLE} egress-input",
        f"add rule inet {TABLE} genuine accept",
        f"flush chain inet {TABLE} {ir.rules_name(INTO_WEB)}",
        f"insert rule inet {TABLE} {FULL.wanted.isolated[WEB]} accept",
    ],
)
async def test_foreign_damage_is_seen(foreign_nft: Any, command: str) -> None:
    kernel = KernelNftables(TABLE, NAME_SERVER)
    await kernel.load(FULL)
    foreign_nft(command)
    assert not kernel.untouched()
    assert await kernel.read() is None
    await kernel.load(FULL)
    assert await kernel.read() == FULL.wanted
    kernel.close()


@pytest.mark.real
async def test_foreign_elements_are_read_back(foreign_nft: Any) -> None:
    kernel = KernelNftables(TABLE, NAME_SERVER)
    await kernel.load(FULL)
    foreign_nft(f"add element inet {TABLE} {PODS} {{ 10.42.9.9 }}")
    foreign_nft(f"delete element inet {TABLE} egress {{ 10.42.0.4 }}")
    found = await kernel.read()
    assert found is not None
    changes = plan(found, FULL)
    assert not isinstance(changes, NoChange) and len(changes) == 2
    await kernel.apply(changes)
    assert await kernel.read() == FULL.wanted
    kernel.close()


@pytest.mark.real
async def test_the_rules_outlive_their_writer_and_are_adopted(network: None) -> None:
    first = KernelNftables(TABLE, NAME_SERVER)
    await first.load(FULL)
    first.close()
    second, other = KernelNftables(TABLE, NAME_SERVER), KernelNftables(TABLE, "10.9.9.9")
    assert await second.read() == FULL.wanted
    assert await other.read() is None, "another name server is another layout"
    second.close()
    other.close()


@pytest.mark.real
async def test_two_writers_know_of_each_other_but_not_of_strangers(foreign_nft: Any) -> None:
    generations = Generations()
    policies, proxy = KernelNftables(TABLE, NAME_SERVER, generations), KernelProxy(Config(), generations)
    await policies.load(EMPTY)
    await proxy.load(pools({}))
    assert policies.untouched() and proxy.untouched()
    changes = plan(EMPTY.wanted, FULL)
    assert not isinstance(changes, NoChange)
    await policies.apply(changes)
    assert policies.untouched() and proxy.untouched()
    await proxy.apply((SetPool(Frontend("10.96.0.5", "udp", 53), None, Pool((Backend("10.42.0.3", 53),))),))
    assert policies.untouched() and proxy.untouched()
    foreign_nft("add table ip stranger")
    assert not policies.untouched() and not proxy.untouched()
    policies.close()
    proxy.close()
