"""A cluster's records in a few lines, and dig."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from fairway.engine.dns.records import SERVICE_INDEXES, SLICE_INDEXES, CacheRecords, Namespace
from fairway.kube.api.services import EndpointSlice, Service
from fairway.kube.reconcile.cache import Cache
from fairway.toolkit import linux

Dig = Callable[..., Awaitable[str]]


def service(name: str, cluster_ip: str, **spec: Any) -> dict[str, Any]:
    spec = {"clusterIP": cluster_ip, "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]} | spec
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


def endpoint_slice(name: str, endpoints: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    metadata = {"name": f"{name}-x", "namespace": "default", "labels": {"kubernetes.io/service-name": name}}
    ports = [{"name": "http", "port": 8080, "protocol": "TCP"}]
    return {"metadata": metadata, "addressType": "IPv4", "endpoints": endpoints, "ports": ports} | more


def endpoint(address: str, hostname: str = "", ready: bool = True) -> dict[str, Any]:
    return {"addresses": [address], "conditions": {"ready": ready}} | ({"hostname": hostname} if hostname else {})


SERVICES = (
    service("web", "10.96.0.5"),
    service(
        "both",
        "10.96.0.6",
        ports=[{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns", "port": 53, "protocol": "TCP"}],
    ),
    service("db", "None"),
    service("empty", "None"),
    service("outside", "", type="ExternalName", externalName="www.example.com"),
    service("inside", "", type="ExternalName", externalName="web.default.svc.cluster.local"),
    service("loop", "", type="ExternalName", externalName="loop.default.svc.cluster.local"),
    service("many", "None"),
)
SLICES = (
    endpoint_slice("web", [endpoint("10.42.0.3"), endpoint("10.42.0.4")]),
    endpoint_slice("db", [endpoint("10.42.0.7", "db-0"), endpoint("10.42.0.8"), endpoint("10.42.0.9", "db-2", False)]),
    endpoint_slice("empty", [endpoint("10.42.0.10", ready=False)]),
    endpoint_slice("many", [endpoint(f"10.42.7.{n}") for n in range(1, 101)]),
)


@pytest.fixture
def records() -> CacheRecords:
    services = Cache(Service, SERVICE_INDEXES)
    slices = Cache(EndpointSlice, SLICE_INDEXES)
    namespaces: Cache[Namespace] = Cache(Namespace)
    namespaces.apply({"metadata": {"name": "default"}})
    services.replace(SERVICES)
    slices.replace(SLICES)
    return CacheRecords(services, slices, namespaces)


@pytest.fixture(scope="session")
def dig() -> Dig:
    """The real client; installed when the machine lacks it."""
    if not shutil.which("dig"):
        command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "bind9-dnsutils"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    async def ask(port: int, *arguments: str, server: str = "127.0.0.1") -> str:
        options = (f"@{server}", "-p", str(port), "+time=60", "+tries=1", "+nocookie")
        process = await asyncio.create_subprocess_exec("dig", *options, *arguments, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        return output.decode()

    return ask


NODE = (
    "ip link set lo up",
    "ip link add node0 type bridge",
    "ip addr add 10.42.0.1/32 dev node0",
    "ip link set node0 up",
    "ip route add 10.96.0.0/16 dev node0",
)


@pytest.fixture
def network() -> Iterator[None]:
    """This thread, and what it starts, in a network namespace of its own that has the node's address."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    linux.unshare(linux.CLONE_NEWNET)
    try:
        for command in NODE:
            subprocess.run(command.split(), check=True)
        yield
    finally:
        linux.setns(home, linux.CLONE_NEWNET)
        os.close(home)
