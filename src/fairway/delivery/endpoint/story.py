"""What somebody who pushed sees: the run, then the rollout, until the version is live or has failed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from fairway.delivery.apps.plan import skipped
from fairway.delivery.git.errors import GitFailed
from fairway.delivery.kinds.apps import App
from fairway.delivery.kinds.releases import Release
from fairway.delivery.kinds.runs import PipelineRun
from fairway.kube.api.meta import ObjectKey
from fairway.kube.reconcile.cache import Cache

T = TypeVar("T")
_APPEAR_SECONDS = 20.0

FollowRun = Callable[[ObjectKey], AsyncIterator[str]]
Subject = Callable[[ObjectKey, str], Awaitable[str]]
FollowRelease = Callable[[ObjectKey], AsyncIterator[str]]


class Story:
    """Puts together what the loops do, for one commit of one App."""

    def __init__(
        self,
        apps: Cache[App],
        runs: Cache[PipelineRun],
        releases: Cache[Release],
        follow_run: FollowRun,
        follow_release: FollowRelease,
        subject: Subject,
    ) -> None:
        """`subject` is the first line of a commit's message. It may raise GitFailed."""
        self._apps, self._runs, self._releases = apps, runs, releases
        self._follow_run = follow_run
        self._follow_release = follow_release
        self._subject = subject

    def of_commit(self, app: ObjectKey, commit: str) -> AsyncIterator[str]:
        """Lines from the start of the commit's run to the end of its last automatic Release.

        Of a commit that comes back (a forced push of an older one) the run is told that this push brings, which is
        newer than that of the commit before it.
        """
        others = (run.spec.number for run in self._runs.by_index("app", str(app)) if run.spec.commit != commit)
        return self._told(app, commit, max(others, default=0))

    async def _told(self, app: ObjectKey, commit: str, after: int) -> AsyncIterator[str]:
        if await self._is_skipped(app, commit):
            yield "-----> Stored. The message of the commit asks for no run."
            return
        run = await self._appears(self._runs, lambda: self._run_of(app, commit, after))
        if run is None:
            yield f"-----> No run for {commit[:12]}: look at `fairway app show {app.name}`"
            return
        async for line in self._follow_run(run.metadata.key):
            yield line
        ended = self._runs.get(run.metadata.key)
        if ended is None or (ended.status.deploys and not ended.status.changes):
            return  # it has said so itself
        if ended.status.phase != "Succeeded" and not ended.status.changes:
            return
        async for line in self._releases_of(app, run):
            yield line

    async def _releases_of(self, app: ObjectKey, run: PipelineRun) -> AsyncIterator[str]:
        found = self._apps.get(app)
        if found is None:
            return
        if found.spec.deploy.paused:
            yield "-----> Built, not released: spec.deploy.paused is true; a new Release needs it false"
            return
        release = await self._appears(self._releases, lambda: self._release_of(app, run))
        if release is None:
            now = self._apps.get(app) or found
            problem = next((one.message for one in now.status.conditions if one.type == "Released"), "")
            yield f" !     Built, not released. {problem}".rstrip()
            return
        async for line in self._follow_release(release.metadata.key):
            yield line

    async def _is_skipped(self, app: ObjectKey, commit: str) -> bool:
        try:
            return skipped(await self._subject(app, commit))
        except GitFailed:
            return False

    def _run_of(self, app: ObjectKey, commit: str, after: int) -> PipelineRun | None:
        runs = self._runs.by_index("app", str(app))
        mine = (run for run in runs if run.spec.commit == commit and run.spec.number > after)
        return max(mine, key=lambda run: run.spec.number, default=None)

    def _release_of(self, app: ObjectKey, run: PipelineRun) -> Release | None:
        mine = (one for one in self._releases.by_index("app", str(app)) if one.spec.run == run.metadata.name)
        return min(mine, key=lambda one: one.spec.number, default=None)

    async def _appears(self, cache: Cache[Any], look: Callable[[], T | None]) -> T | None:
        """What `look` finds as soon as it is there; None when it does not come in time."""
        changed = asyncio.Event()

        def mark(*_: object) -> None:
            changed.set()

        unsubscribe = cache.subscribe(mark)
        try:
            async with asyncio.timeout(_APPEAR_SECONDS):
                while (found := look()) is None:
                    changed.clear()
                    await changed.wait()
        except TimeoutError:
            return None
        finally:
            unsubscribe()
        return found
