"""Waiting for something or for a time, whichever comes first, by a clock that tests can move."""

import asyncio

from fairway.toolkit.clock import Clock


async def happens_within(clock: Clock, seconds: float, event: asyncio.Event) -> bool:
    """Wait for `event`, but not longer; whether it happened."""
    if event.is_set():
        return True
    waits = {asyncio.ensure_future(event.wait()), asyncio.ensure_future(clock.sleep(max(seconds, 0)))}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    return event.is_set()
