"""The whole room with a real API server, real rules and real pods."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fairway.engine import serviceproxy
from fairway.engine.apiserver import ApiServer
from fairway.engine.apiserver import Config as ApiConfig
from fairway.kube.api.resource import ENDPOINT_SLICES, EVENTS, SERVICES
from fairway.kube.client.client import ApiClient
from fairway.toolkit.clock import SystemClock
from fairway.toolkit.http_client import HttpClient, unix_connector

pytestmark = pytest.mark.real
Raw = dict[str, Any]


def api_config(folder: Path) -> ApiConfig:
    return ApiConfig(state_dir=folder / "state", unix_socket=folder / "api.sock", kubelet_socket=folder / "none")


@pytest.fixture
async def api(network: None, tmp_path: Path) -> AsyncIterator[ApiServer]:
    server = ApiServer(api_config(tmp_path))
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def client(api: ApiServer, tmp_path: Path) -> AsyncIterator[ApiClient]:
    async with HttpClient(unix_connector(tmp_path / "api.sock"), host_header="localhost") as http:
        yield ApiClient(http)


@pytest.fixture
async def room(client: ApiClient) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(serviceproxy.run(client, serviceproxy.Config(verify_seconds=0.05), SystemClock()))
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def service(**spec: Any) -> Raw:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"ports": ports, **spec},
    }


def endpoint_slice(*addresses: str) -> Raw:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


async def answered(address: str, port: int, expected: str) -> None:
    """Return once every one of a few connections is answered by `expected` (a pod's address or an error's name)."""
    async with asyncio.timeout(60):
        while {await ask(address, port, 0.5) for _ in range(4)} != {expected}:
            await asyncio.sleep(0.005)


async def ask(address: str, port: int, seconds: float = 60) -> str:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            async with asyncio.timeout(seconds):
                await loop.sock_connect(sock, (address, port))
                return (await loop.sock_recv(sock, 100)).decode().split()[0]
        except (OSError, TimeoutError) as error:
            return type(error).__name__


async def test_a_service_without_a_selector_follows_its_hand_written_slice(
    client: ApiClient, room: Any, pods: Any
) -> None:
    created = await client.create(SERVICES, service(type="NodePort"))
    address = created["spec"]["clusterIP"]
    node_port = created["spec"]["ports"][0]["nodePort"]
    await answered(address, 80, "ConnectionRefusedError")
    await client.create(ENDPOINT_SLICES, endpoint_slice(pods[0].address))
    await answered(address, 80, pods[0].address)
    await answered("10.42.0.1", node_port, pods[0].address)
    await client.apply(ENDPOINT_SLICES, endpoint_slice(pods[1].address), field_manager="test")
    await answered(address, 80, pods[1].address)
    await client.delete(SERVICES, "web", namespace="default")
    await answered(address, 80, "ConnectionRefusedError")


async def test_foreign_damage_is_healed(client: ApiClient, room: Any, pods: Any, foreign_nft: Any) -> None:
    address = (await client.create(SERVICES, service()))["spec"]["clusterIP"]
    await client.create(ENDPOINT_SLICES, endpoint_slice(pods[0].address))
    await answered(address, 80, pods[0].address)
    foreign_nft("flush ruleset")
    await answered(address, 80, pods[0].address)


async def test_the_rules_stay_while_the_api_and_the_room_are_away(
    api: ApiServer, client: ApiClient, room: Any, pods: Any, tmp_path: Path
) -> None:
    address = (await client.create(SERVICES, service()))["spec"]["clusterIP"]
    await client.create(ENDPOINT_SLICES, endpoint_slice(pods[0].address))
    await answered(address, 80, pods[0].address)
    await api.stop()
    assert await ask(address, 80) == pods[0].address
    room.cancel()
    await asyncio.gather(room, return_exceptions=True)
    assert await ask(address, 80) == pods[0].address
    again = asyncio.create_task(serviceproxy.run(client, serviceproxy.Config(), SystemClock()))
    await asyncio.sleep(0)
    assert await ask(address, 80) == pods[0].address, "an empty picture replaces nothing"
    back = ApiServer(api_config(tmp_path))
    await back.start()
    await client.apply(ENDPOINT_SLICES, endpoint_slice(pods[1].address), field_manager="test")
    await answered(address, 80, pods[1].address)
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)
    await back.stop()


async def test_a_taken_address_is_told_on_the_service(client: ApiClient, room: Any) -> None:
    first = service(externalIPs=["192.0.2.7"])
    await client.create(SERVICES, first)
    await client.create(SERVICES, {**first, "metadata": {"name": "web2", "namespace": "default"}})
    async with asyncio.timeout(60):
        while not (events := (await client.list(EVENTS, "default")).items):
            await asyncio.sleep(0.01)
    assert [(event["involvedObject"]["name"], event["reason"]) for event in events] == [("web2", "FrontendConflict")]
