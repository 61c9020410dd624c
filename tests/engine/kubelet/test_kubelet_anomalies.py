"""The engine dies at any step, the disk is full, the clock jumps, a container is bad, everybody comes at once."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kubelet_world import SECONDS, World, api, container, ready, restarts

from fairway.engine.kubelet.controller import run
from fairway.engine.kubelet.runtime import cgroups
from fairway.kube.api.resource import PODS
from fairway.toolkit import linux
from fairway.toolkit.clock import SystemClock


class Trap:
    """Stands in front of a part of the world: at one call the engine is as good as dead, before or after its effect."""

    def __init__(self, inner: Any, method: str, *, after: bool) -> None:
        self._inner = inner
        self._method = method
        self._after = after
        self.sprung = asyncio.Event()
        self.armed = True

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._sprung(found) if name == self._method and self.armed else found

    def _sprung(self, call: Any) -> Any:
        async def dying(*args: Any, **kwargs: Any) -> Any:
            if not self.armed:
                return await call(*args, **kwargs)
            self.armed = False
            if self._after:
                await call(*args, **kwargs)
            self.sprung.set()
            return await asyncio.Event().wait()  # until the engine is killed

        return dying


STEPS = [
    ("images", "ensure"),
    ("runtime", "create_sandbox"),
    ("network", "attach"),
    ("runtime", "start"),
]
ENDS = [("runtime", "signal"), ("runtime", "remove"), ("network", "detach"), ("runtime", "remove_sandbox")]
WHEN = pytest.mark.parametrize("after", [False, True], ids=["before", "after"])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with api(tmp_path) as client:
        yield World(client, tmp_path)


def trap(world: World, part: str, method: str, *, after: bool) -> Trap:
    made = Trap(getattr(world, part), method, after=after)
    setattr(world, part, made)
    return made


async def sprung(made: Trap) -> None:
    async with asyncio.timeout(SECONDS):
        await made.sprung.wait()


@WHEN
@pytest.mark.parametrize(("part", "method"), STEPS, ids=[f"{part}.{method}" for part, method in STEPS])
async def test_killed_while_a_pod_comes_up(world: World, part: str, method: str, after: bool) -> None:
    made = trap(world, part, method, after=after)
    init = [{"name": "side", "image": "side", "restartPolicy": "Always"}]
    async with world.kubelet():
        await world.create(initContainers=init)
        await sprung(made)
    async with world.kubelet():
        pod = await world.until(ready)
        assert restarts(pod) == 0 and restarts(pod, "side") == 0, pod["status"]
        assert len(world.runtime.running("app")) == len(world.runtime.running("side")) == 1
        assert len(world.runtime.sandboxes) == 1
        assert container(pod)["containerID"].endswith(world.only())


@WHEN
@pytest.mark.parametrize(("part", "method"), ENDS, ids=[f"{part}.{method}" for part, method in ENDS])
async def test_killed_while_a_pod_goes_down(world: World, part: str, method: str, after: bool) -> None:
    async with world.kubelet():
        await world.create(terminationGracePeriodSeconds=1)
        await world.until(ready)
    made = trap(world, part, method, after=after)
    async with world.kubelet():
        await world.client.delete(PODS, "web", namespace="default", grace_period_seconds=1)
        await sprung(made)
    async with world.kubelet():
        await world.until_gone()
        await nothing_left(world)


async def nothing_left(world: World) -> None:
    async with asyncio.timeout(SECONDS):
        while (
            world.runtime.states
            or world.runtime.sandboxes
            or world.network.attached
            or list((world.config.state_dir / "pods").glob("*"))
        ):
            await asyncio.sleep(0.01)


async def test_killed_between_crashes_counts_every_restart_once(world: World) -> None:
    async with world.kubelet():
        await world.create()
        await world.until(ready)
    world.runtime.exit(world.only(), 3)  # nobody looks
    async with world.kubelet():
        pod = await world.until(lambda pod: restarts(pod) == 1 and ready(pod))
        assert container(pod)["lastState"]["terminated"]["exitCode"] == 3


async def test_a_reboot_runs_everything_anew(world: World) -> None:
    async with world.kubelet():
        await world.create()
        await world.until(ready)
    world.runtime.lose_everything()
    world.network.attached.clear()
    async with world.kubelet():
        pod = await world.until(lambda pod: restarts(pod) == 1 and ready(pod))
        terminated = container(pod)["lastState"]["terminated"]
        assert (terminated["exitCode"], terminated["reason"]) == (255, "Unknown")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    linux.mount("tmpfs", str(place), "tmpfs", 0, "size=256k")
    yield place
    linux.umount(str(place), linux.MNT_DETACH)


@pytest.mark.real
async def test_a_full_disk_delays_pods_and_loses_none(small_disk: Path) -> None:
    async with api(small_disk.parent) as client:
        world = World(client, small_disk)
        async with world.kubelet():
            await world.create("first")
            await world.until(ready, "first")
            full = small_disk / "full"
            with full.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(b"x" * 4096)
                except OSError:
                    pass
            await world.create("second")
            await asyncio.sleep(0.5)
            assert not ready(await world.pod("second"))
            assert ready(await world.pod("first")) and len(world.runtime.running("app")) == 1
            full.unlink()
            await world.until(ready, "second")
            await world.client.delete(PODS, "first", namespace="default", grace_period_seconds=0)
            await world.until_gone("first")


class JumpingClock(SystemClock):
    """The wall clock of a machine that somebody sets; time that passes goes on as before."""

    def __init__(self) -> None:
        self.offset = timedelta()

    def now(self) -> datetime:
        return super().now() + self.offset


@pytest.mark.parametrize("jump", [timedelta(days=1), timedelta(days=-1)], ids=["ahead", "back"])
async def test_a_clock_that_jumps_neither_restarts_nor_holds_up_pods(world: World, jump: timedelta) -> None:
    clock = JumpingClock()
    arguments = {"runtime": world.runtime, "images": world.images, "network": world.network, "mounts": world.mounts}
    kubelet = asyncio.create_task(run(world.client, world.config, clock, **arguments))
    probe = {"exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 1}
    try:
        containers = [{"name": "app", "image": "app", "livenessProbe": probe, "readinessProbe": probe}]
        await world.create(containers=containers)
        await world.until(ready)
        clock.offset = jump
        world.runtime.exit(world.only(), 1)
        pod = await world.until(lambda pod: restarts(pod) == 1 and ready(pod))
        assert len(world.runtime.running("app")) == 1, pod["status"]
        await world.create("later")
        await world.until(ready, "later")
        async with asyncio.timeout(60):
            await world.client.delete(PODS, "web", namespace="default", grace_period_seconds=2)
            await world.until_gone()
    finally:
        kubelet.cancel()
        await asyncio.gather(kubelet, return_exceptions=True)


async def test_three_hundred_pods_at_once_come_and_go(world: World) -> None:
    names = [f"p{number}" for number in range(300)]
    async with world.kubelet():
        await asyncio.gather(*(world.create(name) for name in names))
        for name in names:
            await world.until(ready, name)
        assert len(world.runtime.running("app")) == 300
        assert len(set(world.network.attached.values())) == 300
        for name in names:
            await world.client.delete(PODS, name, namespace="default", grace_period_seconds=1)
        for name in names:
            await world.until_gone(name)
        await nothing_left(world)


@pytest.mark.real
def test_a_fork_bomb_stays_in_its_pod(node):
    async def body(node):
        layout = cgroups.Layout()
        if "pids" not in layout.enforced:
            return
        pod = f"fairway-test-{os.getpid()}-{node.folder.name}"
        limits = (None, None, None, 60)
        bomb = "bomb() { bomb | bomb & }; bomb; sleep 1000"
        await node.runtime.start(node.spec("bomb", "sh", "-c", bomb, cgroup=f"{pod}/bomb", pod_limits=limits))
        await node.runtime.start(node.spec("good", "sleep", "1000", cgroup=f"{pod}-other/good"))
        for _ in range(5):
            assert (await node.runtime.exec("good", ("true",))).exit_code == 0
        count = next(
            int(file.read_text()) for each in layout.folders(pod) if (file := Path(each) / "pids.current").exists()
        )
        assert count <= 60
        await node.runtime.signal("bomb", signal.SIGKILL)
        assert (await node.ended("bomb")).exit_code == 137
        for name in ("bomb", "good"):
            await node.runtime.remove(name)

    node(body)


@pytest.mark.real
def test_a_container_that_ignores_sigterm_is_killed(node):
    async def body(node):
        script = "trap '' TERM INT QUIT HUP; while :; do sleep 0.05; done"
        await node.runtime.start(node.spec("c", "sh", "-c", script))
        for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
            await node.runtime.signal("c", number)
        assert (await node.runtime.exec("c", ("true",))).exit_code == 0
        await node.runtime.signal("c", signal.SIGKILL)
        assert (await node.ended("c")).exit_code == 137

    node(body)
