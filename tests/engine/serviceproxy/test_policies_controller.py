"""The loop over caches that are filled by hand, with a packet filter in memory; and the gate that new pods wait at."""

import asyncio
from typing import Any

import pytest

from fairway.engine.serviceproxy.errors import NftablesError
from fairway.engine.serviceproxy.policies.controller import Policies
from fairway.engine.serviceproxy.policies.fake import FakeNftables
from fairway.engine.serviceproxy.policies.gate import Gate
from fairway.engine.serviceproxy.policies.ir import Direction, Isolation
from fairway.kube.api.config import Namespace
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.networkpolicies import NetworkPolicy
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import Pod
from fairway.kube.reconcile.cache import Cache


def raw_pod(name: str, address: str = "", *, app: str = "web", uid: str = "", phase: str = "Running") -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "uid": uid or name, "labels": {"app": app}}
    return {"metadata": metadata, "spec": {"containers": [{"name": "x"}]}, "status": {"podIP": address, "phase": phase}}


def raw_policy(name: str = "deny", app: str = "web") -> dict[str, Any]:
    spec = {"podSelector": {"matchLabels": {"app": app}}, "policyTypes": ["Ingress"]}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


class World:
    """Caches, a packet filter, a gate and the loop between them."""

    def __init__(self) -> None:
        self.policies: Cache[NetworkPolicy] = Cache(NetworkPolicy)
        self.pods: Cache[Pod] = Cache(Pod)
        self.namespaces: Cache[Namespace] = Cache(Namespace)
        self.nftables, self.gate = FakeNftables(), Gate()
        self.policies.apply(raw_policy())
        self.pods.apply(raw_pod("a", "10.42.0.3"))
        self.namespaces.apply({"metadata": {"name": "default", "labels": {"team": "red"}}})
        self.room = self.fresh()

    def fresh(self) -> Policies:
        return Policies(self.policies, self.pods, self.namespaces, self.nftables, 5.0, self.gate)

    @property
    def isolated(self) -> set[str]:
        return {address for direction, address in self.nftables.isolated if direction is Direction.INGRESS}

    async def knock(self, name: str, address: str, **more: Any) -> "asyncio.Task[None]":
        task = asyncio.create_task(self.gate.admit(decode(Pod, raw_pod(name, **more)), address))
        await asyncio.sleep(0)
        return task


@pytest.fixture
async def world() -> World:
    world = World()
    await world.room.once()
    return world


async def test_pods_policies_and_labels_come_and_go(world: World) -> None:
    assert world.isolated == {"10.42.0.3"} and world.nftables.loads == 1
    world.pods.apply(raw_pod("b", "10.42.0.4"))
    world.pods.apply(raw_pod("c", "10.42.0.5", app="db"))
    await world.room.once()
    assert world.isolated == {"10.42.0.3", "10.42.0.4"}
    world.pods.apply(raw_pod("c", "10.42.0.5"))
    world.pods.apply(raw_pod("a", "10.42.0.3", phase="Succeeded"))
    world.pods.remove(ObjectKey("default", "b"))
    await world.room.once()
    assert world.isolated == {"10.42.0.5"}
    world.policies.remove(ObjectKey("default", "deny"))
    await world.room.once()
    assert not world.isolated and world.nftables.loads == 1 and not world.nftables.bodies


async def test_a_new_life_adopts_what_is_in_force(world: World) -> None:
    await world.fresh().once()
    assert world.nftables.loads == 1 and not world.nftables.transactions


async def test_foreign_damage_is_healed(world: World) -> None:
    world.nftables.touch()
    await world.room.once()
    assert world.nftables.loads == 2 and world.isolated == {"10.42.0.3"}


async def test_a_failed_write_is_made_up_for(world: World) -> None:
    world.pods.apply(raw_pod("b", "10.42.0.4"))
    waiting = await world.knock("c", "10.42.0.5")
    world.nftables.failure = "no"
    with pytest.raises(NftablesError):
        await world.room.once()
    assert not waiting.done(), "nobody gets in before it is in force"
    world.nftables.failure = ""
    await world.room.once()
    await waiting
    assert world.isolated == {"10.42.0.3", "10.42.0.4", "10.42.0.5"}


async def test_a_newcomer_is_isolated_before_the_api_shows_its_address(world: World) -> None:
    world.pods.apply(raw_pod("b"))
    waiting = await world.knock("b", "10.42.0.4")
    assert not waiting.done()
    await world.room.once()
    await waiting
    assert world.isolated == {"10.42.0.3", "10.42.0.4"}
    world.pods.apply(raw_pod("b", "10.42.0.4"))
    await world.room.once()
    assert not world.gate.waiting() and world.isolated == {"10.42.0.3", "10.42.0.4"}


async def test_a_newcomer_that_changes_or_goes(world: World) -> None:
    world.pods.apply(raw_pod("b", app="db"))
    waiting = await world.knock("b", "10.42.0.4", app="db")
    await world.room.once()
    await waiting
    assert world.isolated == {"10.42.0.3"}
    world.pods.apply(raw_pod("b"))
    await world.room.once()
    assert world.isolated == {"10.42.0.3", "10.42.0.4"}
    world.pods.remove(ObjectKey("default", "b"))
    await world.room.once()
    assert world.isolated == {"10.42.0.3"} and not world.gate.waiting()


async def test_a_pod_with_a_new_sandbox_has_its_new_address(world: World) -> None:
    waiting = await world.knock("a", "10.42.0.9")
    await world.room.once()
    await waiting
    assert world.isolated == {"10.42.0.9"}


async def test_an_address_belongs_to_who_got_it_last(world: World) -> None:
    first = await world.knock("ghost", "10.42.0.9")
    second = await world.knock("db", "10.42.0.9", app="db")
    await world.room.once()
    await second
    assert world.isolated == {"10.42.0.3"}
    first.cancel()


async def test_pods_of_the_nodes_network_need_not_wait() -> None:
    raw = raw_pod("host")
    raw["spec"]["hostNetwork"] = True
    await Gate().admit(decode(Pod, raw), "10.42.0.1")


async def test_only_what_policies_can_see_is_looked_at(world: World) -> None:
    isolation = Isolation(Direction.INGRESS, "10.42.0.3")
    before = world.nftables.isolated[isolation]
    world.room.dirty.mark()
    await world.room.dirty.wait(0)
    status = {"podIP": "10.42.0.3", "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    world.pods.apply({**raw_pod("a", "10.42.0.3"), "status": status})
    world.namespaces.apply({"metadata": {"name": "default", "labels": {"team": "red"}, "annotations": {"x": "y"}}})
    await world.room.once()
    assert not world.nftables.transactions and world.nftables.isolated[isolation] == before
