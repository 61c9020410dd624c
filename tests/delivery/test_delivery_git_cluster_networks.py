"""Where a cluster is, read from a real API: whatever its networks are, nothing is fetched from inside."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import controllers_world
import pytest

from fairway.delivery.git import SourceError
from fairway.delivery.git.cluster_networks import ClusterNetworks
from fairway.delivery.git.guard import Allowed, resolve
from fairway.kube.api.resource import NODES, SERVICES
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import Unreachable
from fairway.toolkit.clock import FakeClock


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[ApiClient]:
    async with controllers_world.cluster(tmp_path, with_controllers=False) as cluster:
        spec = {"podCIDR": "172.20.1.0/24", "podCIDRs": ["172.20.1.0/24", "fd77:1::/64"]}
        await cluster.client.create(NODES, {"metadata": {"name": "worker"}, "spec": spec})
        addresses = [{"type": "InternalIP", "address": "192.168.7.7"}, {"type": "Hostname", "address": "worker"}]
        await cluster.client.patch(NODES, "worker", {"status": {"addresses": addresses}}, subresource="status")
        service = {"clusterIP": "10.96.9.9", "ports": [{"port": 53}], "externalIPs": ["198.51.100.1"]}
        await cluster.client.create(
            SERVICES, {"metadata": {"name": "dns", "namespace": "default"}, "spec": service}, namespace="default"
        )
        yield cluster.client


@pytest.mark.parametrize(
    ("address", "refused"),
    [
        pytest.param("172.20.1.9", True, id="a pod"),
        pytest.param("172.20.2.9", False, id="a forge in a private network beside it"),
        pytest.param("[fd77:1::5]", True, id="a pod, IPv6"),
        pytest.param("192.168.7.7", True, id="a node"),
        pytest.param("192.168.7.8", False, id="a machine beside it"),
        pytest.param("10.96.9.9", True, id="a Service"),
        pytest.param("10.5.0.1", True, id="a network that was given"),
        pytest.param("198.51.100.1", False, id="an address for everybody"),
    ],
)
async def test_the_networks_of_this_cluster_count(client: ApiClient, address: str, refused: bool) -> None:
    allowed = Allowed(networks=ClusterNetworks(client, FakeClock(), ("10.5.0.0/16",)))
    if refused:
        with pytest.raises(SourceError, match="inside the cluster"):
            await resolve(f"https://{address}/team/app.git", allowed)
        there = Allowed(frozenset((address.strip("[]"),)), allowed.networks)
        assert (await resolve(f"https://{address}/team/app.git", there)).port == 443
    else:
        assert (await resolve(f"https://{address}/team/app.git", allowed)).addresses == (address,)


class Silent(ApiClient):
    """An API that has gone away."""

    def __init__(self) -> None:
        pass

    async def list(self, *arguments: Any, **more: Any) -> Any:
        raise Unreachable("the API does not answer")


async def test_without_knowing_where_the_cluster_is_nothing_is_fetched(client: ApiClient) -> None:
    with pytest.raises(SourceError, match="networks are cannot be told"):
        await resolve("https://192.0.2.1/x.git", Allowed(networks=ClusterNetworks(Silent(), FakeClock())))
    clock = FakeClock()
    networks = ClusterNetworks(client, clock)
    before = await networks()
    await clock.advance(120)
    networks._client = Silent()  # the same one later
    assert await networks() == before  # what was known goes on to count
