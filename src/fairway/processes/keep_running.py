"""A room that fails must not take others with it: it is started again."""

import asyncio
from collections.abc import Awaitable, Callable

from fairway.toolkit import logs

log = logs.get("engine")
_BACKOFF_SECONDS_MAX = 10.0


async def keep_running(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run a room until cancelled, after each failure a little later."""
    backoff_seconds = 0.1
    while True:
        try:
            await run()
            raise RuntimeError("the room returned")
        except Exception as error:
            log.error("restart", name=name, error=_causes(error), retry_seconds=backoff_seconds)
            await asyncio.sleep(backoff_seconds)
            backoff_seconds = min(backoff_seconds * 2, _BACKOFF_SECONDS_MAX)


def _causes(error: BaseException) -> str:
    """What really happened: groups of tasks wrap it, once for each group."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(_causes(inner) for inner in error.exceptions))
    return f"{type(error).__name__}: {error}"
