"""Objects that are always as they were given."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import controllers_world
import pytest

from fairway.kube.api.resource import CONFIG_MAPS, NAMESPACES
from fairway.kube.reconcile.kept import Kept
from fairway.kube.reconcile.reflector import run_reflectors, wait_synced
from fairway.kube.reconcile.whole import run_whole
from fairway.toolkit.clock import SystemClock

WANTED: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "kept", "namespace": "own"},
    "data": {"a": "1"},
}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[controllers_world.Cluster]:
    async with controllers_world.cluster(tmp_path) as made:
        yield made


async def test_what_is_kept_comes_back_and_settles(world: controllers_world.Cluster) -> None:
    clock = SystemClock()
    kept = Kept(world.client, [(CONFIG_MAPS, WANTED)], clock, field_manager="keeper")
    async with asyncio.TaskGroup() as tasks:
        loops = [tasks.create_task(run_reflectors(*kept.reflectors))]
        await wait_synced(*kept.reflectors)
        loops.append(tasks.create_task(run_whole("kept", kept.dirty, kept.once, clock=clock)))

        def as_wanted(found: Any) -> bool:
            return found is not None and found["data"] == {"a": "1"}

        look = lambda: world.get(CONFIG_MAPS, "kept", "own")  # noqa: E731
        first = await world.until(look, as_wanted, "made, with its namespace")
        assert await world.get(NAMESPACES, "own")
        await world.client.patch(CONFIG_MAPS, "kept", {"data": {"a": "2"}}, namespace="own")
        await world.until(look, as_wanted, "what was changed")
        await world.client.delete(CONFIG_MAPS, "kept", namespace="own", uid=first["metadata"]["uid"])
        again = await world.until(look, lambda found: as_wanted(found) and found != first, "what was deleted")
        for loop in loops:
            loop.cancel()
    settled = await world.get(CONFIG_MAPS, "kept", "own")
    assert settled == again  # applying what is there wrote nothing
