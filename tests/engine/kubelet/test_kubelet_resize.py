"""Running containers get other limits when their pod is resized, as far as the node has them to give."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from kubelet_world import Raw, World, api, container, ready, restarts

from fairway.kube.api.resource import NODES, PODS
from fairway.kube.client.client import PatchType

SMALL = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "128Mi"}}
MEGABYTE = 1 << 20


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with api(tmp_path) as client:
        yield World(client, tmp_path)


def one(resources: Any = SMALL, **more: Any) -> Any:
    return [{"name": "app", "image": "app", "resources": resources, **more}]


async def resize(world: World, name: str = "web", **resources: Any) -> Raw:
    patch = {"spec": {"containers": [{"name": "app", "resources": resources}]}}
    return await world.client.patch(
        PODS, name, patch, namespace="default", subresource="resize", type=PatchType.STRATEGIC
    )


def resized(pod: Raw, kind: str, name: str, amount: str) -> bool:
    return container(pod).get("resources", {}).get(kind, {}).get(name) == amount


def pending(pod: Raw) -> str:
    found = [each for each in pod["status"]["conditions"] if each["type"] == "PodResizePending"]
    return f"{found[0]['reason']}: {found[0]['message']}" if found else ""


async def test_limits_change_while_the_container_runs(world: World) -> None:
    async with world.kubelet():
        await world.create(containers=one())
        first = await world.until(ready)
        running = world.only()
        await resize(world, requests={"cpu": "300m"}, limits={"cpu": "500m", "memory": "256Mi"})
        pod = await world.until(lambda pod: resized(pod, "limits", "cpu", "500m"))
        assert container(pod)["resources"] == pod["spec"]["containers"][0]["resources"]
        assert container(pod)["allocatedResources"] == {"cpu": "300m", "memory": "64Mi"}
        assert container(pod)["containerID"] == container(first)["containerID"] and restarts(pod) == 0
        spec = world.runtime.specs[running]
        assert (spec.memory_limit_bytes, spec.cpu_quota_us, spec.cpu_shares) == (256 * MEGABYTE, 50_000, 307)
        assert spec.pod_limits == (256 * MEGABYTE, 50_000, 307, None)
        pod = await world.until(lambda pod: pod["status"]["observedGeneration"] == 2)
        assert not [each for each in pod["status"]["conditions"] if each["type"].startswith("PodResize")]


async def test_a_container_that_wants_to_restarts_instead(world: World) -> None:
    policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    async with world.kubelet():
        await world.create(containers=one(resizePolicy=policy))
        await world.until(ready)
        await resize(world, limits={"memory": "100Mi"})
        pod = await world.until(lambda pod: restarts(pod) == 1 and ready(pod))
        assert resized(pod, "limits", "memory", "100Mi")
        assert world.runtime.specs[world.only()].memory_limit_bytes == 100 * MEGABYTE
        await world.until_event("Normal Killing: Container app resize requires restart")


async def test_more_than_the_node_has_is_infeasible(world: World) -> None:
    async with world.kubelet():
        await world.create(containers=one())
        await world.until(ready)
        await resize(world, requests={"cpu": "900"}, limits={"cpu": "900"})
        pod = await world.until(pending)
        assert pending(pod).startswith(
            "Infeasible: Node didn't have enough capacity: cpu, requested: 900000, capacity: "
        )
        assert container(pod)["allocatedResources"]["cpu"] == "100m"
        assert container(pod)["resources"]["limits"]["cpu"] == "200m"
        await resize(world, requests={"cpu": "150m"}, limits={"cpu": "300m"})
        pod = await world.until(lambda pod: resized(pod, "requests", "cpu", "150m"))
        assert not pending(pod)


async def test_what_others_use_is_deferred_until_they_are_gone(world: World) -> None:
    async with world.kubelet():
        await world.create(containers=one())
        await world.until(ready)
        node = await world.client.get(NODES, "fairway")
        cores = int(node["status"]["allocatable"]["cpu"])
        await world.create("other", containers=one({"requests": {"cpu": str(cores - 0.5), "memory": "64Mi"}}))
        await world.until(ready, "other")
        await resize(world, requests={"cpu": "600m"}, limits={"cpu": "600m"})
        pod = await world.until(pending)
        assert pending(pod).startswith("Deferred: Node didn't have enough resource: cpu, requested: 600, used: ")
        assert container(pod)["allocatedResources"]["cpu"] == "100m"


async def test_a_kubelet_that_starts_anew_knows_what_it_granted(world: World) -> None:
    async with world.kubelet():
        await world.create(containers=one())
        await world.until(ready)
        await resize(world, requests={"cpu": "900"}, limits={"cpu": "900"})
        await world.until(pending)
    async with world.kubelet():
        await world.client.patch(PODS, "web", {"metadata": {"labels": {"a": "b"}}}, namespace="default")
        await world.create("next", containers=one())
        await world.until(ready, "next")
        pod = await world.pod()
        assert pending(pod).startswith("Infeasible") and container(pod)["allocatedResources"]["cpu"] == "100m"
