"""The room put together: what each part gets, and what runs."""

import asyncio
import os
import re
import secrets
import socket
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

from fairway.delivery.apps import pipeline_file
from fairway.delivery.apps.controller import BY_APP, AppController, app_of
from fairway.delivery.apps.sources import Sources
from fairway.delivery.builds.bases import Assemble
from fairway.delivery.builds.images import Images
from fairway.delivery.config import Config
from fairway.delivery.domains.claims import Claimant, run_domains
from fairway.delivery.endpoint.actions import LOGS, PROMOTIONS, Actions
from fairway.delivery.endpoint.objects import objects
from fairway.delivery.endpoint.router import Route, Router
from fairway.delivery.endpoint.story import Story
from fairway.delivery.forges.endpoint import HOOKS, Receiver
from fairway.delivery.forges.keeper import Keeper
from fairway.delivery.forges.reports import Reporter
from fairway.delivery.git.access import Doorkeeper
from fairway.delivery.git.cluster_networks import ClusterNetworks
from fairway.delivery.git.endpoint import GitEndpoint
from fairway.delivery.git.guard import Allowed
from fairway.delivery.git.limits import of_push as git_limits
from fairway.delivery.git.repositories import Repositories
from fairway.delivery.git.upkeep import run_upkeep
from fairway.delivery.kinds.apps import App
from fairway.delivery.kinds.install import install
from fairway.delivery.kinds.releases import Release
from fairway.delivery.kinds.resources import APPS, FIELD_MANAGER, PIPELINE_RUNS, RELEASES
from fairway.delivery.kinds.runs import PipelineRun, Trigger
from fairway.delivery.pipelines.objects import HostAddresses
from fairway.delivery.pipelines.room import Pipelines
from fairway.delivery.pipelines.work import login, platform_credentials
from fairway.delivery.releases.controller import run_releases
from fairway.delivery.releases.follow import follow_release
from fairway.delivery.releases.opening import FrontDoor
from fairway.delivery.releases.world import ReleaseWorld
from fairway.kube.api.meta import ObjectKey
from fairway.kube.client.client import ApiClient
from fairway.kube.reconcile.kept import Kept
from fairway.kube.reconcile.keyed import run_keyed
from fairway.kube.reconcile.reflector import Reflector, run_reflectors, wait_synced
from fairway.kube.reconcile.whole import run_whole
from fairway.toolkit import files, logs
from fairway.toolkit.clock import Clock
from fairway.toolkit.http_client import Dialer, dial
from fairway.toolkit.http_messages import Limits
from fairway.toolkit.http_server import HttpServer
from fairway.toolkit.oci.authentication import BadCredentials
from fairway.toolkit.oci.distribution import Settings

ROOM = "delivery"
_GIT = re.compile(r"/[^/]+/[^/]+\.git/")
_RUNS = re.compile(r"/runs/")
_IDLE_SECONDS = 7200.0
log = logs.get(ROOM)


async def run(
    client: ApiClient,
    config: Config,
    clock: Clock,
    sock: socket.socket,
    dialer: Dialer = dial,
    assemble: Assemble | None = None,
    host_addresses: HostAddresses | None = None,
    door: FrontDoor | None = None,
) -> None:
    """Serve on a bound socket, which stays the caller's, until cancelled; `dialer` connects to registries.

    `assemble` makes base images in the node's own store, where there is one. `host_addresses` are those of a machine
    that the node does not tell. Without a `door` a Release is live as soon as its pods are ready.

    Raises OSError, ApiError, Unreachable.
    """
    config.state_dir.mkdir(parents=True, exist_ok=True, mode=0o711)
    await install(client)
    made = images(config, dialer, assemble)
    room = _Room(client, config, clock, made, host_addresses)
    server = HttpServer(
        room.router.answer, log, limits=Limits(idle_timeout_seconds=_IDLE_SECONDS), streamed=room.router.streamed
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run_reflectors(*room.reflectors))
            await wait_synced(*room.reflectors)
            room.apps.begin()
            room.hooks.begin(room.apps.queue.add)
            room.reports.begin()
            # Not before: pods of a run that goes on would be told that it is over. They wait in the backlog.
            await server.listen(socket.socket(fileno=os.dup(sock.fileno())), name=ROOM)
            tasks.create_task(run_whole(ROOM, room.kept.dirty, room.kept.once, clock=clock))
            tasks.create_task(run_keyed("delivery-apps", room.apps.queue, room.apps.reconcile))
            tasks.create_task(run_keyed("delivery-hooks", room.hooks.queue, room.hooks.reconcile))
            tasks.create_task(run_keyed("delivery-reports", room.reports.queue, room.reports.reconcile))
            tasks.create_task(room.pipelines.run())
            tasks.create_task(run_upkeep(room.repositories, clock))
            tasks.create_task(run_releases(client, config, clock, door, is_gone=partial(image_is_gone, config, made)))
            tasks.create_task(run_domains(client, clock, room.apps.host_freed))
    finally:
        await server.stop(1.0)
        await made.bases.aclose()
        await room.git.aclose()


def images(config: Config, dialer: Dialer = dial, assemble: Assemble | None = None) -> Images:
    """Where images are made: in the node's store when that is here, else in a folder of our own."""
    folder = config.images_dir or config.state_dir / "images"
    reached = Settings(authorities=config.registry_authorities)
    own_names = frozenset((config.registry, *config.registry_names))
    return Images(
        folder,
        is_node_store=config.images_dir is not None,
        settings=reached,
        dialer=dialer,
        own_names=own_names,
        assemble=assemble,
    )


async def image_is_gone(config: Config, images: Images, image: str) -> bool:
    """Of the platform's own registry alone: elsewhere others say what stays, and to whom. Raises nothing."""
    if not image.startswith(f"{config.registry}/"):
        return False
    try:
        known = await asyncio.to_thread(platform_credentials, config)
    except (OSError, BadCredentials):
        return False
    return await images.is_gone(image, login(known, image))


def token_key(state_dir: Path) -> bytes:
    """What signs the tokens of runs; made once, readable by us alone. Raises OSError."""
    path = state_dir / "run-tokens.key"
    try:
        return path.read_bytes()
    except FileNotFoundError:
        files.replace(path, secrets.token_bytes(32), mode=0o600, durable=True)
        return path.read_bytes()


class _Room:
    """The parts, made in the order in which they need one another."""

    def __init__(
        self,
        client: ApiClient,
        config: Config,
        clock: Clock,
        images: Images,
        host_addresses: HostAddresses | None,
    ) -> None:
        self._client, self._config, self._clock = client, config, clock
        by_app = {BY_APP: app_of}
        self._apps = Reflector(client, APPS, App, clock)
        self._runs = Reflector(client, PIPELINE_RUNS, PipelineRun, clock, indexes=by_app)
        self._releases = Reflector(client, RELEASES, Release, clock, indexes=by_app)
        self.kept = Kept(client, objects(config), clock, field_manager=FIELD_MANAGER)
        networks = ClusterNetworks(client, clock, config.own_networks)
        self.repositories = repositories = Repositories(
            config.state_dir / "git",
            limits=git_limits(config.push_bytes_max),
            allowed_hosts=config.allowed_hosts,
            networks=networks,
        )
        world = ReleaseWorld(client, clock, repositories)
        self.pipelines = Pipelines(
            client,
            config,
            clock,
            self._apps,
            self._runs,
            repositories,
            images,
            token_key(config.state_dir),
            host_addresses,
        )
        own: tuple[Reflector[Any], ...] = (self._apps, self._runs, self._releases)
        self.reflectors = (*own, *self.kept.reflectors, *self.pipelines.reflectors)
        reach = (config.public_url, Allowed(config.allowed_hosts, networks))
        self.hooks = Keeper(client, clock, self._apps, *reach, pipeline_file.write)
        self.reports = Reporter(client, clock, self._apps, self._runs, self._releases, *reach)
        self.apps = AppController(
            client,
            clock,
            self._apps,
            self._runs,
            self._releases,
            Sources(client, repositories, clock),
            Claimant(client),
            world,
            config.public_url,
            config.url_suffix,
            self.hooks,
        )
        self._receiver = Receiver(client, clock, self._apps.cache, self.apps.wake)
        self._story = Story(
            self._apps.cache,
            self._runs.cache,
            self._releases.cache,
            self.pipelines.follow,
            self._follow_release,
            repositories.subject,
        )
        self.git = GitEndpoint(repositories, client, clock, self._pushed)
        self.router = self._routes(Actions(Doorkeeper(client, clock), self._runs.cache, self.pipelines.follow, world))

    def _routes(self, actions: Actions) -> Router:
        return Router(
            Route(LOGS, actions.log),
            Route(HOOKS, self._receiver.answer),
            Route(PROMOTIONS, actions.promotion),
            Route(_RUNS, self.pipelines.endpoint.answer, frozenset(("PUT",))),
            Route(_GIT, self.git.answer, frozenset(("POST",))),
        )

    def _pushed(self, app: ObjectKey, branch: str, commit: str, actor: str) -> AsyncIterator[str]:
        self.apps.wake(app, Trigger(kind="push", actor=actor))
        return self._story.of_commit(app, commit)

    def _follow_release(self, key: ObjectKey) -> AsyncIterator[str]:
        return follow_release(self._client, self._clock, key, url_suffix=self._config.url_suffix)
