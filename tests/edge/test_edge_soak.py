"""A tenth of the long soak, as it is: the rest is `make soak-edge`."""

import asyncio
import sys
from pathlib import Path

SOAK = Path(__file__).parents[2] / "bench" / "edge_soak.py"


async def test_nothing_fails_while_everything_changes() -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(SOAK), "--scale", "0.1", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await child.communicate()
    assert child.returncode == 0, said.decode()
