"""`fairway run edge`: the edge alone, in front of any cluster that a kubeconfig leads to."""

import argparse
import asyncio
import hashlib
import signal
import socket
from pathlib import Path

import uvloop

from fairway import edge
from fairway.cli import terminal
from fairway.kube.client import kubeconfig
from fairway.kube.client.client import ApiClient
from fairway.toolkit.clock import SystemClock
from fairway.toolkit.haproxy import HaproxyMissing, Process, find


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    try:
        client = kubeconfig.connect(kubeconfig.load(arguments.kubeconfig, arguments.context))
        uvloop.run(_serve(client, config(arguments)))
    except (HaproxyMissing, OSError, kubeconfig.KubeconfigError) as error:
        terminal.fail(str(error))
        return 1
    return 0


def config(arguments: argparse.Namespace) -> edge.Config:
    """The room's settings for these arguments."""
    folder: Path = arguments.state_dir.absolute()
    return edge.Config(
        run_dir=folder / "run",
        state_dir=folder / "edge",
        http_address=arguments.http,
        https_address=arguments.https,
        status_addresses=tuple(arguments.status_address),
        binary=arguments.haproxy,
        access_log=folder / "log" / "access.log",
        metrics_socket=folder / "edge" / "metrics.sock",
        trace=True,
        lease=arguments.lease,
        identity=identity(folder),
    )


def identity(folder: Path) -> str:
    """Who this edge is among several: the same after a restart, another for another state directory."""
    return f"{socket.gethostname()}-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"


async def _serve(client: ApiClient, settings: edge.Config) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    terminal.step(f"serving http://{settings.http_address} and https://{settings.https_address}")
    try:
        await edge.run(client, settings, SystemClock())
    except asyncio.CancelledError:
        pass
    finally:
        process = Process(find(settings.binary), settings.run_dir)
        if await process.adopt():
            await process.stop()
