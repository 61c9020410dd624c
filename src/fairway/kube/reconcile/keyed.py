"""The loop that works on one object at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import TypeVar

from fairway.kube.client.errors import Conflict, Unreachable
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit import logs

K = TypeVar("K", bound=Hashable)
Reconcile = Callable[[K], Awaitable[float | None]]


async def run_keyed(room: str, queue: WorkQueue[K], reconcile: Reconcile[K], *, workers: int = 4) -> None:
    """Reconcile keys until cancelled.

    `reconcile` reads the newest state itself; the seconds it returns are when it wants to look again.  What it raises
    is logged once here, and the key comes back with a growing delay.
    """
    log = logs.get(room)

    async def work() -> None:
        while True:
            key = await queue.get()
            try:
                await _once(log, queue, reconcile, key)
            finally:
                queue.done(key)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(workers):
            tasks.create_task(work())


async def _once(log: logs.Log, queue: WorkQueue[K], reconcile: Reconcile[K], key: K) -> None:
    try:
        again_seconds = await reconcile(key)
    except Conflict:
        queue.add_rate_limited(key)  # somebody was faster: the watch brings the newer object; nothing to report
    except Unreachable as error:
        log.warning("unreachable", key=key, error=error, retry_seconds=queue.add_rate_limited(key))
    except Exception as error:
        seconds = queue.add_rate_limited(key)
        log.error("failed", key=key, error=f"{type(error).__name__}: {error}", retry_seconds=seconds)
    else:
        queue.forget(key)
        if again_seconds is not None:
            queue.add_after(key, again_seconds)
