"""What every packet filter must do: the kernel's and the one in memory."""

from collections.abc import Iterator
from typing import Any

import pytest

from fairway.engine.serviceproxy import ir
from fairway.engine.serviceproxy.config import Config
from fairway.engine.serviceproxy.errors import NftablesError
from fairway.engine.serviceproxy.fake import FakeNftables
from fairway.engine.serviceproxy.ir import ANY_LOCAL, Backend, Frontend, Pool, Ruleset
from fairway.engine.serviceproxy.nftables import KernelNftables, Nftables
from fairway.engine.serviceproxy.plan import NoChange, SetPool, plan

WEB = Frontend("10.96.0.5", "tcp", 80)
DNS = Frontend("10.96.0.10", "udp", 53)
NODE = Frontend(ANY_LOCAL, "tcp", 30080)
A, B, C = (Backend(f"10.42.0.{last}", 8080) for last in (3, 4, 5))
FULL = ir.ruleset(
    {
        WEB: Pool((A, B), 60),
        DNS: Pool((A,)),
        NODE: Pool((A, B, C)),
        Frontend(ANY_LOCAL, "udp", 30053): Pool((C,), 120),
        Frontend("10.96.0.7", "sctp", 9): Pool(),
        Frontend("192.0.2.1", "tcp", 80): Pool(tuple(Backend(f"10.42.1.{n}", 80) for n in range(40))),
    }
)


@pytest.fixture(params=["memory", pytest.param("kernel", marks=pytest.mark.real)])
def nftables(request: pytest.FixtureRequest) -> Iterator[Nftables]:
    if request.param == "memory":
        yield FakeNftables()
        return
    request.getfixturevalue("network")
    kernel = KernelNftables(Config())
    yield kernel
    kernel.close()


async def step(nftables: Nftables, before: Ruleset, after: Ruleset) -> None:
    changes = plan(before, after)
    assert not isinstance(changes, NoChange)
    await nftables.apply(changes)
    assert await nftables.read() == after


async def test_nothing_is_in_force_at_first(nftables: Nftables) -> None:
    assert not nftables.untouched()
    assert await nftables.read() is None


async def test_what_was_loaded_can_be_read(nftables: Nftables) -> None:
    await nftables.load(FULL)
    assert nftables.untouched()
    assert await nftables.read() == FULL


async def test_loading_replaces_everything(nftables: Nftables) -> None:
    await nftables.load(FULL)
    await nftables.load(ir.ruleset({DNS: Pool((B,))}))
    assert await nftables.read() == ir.ruleset({DNS: Pool((B,))})


async def test_changes_lead_from_any_ruleset_to_any_other(nftables: Nftables) -> None:
    empty = ir.ruleset({})
    half = ir.ruleset({WEB: Pool((B, C), 60), DNS: Pool(), NODE: Pool((C,))})
    await nftables.load(empty)
    for before, after in ((empty, FULL), (FULL, half), (half, FULL), (FULL, empty)):
        await step(nftables, before, after)
        assert nftables.untouched()


async def test_a_refused_change_changes_nothing(nftables: Nftables) -> None:
    await nftables.load(FULL)
    wrong = SetPool(Frontend("10.96.9.9", "tcp", 1), Pool((A,)), None)
    with pytest.raises(NftablesError):
        await nftables.apply((SetPool(DNS, Pool((A,)), Pool((B,))), wrong))
    assert await nftables.read() == FULL


async def test_a_change_without_a_table_is_refused(nftables: Nftables) -> None:
    with pytest.raises(NftablesError):
        await nftables.apply((SetPool(DNS, None, Pool((B,))),))


@pytest.mark.real
@pytest.mark.parametrize(
    "command",
    [
        "flush ruleset",
        "delete table ip fairway",
        "flush chain ip fairway dispatch",
        "add rule ip fairway translate drop",
        "delete element ip fairway backends { 10.96.0.5 . tcp . 80 . 1 }",
        "add element ip fairway backends { 10.96.0.5 . tcp . 80 . 9 : 10.42.0.9 . 1 }",
        "delete element ip fairway hairpin { 10.42.0.3 . 10.42.0.3 }",
    ],
)
async def test_foreign_damage_is_seen(foreign_nft: Any, command: str) -> None:
    kernel = KernelNftables(Config())
    await kernel.load(FULL)
    foreign_nft(command)
    assert not kernel.untouched()
    assert await kernel.read() is None
    await kernel.load(FULL)
    assert kernel.untouched()
    assert await kernel.read() == FULL
    kernel.close()


@pytest.mark.real
async def test_a_consistent_foreign_change_is_read_back(foreign_nft: Any) -> None:
    kernel = KernelNftables(Config())
    await kernel.load(FULL)
    foreign_nft("delete element ip fairway refused { 10.96.0.7 . sctp . 9 }")
    found = await kernel.read()
    assert found is not None
    assert plan(found, FULL) == (SetPool(Frontend("10.96.0.7", "sctp", 9), None, Pool()),)
    kernel.close()


@pytest.mark.real
async def test_the_rules_outlive_their_writer_and_are_adopted(network: None) -> None:
    first = KernelNftables(Config())
    await first.load(FULL)
    first.close()
    second = KernelNftables(Config())
    assert await second.read() == FULL
    assert second.untouched()
    second.close()


@pytest.mark.real
async def test_another_service_range_is_another_layout(network: None) -> None:
    first = KernelNftables(Config())
    await first.load(FULL)
    first.close()
    second = KernelNftables(Config(service_cidr="10.97.0.0/16"))
    assert await second.read() is None
    second.close()


@pytest.mark.real
async def test_a_big_change_takes_the_way_through_a_process(network: None) -> None:
    kernel = KernelNftables(Config())
    await kernel.load(ir.ruleset({}))
    backends = tuple(Backend(f"10.42.{n // 250}.{n % 250 + 1}", 80) for n in range(1000))
    many = ir.ruleset({Frontend(f"10.96.1.{n}", "tcp", 80): Pool(backends) for n in range(3)})
    await step(kernel, ir.ruleset({}), many)
    kernel.close()
