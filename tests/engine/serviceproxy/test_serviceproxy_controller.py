"""The loop over caches that are filled by hand, with a packet filter in memory."""

from typing import Any

import pytest

from fairway.engine.serviceproxy import ir
from fairway.engine.serviceproxy.config import Config
from fairway.engine.serviceproxy.controller import ServiceProxy, slice_index
from fairway.engine.serviceproxy.errors import NftablesError
from fairway.engine.serviceproxy.fake import FakeNftables
from fairway.engine.serviceproxy.ir import Backend, Frontend, Pool
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.services import EndpointSlice, Service
from fairway.kube.reconcile.cache import Cache
from fairway.toolkit.netlink_conntrack import Flow

WEB = Frontend("10.96.0.5", "tcp", 80)
DNS = Frontend("10.96.0.5", "udp", 53)


def service(name: str = "web", address: str = "10.96.0.5") -> dict[str, Any]:
    ports = [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    metadata = {"name": name, "namespace": "default", "uid": name}
    return {"metadata": metadata, "spec": {"clusterIP": address, "ports": ports}}


def endpoint_slice(*addresses: str, name: str = "web-1", service: str = "web") -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": service} if service else {}
    return {
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
        "ports": [{"name": "http", "port": 8080}, {"name": "dns", "port": 5353, "protocol": "UDP"}],
    }


class World:
    """Caches, a packet filter and the loop between them."""

    def __init__(self) -> None:
        self.services: Cache[Service] = Cache(Service)
        self.slices = Cache(EndpointSlice, {"service": slice_index})
        self.nftables = FakeNftables()
        self.proxy = self.fresh()

    def fresh(self) -> ServiceProxy:
        return ServiceProxy(self.services, self.slices, self.nftables, Config())

    @property
    def pools(self) -> dict[Frontend, Pool]:
        assert self.nftables.ruleset is not None
        return dict(self.nftables.ruleset.pools)


@pytest.fixture
async def world() -> World:
    world = World()
    world.services.apply(service())
    world.slices.apply(endpoint_slice("10.42.0.3"))
    await world.proxy.once()
    return world


async def test_the_first_pass_loads(world: World) -> None:
    assert world.nftables.loads == 1
    assert world.pools == {WEB: Pool((Backend("10.42.0.3", 8080),)), DNS: Pool((Backend("10.42.0.3", 5353),))}


async def test_a_burst_is_one_transaction(world: World) -> None:
    for count in range(2, 6):
        world.slices.apply(endpoint_slice(*(f"10.42.0.{n}" for n in range(3, 3 + count))))
    await world.proxy.once()
    assert len(world.nftables.transactions) == 1
    assert len(world.pools[WEB].backends) == 5


async def test_a_pass_without_a_change_writes_nothing(world: World) -> None:
    await world.proxy.once()
    assert (world.nftables.loads, world.nftables.transactions) == (1, [])


async def test_a_slice_that_moves_to_another_service(world: World) -> None:
    world.services.apply(service("api", "10.96.0.6"))
    world.slices.apply(endpoint_slice("10.42.0.3", service="api"))
    await world.proxy.once()
    assert world.pools[WEB] == Pool()
    assert world.pools[Frontend("10.96.0.6", "tcp", 80)] == Pool((Backend("10.42.0.3", 8080),))


async def test_a_slice_before_its_service(world: World) -> None:
    world.slices.apply(endpoint_slice("10.42.0.9", name="late-1", service="late"))
    await world.proxy.once()
    world.services.apply(service("late", "10.96.0.7"))
    await world.proxy.once()
    assert world.pools[Frontend("10.96.0.7", "tcp", 80)] == Pool((Backend("10.42.0.9", 8080),))


async def test_a_deleted_service_leaves_nothing(world: World) -> None:
    world.services.remove(ObjectKey("default", "web"))
    await world.proxy.once()
    assert world.nftables.ruleset == ir.ruleset({})


async def test_a_new_life_adopts_what_is_in_force(world: World) -> None:
    await world.fresh().once()
    assert (world.nftables.loads, world.nftables.transactions) == (1, [])


async def test_a_new_life_changes_only_what_changed_meanwhile(world: World) -> None:
    world.slices.apply(endpoint_slice("10.42.0.3", "10.42.0.4"))
    await world.fresh().once()
    assert world.nftables.loads == 1
    assert len(world.nftables.transactions) == 1


async def test_damage_is_mended_by_loading_and_drift_by_a_change(world: World) -> None:
    good = world.nftables.ruleset
    world.nftables.touch(None)
    await world.proxy.once()
    assert (world.nftables.loads, world.nftables.ruleset) == (2, good)
    world.nftables.touch(ir.ruleset({WEB: Pool()}))
    await world.proxy.once()
    assert (world.nftables.loads, world.nftables.ruleset) == (2, good)


async def test_after_a_failure_the_next_pass_catches_up(world: World) -> None:
    before = world.nftables.ruleset
    world.nftables.failure = "no"
    world.slices.apply(endpoint_slice("10.42.0.4"))
    with pytest.raises(NftablesError):
        await world.proxy.once()
    assert world.nftables.ruleset == before, "the last good rules stay"
    world.nftables.failure = ""
    await world.proxy.once()
    assert world.pools[WEB] == Pool((Backend("10.42.0.4", 8080),))


async def test_udp_flows_to_a_removed_endpoint_are_forgotten(world: World) -> None:
    old = Flow(17, "10.42.0.9", 2000, "10.96.0.5", 53, "10.42.0.3", 5353, b"")
    other = Flow(17, "10.42.0.9", 2000, "192.0.2.1", 53, "192.0.2.1", 53, b"")
    world.nftables.flows = [old, other]
    await world.proxy.once()
    assert world.nftables.flows == [old, other]
    world.slices.apply(endpoint_slice("10.42.0.4"))
    await world.proxy.once()
    assert world.nftables.flows == [other]


async def test_a_new_life_forgets_flows_that_the_earlier_one_left(world: World) -> None:
    world.nftables.flows = [Flow(17, "10.42.0.9", 2000, "10.96.0.5", 53, "10.42.0.77", 5353, b"")]
    await world.fresh().once()
    assert world.nftables.flows == []
