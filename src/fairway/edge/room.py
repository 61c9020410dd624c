"""The room put together: settings to a running loop."""

import asyncio
import contextlib
import hashlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from fairway.edge import default_certificate, metrics
from fairway.edge.access_log import Collector, File, listen
from fairway.edge.config import Config
from fairway.edge.controller import Controller, Counters
from fairway.edge.haproxy import Haproxy
from fairway.edge.leadership import Leadership
from fairway.edge.metrics import Traffic
from fairway.edge.render import Options
from fairway.edge.render.logging import LOG_SOCKET
from fairway.edge.render.rendered import DEFAULT_CERTIFICATE
from fairway.edge.served import Served
from fairway.edge.sources import Sources
from fairway.edge.translate.classes import CONTROLLER
from fairway.kube.api.resource import INGRESS_CLASSES
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import AlreadyExists, Forbidden
from fairway.kube.reconcile.events import EventRecorder
from fairway.kube.reconcile.reflector import run_reflectors, wait_synced
from fairway.kube.reconcile.whole import Dirty, run_whole
from fairway.toolkit import files, logs
from fairway.toolkit.clock import Clock
from fairway.toolkit.haproxy import Process, find
from fairway.toolkit.http_messages import Handler, Request, Response
from fairway.toolkit.http_server import HttpServer

log = logs.get("edge")
_NOBODY = 65534
_CLASSES = (("fairway", True), ("nginx", False))


async def run(client: ApiClient, config: Config, clock: Clock, served: Served | None = None) -> None:
    """Serve until cancelled; HAProxy then goes on alone, and the next `run` adopts it. `served` is told what it has.

    Raises HaproxyMissing when there is no usable binary, OSError when the directories cannot be written.
    """
    proxy = _proxy(config, clock)
    await proxy.adopt()
    sources, dirty = Sources(client, clock), Dirty()
    traffic = Traffic(config.series_most)
    events = EventRecorder(client, "fairway-edge", clock)
    leadership = _leadership(client, config, clock)
    controller = Controller(
        client,
        proxy,
        sources.take,
        events,
        clock,
        options=options(config, proxy.version),
        addresses=config.status_addresses,
        traffic=traffic,
        served=served,
        leads=(lambda: leadership.leads) if leadership else lambda: True,
    )
    async with observed(config, traffic, controller.counters), asyncio.TaskGroup() as tasks:
        tasks.create_task(run_reflectors(*sources.all))
        await ensure_classes(client)
        await wait_synced(*sources.all)
        sources.subscribe(dirty.mark)
        tasks.create_task(run_whole("edge", dirty, controller.once, clock=clock))
        tasks.create_task(controller.keep_alive(dirty))
        tasks.create_task(proxy.keep_on_disk())
        tasks.create_task(run_whole("edge", controller.reporter.dirty, controller.reporter.once, clock=clock))
        if leadership:
            tasks.create_task(leadership.run(controller.reporter.dirty.mark))


def _leadership(client: ApiClient, config: Config, clock: Clock) -> Leadership | None:
    if not config.lease:
        return None
    namespace, _, name = config.lease.rpartition("/")
    return Leadership(client, clock, namespace=namespace, name=name, identity=config.identity)


def observing(config: Config) -> bool:
    """Whether somebody wants to know what goes through."""
    return config.access_log is not None or config.metrics_socket is not None


@contextlib.asynccontextmanager
async def observed(config: Config, traffic: Traffic, counters: Counters) -> AsyncIterator[None]:
    """Take the lines of HAProxy and serve the metrics while this is open. Raises OSError."""
    if not observing(config):
        yield
        return
    file = None
    if config.access_log is not None:
        file = File(config.access_log, bytes_max=config.access_log_bytes_max, keep=config.access_log_keep)
    collector = Collector(traffic, file, config.secret_words)
    receiver = await listen(config.run_dir / "root" / LOG_SOCKET, collector, _unprivileged())
    server = HttpServer(_exposition(traffic, counters), log)
    try:
        if config.metrics_socket is not None:
            await server.listen_unix(config.metrics_socket, name="metrics")
        yield
    finally:
        await server.stop(0)
        receiver.close()
        if file is not None:
            file.close()


def _exposition(traffic: Traffic, counters: Counters) -> Handler:
    async def answer(request: Request) -> Response:
        if request.path != "/metrics":
            return Response(404, b"there is only /metrics here\n")
        text = metrics.text(traffic, counters.numbers(), counters.reloads_by_reason)
        return Response(200, text.encode(), (("Content-Type", "text/plain; version=0.0.4; charset=utf-8"),))

    return answer


async def ensure_classes(client: ApiClient) -> None:
    """Create the IngressClasses `fairway` (the default) and `nginx`; those that are there stay as they are."""
    for name, default in _CLASSES:
        annotations = {"ingressclass.kubernetes.io/is-default-class": "true"} if default else {}
        try:
            await client.create(
                INGRESS_CLASSES,
                {
                    "apiVersion": "networking.k8s.io/v1",
                    "kind": "IngressClass",
                    "metadata": {"name": name, "annotations": annotations},
                    "spec": {"controller": CONTROLLER},
                },
            )
        except AlreadyExists:
            pass
        except Forbidden:
            log.info("class", name=name, left_to="whoever gave us our rights")


def options(config: Config, version: tuple[int, int] = (2, 8)) -> Options:
    """What HAProxy of a version is told apart from the cluster."""
    return Options(
        http=_bind(config.http_fd, config.http_address),
        https=_bind(config.https_fd, config.https_address),
        https_port=config.https_port or _port(config.https_fd, config.https_address),
        threads=config.threads,
        run_as=_unprivileged(),
        affinity_key=_affinity_key(config.state_dir / "edge-affinity.key"),
        log=observing(config),
        trace=config.trace,
        version=version,
        name_servers=config.name_servers,
        locked=os.geteuid() == 0,
    )


def _proxy(config: Config, clock: Clock) -> Haproxy:
    binary = find(config.binary)
    log.info("found", haproxy=binary)
    config.state_dir.mkdir(parents=True, exist_ok=True)
    process = Process(
        binary, config.run_dir, listeners=tuple(fd for fd in (config.http_fd, config.https_fd) if fd is not None)
    )
    proxy = Haproxy(process, config.run_dir)
    certificate = default_certificate.load_or_create(config.state_dir / "edge-default.pem", clock.now())
    files.replace(config.run_dir / DEFAULT_CERTIFICATE, certificate.encode(), mode=0o600)
    return proxy


def _bind(fd: int | None, address: str) -> str:
    return address if fd is None else f"fd@{fd}"


def _port(fd: int | None, address: str) -> int:
    if fd is None:
        return int(address.rpartition(":")[2] or 443) if address else 443
    with socket.socket(fileno=os.dup(fd)) as listening:
        return int(listening.getsockname()[1])


def _unprivileged() -> tuple[int, int] | None:
    """Nobody, where this process may become nobody: as root, in a user namespace that knows the number."""
    if os.geteuid() != 0:
        return None
    maps = (Path("/proc/self/uid_map"), Path("/proc/self/gid_map"))
    return (_NOBODY, _NOBODY) if all(_mapped(path.read_text(), _NOBODY) for path in maps) else None


def _mapped(text: str, number: int) -> bool:
    ranges = [[int(word) for word in line.split()] for line in text.splitlines()]
    return any(first <= number < first + count for first, _, count in ranges)


def _affinity_key(path: Path) -> str:
    """The secret that cookies are made with; kept, so that they stay valid."""
    try:
        return path.read_text()
    except FileNotFoundError:
        key = hashlib.sha256(os.urandom(32)).hexdigest()
        files.replace(path, key.encode(), mode=0o600, durable=True)
        return key
