"""A cluster for tests of delivery: a real API server in memory, controllers, pretended pods, and the kinds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import controllers_world

from fairway.delivery.kinds.install import install


@asynccontextmanager
async def delivery_world(folder: Path) -> AsyncIterator[controllers_world.Cluster]:
    """The world of controllers, with `fairway.dev` served."""
    async with controllers_world.cluster(folder) as world:
        await install(world.client)
        yield world
