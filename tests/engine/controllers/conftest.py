"""A cluster with all controllers."""

from collections.abc import AsyncIterator
from pathlib import Path

import controllers_world
import pytest


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[controllers_world.Cluster]:
    async with controllers_world.cluster(tmp_path) as found:
        yield found
