"""The node controller when it starts beside what an earlier run left behind."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import controllers_world
from controllers_world import NODE, Cluster

from fairway.engine.controllers.caches import Caches
from fairway.engine.controllers.node.controller import LEASE_NAMESPACE
from fairway.engine.controllers.node.controller import run as run_nodes
from fairway.kube.api.meta import micro_timestamp
from fairway.kube.api.resource import LEASES, NODES
from fairway.kube.reconcile.reflector import run_reflectors, wait_synced
from fairway.toolkit.clock import FakeClock, SystemClock

NOT_READY = {"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": ""}


async def test_a_restart_taints_only_after_the_node_spoke(tmp_path: Path) -> None:
    async with controllers_world.cluster(tmp_path, with_controllers=False, node_speaks=False) as cluster:
        await cluster.client.patch(NODES, NODE, {"status": {"conditions": [NOT_READY]}}, subresource="status")
        lease = {"metadata": {"name": NODE, "namespace": LEASE_NAMESPACE}, "spec": {"renewTime": now()}}
        await cluster.client.create(LEASES, {"apiVersion": LEASES.api_version, "kind": "Lease", **lease})
        task = asyncio.create_task(room(cluster, FakeClock()))
        marker = {"metadata": {"labels": {"seen": "yes"}}}
        for _ in range(3):
            await cluster.client.patch(NODES, NODE, marker)
            assert await taints(cluster) == []

        async def speak() -> list[Any]:
            """Again and again, as nodes do: the first time may be before the controller listens."""
            await cluster.client.patch(LEASES, NODE, {"spec": {"renewTime": now()}}, namespace=LEASE_NAMESPACE)
            return await taints(cluster)

        await cluster.until(speak, lambda found: len(found) == 2, "tainted")
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def now() -> str:
    return micro_timestamp(SystemClock().now())


async def room(cluster: Cluster, clock: FakeClock) -> None:
    caches = Caches(cluster.client, SystemClock())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_reflectors(caches.nodes, caches.pods))
        await wait_synced(caches.nodes, caches.pods)
        await run_nodes(cluster.client, caches, clock)


async def taints(cluster: Cluster) -> list[Any]:
    found = await cluster.get(NODES, NODE)
    assert found is not None
    return list(found["spec"].get("taints") or ())
