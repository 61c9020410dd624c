"""A machine that runs short: thresholds, order and words as tables; then a kubelet that ends pods and images."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kubelet_tables import ago, pod, runs, seen
from kubelet_world import SECONDS, World, api, ready

from fairway.engine.kubelet.eviction import plan
from fairway.engine.kubelet.eviction.images import ImageCollector
from fairway.engine.kubelet.eviction.plan import Met
from fairway.engine.kubelet.eviction.snapshot import Amount, ContainerUsage, PodUsage, Signals
from fairway.engine.kubelet.fakes import FakeImages
from fairway.engine.kubelet.plan import PodActions, Stop, plan_pod
from fairway.engine.kubelet.snapshot import Verdict
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import NODES
from fairway.toolkit.clock import SystemClock

MI, GI = 1 << 20, 1 << 30
PLENTY = Signals(
    memory=Amount(8 * GI, 16 * GI), disk=Amount(50 * GI, 100 * GI), inodes=Amount(900, 1000), pids=Amount(900, 1000)
)
HARD = {"nodefs.available": "5%", "memory.available": "100Mi", "nodefs.inodesFree": "5%", "unheard.of": "1"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"memory": Amount(99 * MI, GI)}, ["memory.available"]),
        ({"disk": Amount(4 * GI, 100 * GI)}, ["nodefs.available"]),
        ({"inodes": Amount(49, 1000)}, ["nodefs.inodesFree"]),
        ({"inodes": Amount(0, 0)}, []),
        ({"disk": Amount(0, 100), "memory": Amount(0, 100)}, ["memory.available", "nodefs.available"]),
    ],
)
def test_thresholds(changes: dict[str, Amount], expected: list[str]) -> None:
    found = plan.met(HARD, msgspec.structs.replace(PLENTY, **changes))
    assert [each.signal for each in found] == expected


def using(name: str, memory: int = 0, disk: int = 0, *, priority: int = 0, **resources: Any) -> PodUsage:
    body = {
        "metadata": {"name": name},
        "spec": {"priority": priority, "containers": [{"name": "app", "resources": resources}]},
    }
    return PodUsage(pod=decode(Pod, body), containers=(ContainerUsage("app", memory, disk),))


MEMORY = Met("memory.available", "memory", "memory", 100 * MI, 45 * MI)
DISK = Met("nodefs.available", "disk", "ephemeral-storage", 5 * GI, GI)


@pytest.mark.parametrize(
    ("short", "pods", "expected"),
    [
        pytest.param(MEMORY, (using("a", 10), using("b", 20)), "b", id="the larger"),
        pytest.param(
            MEMORY,
            (using("a", 2 * GI, requests={"memory": "4Gi"}), using("b", MI)),
            "b",
            id="above the request before large",
        ),
        pytest.param(MEMORY, (using("a", 9, priority=9), using("b", 5)), "b", id="low priority first"),
        pytest.param(MEMORY, (using("a", 9, priority=2_000_001_000),), "", id="critical pods stay"),
        pytest.param(DISK, (using("a", 9 * GI, 1), using("b", 1, 2)), "b", id="disk counts disk"),
        pytest.param(MEMORY, (), "", id="nobody"),
    ],
)
def test_order(short: Met, pods: tuple[PodUsage, ...], expected: str) -> None:
    found = plan.victim(short, pods)
    assert (found.pod.metadata.name if found else "") == expected


def test_words() -> None:
    found = plan.victim(MEMORY, (using("a", 300 * MI),))
    assert found is not None
    assert found.message == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 45Mi. "
        "Container app was using 300Mi, request is 0, has larger consumption of memory. "
    )
    assert [plan.amount_text(each) for each in (0, 1023, 1024, 1536, GI)] == ["0", "1023", "1Ki", "1536", "1Gi"]


def test_limits_of_disk() -> None:
    over = using("a", 0, 11 * MI, limits={"ephemeral-storage": "10Mi"})
    assert plan.over_limit(over).message == (
        "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. "
    )
    assert plan.over_limit(using("a", 0, 9 * MI, limits={"ephemeral-storage": "10Mi"})) is None
    volumes = {"volumes": [{"name": "cache", "emptyDir": {"sizeLimit": "1Mi"}}]}
    limited = PodUsage(pod=decode(Pod, {"spec": volumes}), empty_dirs={"cache": 2 * MI})
    assert plan.over_limit(limited).message == 'Usage of EmptyDir volume "cache" exceeds the limit "1Mi". '
    two = {"containers": [{"name": "a", "resources": {"limits": {"ephemeral-storage": "1Mi"}}}, {"name": "b"}]}
    single = PodUsage(pod=decode(Pod, {"spec": two}), containers=(ContainerUsage("a", 0, 2 * MI),))
    assert plan.over_limit(single).message == 'Container a exceeded its local ephemeral storage limit "1Mi". '


def test_an_evicted_pod_goes_down_and_stays_down() -> None:
    why = Verdict("Evicted", "low")
    assert plan_pod(pod(), seen(runs(), verdict=why)) == PodActions(
        stop=(Stop("app", "Stopping container app"),), winding_down=True
    )
    assert plan_pod(pod(), seen(sandbox=False, verdict=why)) == PodActions(winding_down=True)
    assert ago(0).tzinfo is UTC


class MovableClock(SystemClock):
    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment


async def test_images_go_the_longest_unused_first_and_never_one_in_use() -> None:
    images, clock = FakeImages(), MovableClock()
    used = {"one", "two", "three"}
    for name in ("one", "two", "three", "mine"):
        full = f"docker.io/library/{name}:latest"
        image = msgspec.structs.replace(await images.ensure(full, "Always"), origin="pulled", size_bytes=10)
        images.present[full] = image
    mine = "docker.io/library/mine:latest"
    images.present[mine] = msgspec.structs.replace(images.present[mine], origin="local")
    collector = ImageCollector(images, lambda: frozenset(used), clock)
    await collector.look()
    used.remove("two")
    clock.moment += timedelta(seconds=60)
    assert (await collector.free(100)).images == (), "too young"
    used.remove("one")
    clock.moment += timedelta(seconds=100)
    freed = await collector.free(10)
    assert freed.images == ("docker.io/library/two:latest",)
    assert (await collector.free(1000)).images == ("docker.io/library/one:latest",)
    assert set(images.present) == {mine, "docker.io/library/three:latest"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with api(tmp_path) as client:
        world = World(client, tmp_path)
        world.config = msgspec.structs.replace(world.config, eviction_period_seconds=0.05)
        world.signals = lambda: PLENTY
        yield world


async def test_a_short_node_says_so_and_ends_a_pod(world: World) -> None:
    low = False
    world.signals = lambda: msgspec.structs.replace(PLENTY, memory=Amount(45 * MI, GI)) if low else PLENTY
    async with world.kubelet():
        await world.create()
        await world.until(ready)
        low = True
        found = await world.until(lambda found: found["status"]["phase"] == "Failed")
        low = False
        status = found["status"]
        assert status["reason"] == "Evicted"
        assert status["message"].startswith("The node was low on resource: memory. Threshold quantity: 100Mi")
        target = next(each for each in status["conditions"] if each["type"] == "DisruptionTarget")
        assert (target["status"], target["reason"]) == ("True", "TerminationByKubelet")
        await world.until_event("Warning Evicted: The node was low on resource: memory")
        await world.until_event("Warning EvictionThresholdMet: Attempting to reclaim memory")
        async with asyncio.timeout(SECONDS):
            while True:
                node = await world.client.get(NODES, "fairway")
                kinds = {each["type"]: each["status"] for each in node["status"].get("conditions", ())}
                if kinds.get("MemoryPressure") == "True":
                    break
                await asyncio.sleep(0.02)
    async with world.kubelet():  # it stays over after a restart
        found = await world.pod()
        assert (found["status"]["phase"], found["status"]["reason"]) == ("Failed", "Evicted")
        assert not world.runtime.running("app")


async def test_a_full_disk_costs_images_before_pods(world: World) -> None:
    async def fill() -> None:
        image = await world.images.ensure("old", "Always")
        name = "docker.io/library/old:latest"
        world.images.present = {name: msgspec.structs.replace(image, reference=name, origin="pulled", size_bytes=GI)}

    await fill()
    full = msgspec.structs.replace(PLENTY, disk=Amount(1 * GI, 100 * GI))
    world.signals = lambda: full if "docker.io/library/old:latest" in world.images.present else PLENTY
    clock = MovableClock()
    collector = ImageCollector(world.images, frozenset, clock)
    await collector.look()
    clock.moment += timedelta(seconds=200)
    assert (await collector.free(1)).bytes == GI
    assert world.signals() is PLENTY


async def test_an_empty_dir_that_outgrows_its_limit_ends_its_pod(world: World) -> None:
    async with world.kubelet():
        volumes = [{"name": "cache", "emptyDir": {"sizeLimit": "64Ki"}}]
        created = await world.create(volumes=volumes)
        await world.create("other", volumes=volumes)
        await world.until(ready)
        await world.until(ready, "other")
        folder = world.config.pod_dir(created["metadata"]["uid"]) / "volumes" / "cache"
        (folder / "big").write_bytes(b"x" * 200_000)
        found = await world.until(lambda found: found["status"]["phase"] == "Failed")
        assert found["status"]["message"] == 'Usage of EmptyDir volume "cache" exceeds the limit "64Ki". '
        assert ready(await world.pod("other"))
