"""Once a day: pack what has grown, forget what nothing needs, delete what was put aside a week ago."""

import asyncio

from fairway.delivery.git import leftovers
from fairway.delivery.git.errors import GitFailed
from fairway.delivery.git.repositories import Repositories
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

log = logs.get("delivery")

REMOVED_SECONDS = 7 * 86400.0
_ROUND_SECONDS = 86400.0
_LEFT_SECONDS = 86400.0
_COLLECT_TIMEOUT_SECONDS = 1800.0
_COLLECT = {"gc.auto": "300", "gc.autoPackLimit": "20", "gc.autoDetach": "false", "gc.pruneExpire": "1.day.ago"}
"""Git looks itself whether there are so many loose objects or packs that it is worth it."""


async def run_upkeep(repositories: Repositories, clock: Clock) -> None:
    """Until cancelled; a failure of one repository is told, and the others follow."""
    while True:
        await clock.sleep(_ROUND_SECONDS)
        await once(repositories, clock)


async def once(repositories: Repositories, clock: Clock) -> None:
    """One round."""
    collected = 0
    for key in repositories.apps():
        try:
            path = await repositories.ensure(key)
            arguments = ("gc", "--auto", "--quiet")
            seconds = _COLLECT_TIMEOUT_SECONDS
            before_seconds = clock.now().timestamp() - _LEFT_SECONDS
            await asyncio.to_thread(leftovers.clear, path, before_seconds)
            await repositories.git.output(arguments, path, configuration=_COLLECT, timeout_seconds=seconds)
            collected += 1
        except (GitFailed, OSError) as error:
            log.error("could not collect", app=key, error=error)
    now_seconds = clock.now().timestamp()
    try:
        gone = await asyncio.to_thread(leftovers.sweep, repositories.root, now_seconds, REMOVED_SECONDS)
    except OSError as error:
        log.error("could not sweep", error=error)
    else:
        log.info("collected", repositories=collected, removed=gone)
