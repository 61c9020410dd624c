"""Waiting for something or for a time, whichever comes first, by a clock that tests can move."""

import asyncio

from fairway.toolkit.clock import Clock


async def happens_within(clock: Clock, seconds: float, *events: asyncio.Event) -> bool:
    """Wait for one of `events`, but not longer; whether one happened."""
    if any(event.is_set() for event in events):
        return True
    waits: set[asyncio.Future[object]] = {asyncio.ensure_future(event.wait()) for event in events}
    waits.add(asyncio.ensure_future(clock.sleep(max(seconds, 0))))
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    return any(event.is_set() for event in events)
