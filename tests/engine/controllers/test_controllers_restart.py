"""Controllers that end at any moment and start again: nothing is made twice, nothing is forgotten."""

import asyncio
from contextlib import suppress
from pathlib import Path

import controllers_world
import pytest
from controllers_world import deployment, image

from fairway.engine import controllers
from fairway.engine.controllers.room import kept_running
from fairway.kube.api.resource import DEPLOYMENTS, PODS
from fairway.toolkit.clock import FakeClock, SystemClock


@pytest.mark.parametrize("after_changes", [1, 3, 7, 12, 20])
async def test_a_rollout_survives_restarts(tmp_path: Path, after_changes: int) -> None:
    async with controllers_world.cluster(tmp_path, with_controllers=False) as cluster:
        strategy = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
        await cluster.client.create(DEPLOYMENTS, deployment(replicas=4, strategy=strategy))
        await _restarted_until_done(cluster, after_changes)
        cluster.kubelet.count_from_now()
        await cluster.change("web", image("nginx:2"))
        await _restarted_until_done(cluster, after_changes)
        assert cluster.kubelet.most <= 5
        assert cluster.kubelet.fewest_ready is not None
        assert cluster.kubelet.fewest_ready >= 3
        sets = await cluster.replica_sets()
        assert {key: item["spec"]["replicas"] for key, item in sets.items()} == {"nginx:1": 0, "nginx:2": 4}
        pods = await cluster.all(PODS)
        assert len([pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]) == 4


async def _restarted_until_done(cluster: controllers_world.Cluster, after_changes: int) -> None:
    """End the room after so many changes of pods, a few times; then let it finish."""
    for _ in range(4):
        changes = 0
        enough = asyncio.Event()

        def count(*_: object) -> None:
            nonlocal changes
            changes += 1
            if changes >= after_changes:
                enough.set()  # noqa: B023

        cluster.kubelet.pods.cache.subscribe(count)
        room = asyncio.create_task(controllers.run(cluster.client, SystemClock()))
        done = asyncio.create_task(cluster.rolled_out())
        waiting = asyncio.create_task(enough.wait())
        await asyncio.wait((done, waiting), return_when=asyncio.FIRST_COMPLETED)
        for task in (done, waiting, room):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    room = asyncio.create_task(controllers.run(cluster.client, SystemClock()))
    await cluster.rolled_out()
    room.cancel()
    with suppress(asyncio.CancelledError):
        await room


async def test_a_controller_that_breaks_starts_again() -> None:
    clock, starts = FakeClock(), 0

    async def breaks() -> None:
        nonlocal starts
        starts += 1
        raise RuntimeError("no")

    task = asyncio.create_task(kept_running("test", breaks, clock))
    await clock.advance(0.1)
    assert starts == 1
    await clock.advance(0.5)
    assert starts == 2
    await clock.advance(0.8)
    assert starts == 2
    await clock.advance(0.2)
    assert starts == 3
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
