"""The loop that works on everything at once, from one snapshot."""

import asyncio
from collections.abc import Awaitable, Callable

from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

_BACKOFF_SECONDS_MIN = 0.02
_BACKOFF_SECONDS_MAX = 10.0


class Dirty:
    """Something changed; a burst of marks is one."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def mark(self, *_: object) -> None:
        """Ask for a pass; takes any arguments, so that it can subscribe to caches."""
        self._event.set()

    async def wait(self, timeout_seconds: float | None) -> None:
        """Return when marked, or after the time; the mark is taken."""
        try:
            # Not wait_for: on Python 3.11 it can swallow a cancellation that comes together with the mark.
            async with asyncio.timeout(timeout_seconds):
                await self._event.wait()
        except TimeoutError:
            pass
        self._event.clear()


async def run_whole(
    room: str,
    dirty: Dirty,
    once: Callable[[], Awaitable[float | None]],
    *,
    clock: Clock,
    debounce_seconds: float = 0.0,
) -> None:
    """Call `once` at the start and after each mark, until cancelled.

    The seconds it returns are when it wants to run again without a mark.  What it raises is logged once here and tried
    again with a growing delay.
    """
    log = logs.get(room)
    backoff_seconds = _BACKOFF_SECONDS_MIN
    while True:
        try:
            again_seconds = await once()
            backoff_seconds = _BACKOFF_SECONDS_MIN
        except Exception as error:
            log.error("failed", error=f"{type(error).__name__}: {error}", retry_seconds=backoff_seconds)
            await clock.sleep(backoff_seconds)
            backoff_seconds = min(backoff_seconds * 2, _BACKOFF_SECONDS_MAX)
            continue
        await dirty.wait(again_seconds)
        if debounce_seconds:
            await clock.sleep(debounce_seconds)
