"""The room put together: settings and bound sockets to a running registry."""

import asyncio
import os
import socket

from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import ApiError, Unreachable
from fairway.kube.reconcile.kept import Kept
from fairway.kube.reconcile.reflector import run_reflectors, wait_synced
from fairway.kube.reconcile.whole import run_whole
from fairway.registry import demand, publish
from fairway.registry.config import Config, Listener
from fairway.registry.errors import RegistryProblem, response
from fairway.registry.paths import streams_body
from fairway.registry.service import Registry
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock
from fairway.toolkit.http_messages import Limits, Response
from fairway.toolkit.http_server import HttpServer

ROOM = "registry"
log = logs.get(ROOM)


async def run(client: ApiClient | None, config: Config, clock: Clock, listeners: tuple[Listener, ...]) -> None:
    """Serve until cancelled; the listeners' descriptors stay the caller's. Raises OSError.

    Without a client, or without `config.service`, nothing is published.
    """
    registry = Registry(config, clock)
    limits = Limits(body_bytes=config.manifest_bytes_max + 1)
    server = HttpServer(registry.answer, log, limits=limits, refuse=_refuse, streamed=streams_body)
    try:
        for listener in listeners:
            sock = socket.socket(fileno=os.dup(listener.fd))
            await server.listen(sock, name=listener.name, tls=listener.tls)
            log.info("listening", name=listener.name)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_sweep(registry, client, config, clock))
            if client is not None and config.service is not None:
                tasks.create_task(_publish(client, config, clock))
    finally:
        await server.stop(1.0)
        registry.close()


async def _publish(client: ApiClient, config: Config, clock: Clock) -> None:
    assert config.service is not None
    kept = Kept(client, publish.objects(config.service), clock, field_manager=publish.FIELD_MANAGER)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_reflectors(*kept.reflectors))
        await wait_synced(*kept.reflectors)
        tasks.create_task(run_whole(ROOM, kept.dirty, kept.once, clock=clock))


async def _sweep(registry: Registry, client: ApiClient | None, config: Config, clock: Clock) -> None:
    """A failure of one round is told, and the next round comes. While nobody can say what is needed, all stays."""
    while True:
        await clock.sleep(config.sweep_seconds)
        try:
            freed_bytes = await registry.collect(demand=None if client is None else await demand.read(client))
        except (ApiError, OSError, Unreachable) as error:
            log.error("could not sweep", error=error)
        else:
            log.info("swept", freed_bytes=freed_bytes)


def _refuse(status: int, message: str) -> Response:
    code = "SIZE_INVALID" if status == 413 else "UNSUPPORTED"
    return response(RegistryProblem(code, message, status=status))
