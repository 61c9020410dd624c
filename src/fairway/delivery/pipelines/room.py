"""Pipelines put together: the loop over runs, what their pods may ask for, and their story for terminals."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fairway.delivery.builds.images import Images
from fairway.delivery.config import Config
from fairway.delivery.git import Repositories
from fairway.delivery.kinds.apps import App
from fairway.delivery.kinds.runs import PipelineRun
from fairway.delivery.pipelines import apigate, queue, toolbox
from fairway.delivery.pipelines.controller import ROOM, RunController
from fairway.delivery.pipelines.endpoint import RunEndpoint
from fairway.delivery.pipelines.follow import Follower
from fairway.delivery.pipelines.jobs import Jobs
from fairway.delivery.pipelines.logs import Logs
from fairway.delivery.pipelines.objects import HostAddresses, Objects
from fairway.delivery.pipelines.storage import Storage
from fairway.delivery.pipelines.tokens import Tokens
from fairway.delivery.pipelines.work import Workshop
from fairway.kube.api.meta import ObjectKey
from fairway.kube.client.client import ApiClient
from fairway.kube.reconcile.keyed import run_keyed
from fairway.kube.reconcile.reflector import Reflector
from fairway.toolkit.clock import Clock

_WORKERS = 4


class Pipelines:
    """All of it. `apps` and `runs` are run by whoever made them, `reflectors` must be run besides."""

    def __init__(
        self,
        client: ApiClient,
        config: Config,
        clock: Clock,
        apps: Reflector[App],
        runs: Reflector[PipelineRun],
        repositories: Repositories,
        images: Images,
        token_key: bytes,
        host_addresses: HostAddresses | None = None,
    ) -> None:
        """`token_key` (32 bytes or more) must be the same after a restart: pods that run have tokens signed with it."""
        tokens = Tokens(token_key)
        self._apps, self._runs = apps.cache, runs.cache
        self._images = images
        self._storage = Storage(config.state_dir)
        self._logs = Logs(config.state_dir / "logs")
        jobs = Jobs(client, clock)
        self.reflectors: tuple[Reflector[Any], ...] = jobs.reflectors
        program = Path(toolbox.__file__).read_text(encoding="utf-8")
        gate = Path(apigate.__file__).read_text(encoding="utf-8")
        objects = Objects(client, config, tokens, program, gate, host_addresses)
        workshop = Workshop(config, repositories, images, self._storage)
        self._controller = RunController(
            client,
            clock,
            config,
            apps,
            runs,
            jobs,
            repositories,
            workshop,
            self._storage,
            self._logs,
            objects,
            tokens,
        )
        self.endpoint = RunEndpoint(self._runs.get, repositories, self._storage, tokens)
        self._follower = Follower(self._runs.get, lambda run: queue.position(run, self._runs.values()), self._logs)

    async def run(self) -> None:
        """Work until cancelled; every reflector must be synced."""
        await asyncio.to_thread(self._sweep)
        self._controller.begin()
        forget = self._apps.subscribe(self._app_changed)
        try:
            await run_keyed(ROOM, self._controller.queue, self._controller.reconcile, workers=_WORKERS)
        finally:
            forget()
            await self._controller.close()

    def follow(self, key: ObjectKey) -> AsyncIterator[str]:
        """Lines of progress and log of a run, from its beginning to its end."""
        return self._follower.follow(key)

    def log_file(self, key: ObjectKey, step: str, attempt: int = 1) -> Path:
        """Where the log of one step is or would be."""
        return self._logs.path(key, step, attempt)

    def _app_changed(self, key: ObjectKey, old: App | None, new: App | None) -> None:
        """Another App of the same name, perhaps of other people, must not find the caches of this one."""
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            self._storage.forget_app(key)
            self._images.forget_app(key)

    def _sweep(self) -> None:
        """Remove what runs and Apps left that were deleted while nobody looked."""
        self._storage.sweep()
        for run in {*self._logs.runs(), *self._storage.runs()}:
            if self._runs.get(run) is None:
                self._logs.forget(run)
                self._storage.forget_run(run)
        for app in {*self._storage.apps(), *self._images.kept_apps()}:
            if self._apps.get(app) is None:
                self._storage.forget_app(app)
                self._images.forget_app(app)
