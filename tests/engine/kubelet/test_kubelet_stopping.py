"""The order and the times of a graceful end, on a clock that the test moves."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from fairway.engine.kubelet.fakes import FakeRuntime
from fairway.engine.kubelet.probes.check import Place
from fairway.engine.kubelet.rotation import INDEX, Rotation, pods_of
from fairway.engine.kubelet.runtime.model import ContainerSpec, ExecResult
from fairway.engine.kubelet.states import States
from fairway.engine.kubelet.stopping import Grace, Stopper, signal_number
from fairway.kube.api.meta import ObjectMeta
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import Container, Lifecycle, Pod
from fairway.kube.api.services import EndpointSlice
from fairway.kube.reconcile.cache import Cache
from fairway.toolkit.clock import FakeClock

POD = Pod(metadata=ObjectMeta(name="web", namespace="n", uid="u"))
OK = ExecResult(exit_code=0, stdout=b"", stderr=b"")


class Silence:
    """Events that nobody reads."""

    def warning(self, *words: Any, **more: Any) -> None:
        return


class Scene:
    """One running container and a record of what happened to it, with times."""

    def __init__(self, lifecycle: dict[str, Any] | None = None, *, stubborn: bool = False) -> None:
        self.clock = FakeClock()
        self.runtime = FakeRuntime(self.clock)
        self.states = States(self.runtime, self.clock)
        self.slices: Cache[EndpointSlice] = Cache(EndpointSlice, {INDEX: pods_of})
        self.happened: list[tuple[float, str]] = []
        self.runtime.on_signal = lambda _, number: self.note(signal.Signals(number).name)
        self.runtime.stubborn = {"app"} if stubborn else set()
        rotation = Rotation(self.slices, self.clock, 0.5)
        silence: Any = Silence()
        self.stopper = Stopper(self.runtime, self.states, rotation, silence, self.clock)
        container = Container(name="app", lifecycle=decode(Lifecycle, lifecycle) if lifecycle else None)
        self.place = Place(container=container, id="c", ip="127.0.0.1", version="v")

    def note(self, what: str) -> None:
        self.happened.append((round(self.clock.monotonic(), 2), what))

    def hook(self, id: str, args: tuple[str, ...]) -> ExecResult:
        self.note(args[0])
        return OK

    async def start(self, seconds: float, *, drain: bool = True) -> "asyncio.Task[None]":
        self.runtime.on_exec = self.hook
        folder = Path("/nowhere")
        spec = ContainerSpec(
            id="c",
            rootfs_layers=(),
            upper_dir="",
            work_dir="",
            merged_dir="",
            args=("app",),
            log_path=str(folder / "log"),
            state_path=str(folder / "state"),
            sandbox="s",
        )
        self.states.put(await self.runtime.start(spec))
        self.relisting = asyncio.create_task(self.states.run())
        self.grace = Grace(self.clock, seconds)
        return asyncio.create_task(self.stopper.stop(POD, self.place, "", self.grace, drain=drain))

    def publish(self, *, ready: bool, terminating: bool = False) -> None:
        conditions = {"ready": ready, "serving": True, "terminating": terminating}
        endpoint = {"addresses": ["127.0.0.1"], "conditions": conditions, "targetRef": {"uid": "u"}}
        self.slices.apply({"metadata": {"name": "s", "namespace": "n"}, "endpoints": [endpoint]})

    async def close(self) -> None:
        self.relisting.cancel()
        await asyncio.gather(self.relisting, return_exceptions=True)


async def test_a_pod_that_gets_no_traffic_is_told_at_once() -> None:
    scene = Scene()
    task = await scene.start(30)
    await scene.clock.advance(0.01)
    assert task.done() and scene.happened == [(0, "SIGTERM")]
    await scene.close()


async def test_the_signal_waits_for_the_rotation_and_a_drain_time() -> None:
    scene = Scene()
    scene.publish(ready=True)
    task = await scene.start(30)
    await scene.clock.advance(3)
    assert scene.happened == []
    scene.publish(ready=False, terminating=True)
    await scene.clock.advance(0.4)
    assert scene.happened == []
    await scene.clock.advance(0.2)
    assert task.done() and scene.happened == [(3.5, "SIGTERM")]
    await scene.close()


async def test_half_the_grace_period_is_the_most_that_rotation_may_take() -> None:
    scene = Scene(stubborn=True)
    scene.publish(ready=True)
    task = await scene.start(10)
    await scene.clock.advance(30)
    assert task.done() and scene.happened == [(5, "SIGTERM"), (10, "SIGKILL")]
    await scene.close()


async def test_the_hook_comes_before_the_signal_and_counts() -> None:
    scene = Scene({"preStop": {"exec": {"command": ["drain"]}}}, stubborn=True)
    task = await scene.start(4)
    for _ in range(5):
        await scene.clock.advance(0)  # the hook is several steps of the loop away from the signal
    await scene.clock.advance(10)
    assert task.done() and scene.happened == [(0, "drain"), (0, "SIGTERM"), (4, "SIGKILL")]
    await scene.close()


async def test_a_hook_that_takes_all_leaves_two_seconds_for_the_signal() -> None:
    scene = Scene({"preStop": {"sleep": {"seconds": 60}}}, stubborn=True)
    task = await scene.start(5)
    await scene.clock.advance(10)
    assert task.done() and scene.happened == [(5, "SIGTERM"), (7, "SIGKILL")]
    await scene.close()


async def test_no_grace_is_a_kill() -> None:
    scene = Scene()
    scene.publish(ready=True)
    task = await scene.start(0)
    await scene.clock.advance(0.01)
    assert task.done() and scene.happened == [(0, "SIGKILL")]
    await scene.close()


async def test_grace_can_be_cut_short() -> None:
    scene = Scene(stubborn=True)
    task = await scene.start(30)
    await scene.clock.advance(3)
    scene.grace.shorten(1)
    await scene.clock.advance(2)
    assert task.done() and [what for _, what in scene.happened] == ["SIGTERM", "SIGKILL"]
    await scene.close()


async def test_a_program_that_ends_during_the_drain_is_not_signalled() -> None:
    scene = Scene({"preStop": {"exec": {"command": ["drain"]}}})
    scene.publish(ready=True)
    task = await scene.start(30)
    await scene.clock.advance(1)
    scene.runtime.exit("c", 0)
    await scene.clock.advance(1)
    assert task.done() and scene.happened == []
    await scene.close()


@pytest.mark.parametrize(("name", "number"), [("", 15), ("SIGQUIT", 3), ("quit", 3), ("9", 9), ("SIGNONSENSE", 15)])
def test_stop_signals(name: str, number: int) -> None:
    assert signal_number(name) == number
