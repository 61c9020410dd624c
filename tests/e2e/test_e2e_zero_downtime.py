"""Every planned and unplanned change under a continuous load through the domain: not one failed request."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import browse
import manifests
import pytest
from cluster import Cluster
from load import load

pytestmark = pytest.mark.real


@pytest.fixture
async def shop(fairway_cluster: Cluster) -> AsyncIterator[Cluster]:
    fairway_cluster.apply(manifests.web("shop", replicas=3))
    fairway_cluster.kubectl("rollout", "status", "deployment/shop", "--timeout=60s")
    browse.until(fairway_cluster, "shop.example.com", status=200)
    yield fairway_cluster
    fairway_cluster.kubectl("delete", "deployment,service,ingress,configmap", "--all", "--wait=true")


async def _kubectl(cluster: Cluster, *arguments: str) -> str:
    return await asyncio.to_thread(cluster.kubectl, *arguments)


async def _rolled_out(cluster: Cluster) -> None:
    await _kubectl(cluster, "rollout", "status", "deployment/shop", "--timeout=90s")


async def test_a_rolling_update_and_its_rollback(shop: Cluster) -> None:
    async with load(shop.target("shop.example.com")) as seen:
        await seen.more()
        await _kubectl(shop, "set", "env", "deployment/shop", "VERSION=v2")
        await _rolled_out(shop)
        await seen.more()
        await _kubectl(shop, "rollout", "undo", "deployment/shop")
        await _rolled_out(shop)
        await seen.more()
    assert seen.failures == []
    assert set(seen.bodies) == {b"v1 /", b"v2 /"}


async def test_scaling_up_and_down(shop: Cluster) -> None:
    async with load(shop.target("shop.example.com")) as seen:
        for replicas in (5, 1, 3):
            await _kubectl(shop, "scale", "deployment/shop", f"--replicas={replicas}")
            await _rolled_out(shop)
            await seen.more()
    assert seen.failures == []


async def test_a_pod_killed_without_warning(shop: Cluster) -> None:
    async with load(shop.target("shop.example.com")) as seen:
        await seen.more()
        async with asyncio.timeout(60):
            while len(servers := _server_pids(shop)) != 3:  # those of the test before are still leaving
                await asyncio.sleep(0.1)
        for pid in servers[:2]:
            os.kill(pid, signal.SIGKILL)
            await seen.more(100)
        async with asyncio.timeout(120):
            while sum((await asyncio.to_thread(_restarts, shop)).values()) < 2:
                await asyncio.sleep(0.1)
        await _kubectl(shop, "wait", "--for=jsonpath={.status.readyReplicas}=3", "deployment/shop", "--timeout=60s")
        await seen.more()
    assert seen.failures == []


async def test_a_change_of_the_edge(shop: Cluster) -> None:
    """New hosts, a new certificate-free TLS section, an annotation that needs a reload: others never notice."""
    async with load(shop.target("shop.example.com")) as seen:
        for number in range(5):
            other = manifests.web(f"other-{number}", replicas=0)
            await asyncio.to_thread(shop.apply, other)
        annotation = "nginx.ingress.kubernetes.io/proxy-read-timeout=30"
        await _kubectl(shop, "annotate", "ingress/other-1", annotation)
        await seen.more(200)
        await _kubectl(shop, "delete", "ingress/other-0", "ingress/other-2")
        await seen.more(200)
    assert seen.failures == []


async def test_the_engine_killed(shop: Cluster) -> None:
    """The engine only decides; bytes flow through HAProxy and the kernel: nobody notices that it is gone."""
    async with load(shop.target("shop.example.com")) as seen:
        await seen.more()
        before = _restarts(shop)
        os.kill(shop.engine_pid(), signal.SIGKILL)
        await seen.more(200)
        await _until_api_answers(shop)
        await seen.more(200)
        assert _restarts(shop) == before
        await _kubectl(shop, "set", "env", "deployment/shop", "VERSION=v3")
        await _rolled_out(shop)
        await seen.more()
    assert seen.failures == []
    assert b"v3 /" in seen.bodies


def _restarts(cluster: Cluster) -> dict[str, int]:
    """How often the container of each pod that stays was restarted."""
    return {
        pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["restartCount"]
        for pod in cluster.objects("pods", "-l", "app=shop")
        if "deletionTimestamp" not in pod["metadata"]
    }


async def _until_api_answers(cluster: Cluster) -> None:
    async with asyncio.timeout(60):
        while "ok" not in await asyncio.to_thread(cluster.kubectl, "get", "--raw", "/readyz", check=False):
            await asyncio.sleep(0.1)


def _server_pids(cluster: Cluster) -> list[int]:
    """Process ids on the host of the pods' servers, found by the cluster they belong to."""
    found = []
    engine = os.stat(f"/proc/{cluster.engine_pid()}/ns/pid").st_ino
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            environment = Path(f"/proc/{name}/environ").read_bytes()
            inside = os.stat(f"/proc/{name}/ns/pid").st_ino != engine
        except OSError:
            continue
        if b"/code/server.py" in words and b"VERSION=" in environment and inside:
            found.append(int(name))
    return found
