"""`fairway logs`: what the pods of an App print, each line with its pod in a colour of its own."""

import argparse
import asyncio
import zlib

from fairway.cli import terminal
from fairway.cli.delivery.apps import checked, read, releases_of
from fairway.cli.delivery.cluster import Cluster, Mistake
from fairway.delivery.kinds.resources import APP_LABEL, ENVIRONMENT_LABEL
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import PODS
from fairway.kube.client.errors import ApiError

_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
_COLOURS = ("cyan", "green", "yellow", "blue")


async def logs(cluster: Cluster, arguments: argparse.Namespace) -> int:
    """The last lines of every pod; with --follow, what comes, also from pods that come later."""
    app = await read(cluster, arguments.name)
    environment = checked(app, arguments.environment)
    labels = await _labels(cluster, app.metadata.name, environment)
    if not arguments.follow:
        return await _once(cluster, labels, arguments)
    followed: dict[str, asyncio.Task[bool]] = {}
    async with asyncio.TaskGroup() as tasks:
        async for event in cluster.client.watch(PODS, cluster.namespace, resource_version="", labels=labels):
            if event.type not in ("ADDED", "MODIFIED"):
                continue
            pod = decode(Pod, event.object)
            if pod.metadata.uid not in followed and pod.status.phase not in ("", "Pending"):
                followed[pod.metadata.uid] = tasks.create_task(_follow(cluster, pod, arguments))
    return 0


async def _labels(cluster: Cluster, app: str, environment: str) -> str:
    """A query for the pods. Own manifests, and what jobs applied, have labels of their own for their pods."""
    releases = [one for one in await releases_of(cluster, app) if one.spec.environment == environment]
    live = next((one for one in reversed(releases) if one.status.phase == "Live"), None)
    for manifest in live.spec.manifests if live is not None else ():
        selector = (manifest.get("spec") or {}).get("selector") or {}
        if manifest["kind"] in _WORKLOADS and selector.get("matchLabels"):
            return ",".join(f"{name}={value}" for name, value in selector["matchLabels"].items())
    return f"{APP_LABEL}={app},{ENVIRONMENT_LABEL}={environment}"


async def _once(cluster: Cluster, labels: str, arguments: argparse.Namespace) -> int:
    found = (await cluster.client.list(PODS, cluster.namespace, labels=labels)).items
    if not found:
        raise Mistake(f"{arguments.name} runs no pod; fairway app show {arguments.name} says why")
    shown = [await _follow(cluster, decode(Pod, raw), arguments) for raw in found]
    return 0 if any(shown) else 1


async def _follow(cluster: Cluster, pod: Pod, arguments: argparse.Namespace) -> bool:
    """Print what a pod says; whether it has a log at all."""
    name = pod.metadata.name
    mark = terminal.paint(f"{name} │", _COLOURS[zlib.crc32(name.encode()) % len(_COLOURS)])
    container = pod.spec.containers[0].name
    pieces = cluster.client.log(
        name,
        cluster.namespace,
        container=container,
        follow=arguments.follow,
        previous=arguments.previous,
        tail_lines=arguments.tail,
    )
    rest = b""
    try:
        async for piece in pieces:
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                print(f"{mark} {line.decode(errors='replace')}", flush=True)
        if rest:
            print(f"{mark} {rest.decode(errors='replace')}", flush=True)
    except ApiError as error:
        terminal.warn(f"{name}: {error.message}")
        return False
    return True
