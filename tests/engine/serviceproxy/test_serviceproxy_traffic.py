"""Real packets between real namespaces."""

import socket
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fairway.engine.serviceproxy import ir
from fairway.engine.serviceproxy.config import Config
from fairway.engine.serviceproxy.ir import ANY_LOCAL, Backend, Frontend, Pool, Ruleset
from fairway.engine.serviceproxy.nftables import KernelNftables
from fairway.engine.serviceproxy.plan import NoChange, plan

pytestmark = pytest.mark.real

ADDRESS = "10.96.0.5"
WEB = Frontend(ADDRESS, "tcp", 80)
UDP = Frontend(ADDRESS, "udp", 80)
NODE = Frontend(ANY_LOCAL, "tcp", 30080)


class Proxy:
    """A ruleset in force, changed the way the loop changes it."""

    def __init__(self) -> None:
        self.kernel = KernelNftables(Config())
        self.applied: Ruleset | None = None

    async def set(self, pools: dict[Frontend, Pool]) -> None:
        wanted = ir.ruleset(pools)
        if self.applied is None:
            await self.kernel.load(wanted)
        elif not isinstance(changes := plan(self.applied, wanted), NoChange):
            await self.kernel.apply(changes)
        self.applied = wanted


@pytest.fixture
async def proxy(network: None) -> AsyncIterator[Proxy]:
    proxy = Proxy()
    yield proxy
    proxy.kernel.close()


def pool(pods: Any, affinity_seconds: int = 0) -> Pool:
    return ir.pool([Backend(pod.address, 8080) for pod in pods], affinity_seconds)


def ask_from_node(address: str, port: int) -> str:
    try:
        with socket.create_connection((address, port), timeout=60) as connection:
            return connection.recv(100).decode()
    except OSError as error:
        return type(error).__name__


async def test_a_service_spreads_over_its_pods(proxy: Proxy, pods: Any, outside: Any) -> None:
    await proxy.set({WEB: pool(pods)})
    from_pod = Counter(outside.ask(ADDRESS, 80).split()[0] for _ in range(60))
    from_node = Counter(ask_from_node(ADDRESS, 80).split()[0] for _ in range(60))
    addresses = {pod.address for pod in pods}
    assert from_pod.keys() == from_node.keys() == addresses


async def test_pods_see_the_true_client(proxy: Proxy, pods: Any, outside: Any) -> None:
    await proxy.set({WEB: pool(pods[:1])})
    assert outside.ask(ADDRESS, 80) == f"{pods[0].address} {outside.address}"
    assert ask_from_node(ADDRESS, 80) == f"{pods[0].address} 10.42.0.1"


async def test_a_pod_reaches_itself_through_its_service(proxy: Proxy, pods: Any) -> None:
    await proxy.set({WEB: pool(pods[:1]), UDP: pool(pods[:1])})
    for kind in ("tcp", "udp"):
        assert pods[0].ask(ADDRESS, 80, kind).split()[0] == pods[0].address


async def test_refused_at_once_without_endpoints_or_service(proxy: Proxy, outside: Any) -> None:
    await proxy.set({WEB: Pool(), UDP: Pool(), Frontend("192.0.2.7", "tcp", 80): Pool()})
    for address, port in ((ADDRESS, 80), (ADDRESS, 81), ("10.96.77.77", 443), ("192.0.2.7", 80)):
        assert outside.ask(address, port) == "ConnectionRefusedError"
    assert outside.ask(ADDRESS, 80, "udp") == "ConnectionRefusedError"
    assert ask_from_node(ADDRESS, 80) == "ConnectionRefusedError"
    assert ask_from_node("10.96.77.77", 443) == "ConnectionRefusedError"


async def test_node_ports_and_external_addresses(proxy: Proxy, pods: Any, outside: Any) -> None:
    await proxy.set({NODE: pool(pods), Frontend("192.0.2.7", "tcp", 80): pool(pods[1:2])})
    assert outside.ask("10.42.0.1", 30080).split()[0] in {pod.address for pod in pods}
    assert ask_from_node("10.42.0.1", 30080).split()[0] in {pod.address for pod in pods}
    assert outside.ask("192.0.2.7", 80).split()[0] == pods[1].address
    assert outside.ask("10.42.0.1", 30081) == "ConnectionRefusedError"


@pytest.mark.parametrize("place", [(WEB, ADDRESS, 80), (NODE, "10.42.0.1", 30080)], ids=["cluster ip", "node port"])
async def test_affinity_holds_through_scaling(proxy: Proxy, pods: Any, outside: Any, place: Any) -> None:
    frontend, address, port = place

    def favourite() -> str:
        seen = {outside.ask(address, port).split()[0] for _ in range(12)}
        assert len(seen) == 1
        return str(seen.pop())

    await proxy.set({frontend: pool(pods, 60)})
    chosen = favourite()
    kept = [pod for pod in pods if pod.address == chosen]
    await proxy.set({frontend: pool(kept, 60)})
    assert favourite() == chosen
    await proxy.set({frontend: pool(pods, 60)})
    assert favourite() == chosen
    others = [pod for pod in pods if pod.address != chosen]
    await proxy.set({frontend: pool(others, 60)})
    assert favourite() in {pod.address for pod in others}


async def test_a_udp_flow_leaves_a_removed_endpoint_only_after_the_clean_up(
    proxy: Proxy, pods: Any, outside: Any
) -> None:
    await proxy.set({UDP: pool(pods[:1])})
    assert outside.ask(ADDRESS, 80, "udp", 20001).split()[0] == pods[0].address
    await proxy.set({UDP: pool(pods[1:2])})
    assert outside.ask(ADDRESS, 80, "udp", 20001).split()[0] == pods[0].address, "the kernel keeps the flow"
    assert proxy.applied is not None
    assert await proxy.kernel.forget_stale_flows(proxy.applied) == 1
    assert outside.ask(ADDRESS, 80, "udp", 20001).split()[0] == pods[1].address
    assert await proxy.kernel.forget_stale_flows(proxy.applied) == 0, "a good flow stays"


async def test_flows_of_a_deleted_node_port_are_forgotten(proxy: Proxy, pods: Any, outside: Any) -> None:
    port = Frontend(ANY_LOCAL, "udp", 30053)
    await proxy.set({port: pool(pods[:1])})
    assert outside.ask("10.42.0.1", 30053, "udp", 20002).split()[0] == pods[0].address
    await proxy.set({})
    assert proxy.applied is not None
    assert await proxy.kernel.forget_stale_flows(proxy.applied, frozenset({port})) == 1
    assert outside.ask("10.42.0.1", 30053, "udp", 20002) == "ConnectionRefusedError"
