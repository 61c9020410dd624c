"""TCP checks: a connection can be opened."""

import asyncio

from fairway.engine.kubelet.probes.result import Result, reason_of


async def check(host: str, port: int, *, timeout_seconds: float) -> Result:
    """Connect and close.  Source: upstream `pkg/probe/tcp`."""
    try:
        async with asyncio.timeout(timeout_seconds):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Result(False, f"dial tcp {host}:{port}: i/o timeout")
    except OSError as error:
        return Result(False, f"dial tcp {host}:{port}: {reason_of(error)}")
    writer.close()
    return Result(True)
