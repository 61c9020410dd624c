"""The whole room with a real API server, reached through its ClusterIP by way of the service proxy."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fairway.engine import dns, serviceproxy
from fairway.engine.apiserver import ApiServer
from fairway.engine.apiserver import Config as ApiConfig
from fairway.engine.dns import publish
from fairway.kube.api.resource import ENDPOINT_SLICES, SERVICES
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound
from fairway.toolkit.clock import SystemClock
from fairway.toolkit.http_client import HttpClient, unix_connector

pytestmark = pytest.mark.real
Dig = Callable[..., Awaitable[str]]


@pytest.fixture
async def client(network: None, tmp_path: Path) -> AsyncIterator[ApiClient]:
    path = tmp_path / "api.sock"
    server = ApiServer(ApiConfig(state_dir=None, unix_socket=path, kubelet_socket=tmp_path / "none"))
    await server.start()
    async with HttpClient(unix_connector(path), host_header="localhost") as http:
        yield ApiClient(http)
    await server.stop()


@pytest.fixture
async def rooms(client: ApiClient) -> AsyncIterator[None]:
    clock = SystemClock()
    tasks = (
        asyncio.create_task(dns.run(client, dns.Config(), clock)),
        asyncio.create_task(serviceproxy.run(client, serviceproxy.Config(), clock)),
    )
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


SOON = ("+time=3",)
"""For questions that are asked again: before the address is served nobody answers."""


async def until(call: Callable[[], Awaitable[Any]], wanted: Callable[[Any], bool]) -> Any:
    """What `call` gives, once it is what is wanted."""
    async with asyncio.timeout(60):
        while not wanted(found := await call()):
            await asyncio.sleep(0.005)
    return found


async def read(client: ApiClient, resource: Any) -> Any:
    try:
        return await client.get(resource, publish.NAME, publish.NAMESPACE)
    except NotFound:
        return None


async def published(client: ApiClient) -> None:
    await until(lambda: read(client, SERVICES), bool)
    await until(lambda: read(client, ENDPOINT_SLICES), bool)


async def test_names_are_found_at_the_cluster_ip(client: ApiClient, rooms: None, dig: Dig) -> None:
    await published(client)
    await until(
        lambda: dig(53, *SOON, "+short", "dns-version.cluster.local", "TXT", server="10.96.0.10"), lambda o: "1.1" in o
    )
    ports = [{"name": "http", "port": 80}]
    web = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"}}
    created = await client.create(SERVICES, {**web, "spec": {"ports": ports}})
    for transport in ("+tcp", "+notcp"):
        await until(
            lambda transport=transport: dig(  # type: ignore[misc]
                53, *SOON, "+short", transport, "web.default.svc.cluster.local", server="10.96.0.10"
            ),
            lambda output: output.split() == [created["spec"]["clusterIP"]],
        )
    await client.delete(SERVICES, "web", namespace="default")
    await until(lambda: dig(53, *SOON, "web.default.svc.cluster.local", server="10.96.0.10"), lambda o: "NXDOMAIN" in o)


async def test_the_objects_look_like_any_clusters(client: ApiClient, rooms: None) -> None:
    await published(client)
    service = await client.get(SERVICES, "kube-dns", "kube-system")
    assert service["spec"]["clusterIP"] == "10.96.0.10"
    assert [(port["name"], port["port"], port["protocol"]) for port in service["spec"]["ports"]] == [
        ("dns", 53, "UDP"),
        ("dns-tcp", 53, "TCP"),
    ]
    part = await client.get(ENDPOINT_SLICES, "kube-dns", "kube-system")
    assert part["endpoints"][0]["addresses"] == ["10.42.0.1"]


async def test_deleted_or_changed_objects_come_back_and_then_rest(client: ApiClient, rooms: None) -> None:
    await published(client)
    await client.delete(SERVICES, "kube-dns", namespace="kube-system")
    await until(lambda: read(client, SERVICES), bool)
    patch = {"endpoints": [{"addresses": ["10.42.0.99"], "conditions": {"ready": True}}]}
    await client.patch(ENDPOINT_SLICES, "kube-dns", patch, namespace="kube-system")
    healed = await until(
        lambda: read(client, ENDPOINT_SLICES), lambda part: part and part["endpoints"][0]["addresses"] == ["10.42.0.1"]
    )
    await client.patch(SERVICES, "kube-dns", {"metadata": {"annotations": {"a": "b"}}}, namespace="kube-system")
    for _ in range(50):
        await asyncio.sleep(0)
    assert (await read(client, ENDPOINT_SLICES))["metadata"]["resourceVersion"] == healed["metadata"]["resourceVersion"]
