"""Which cluster a command is about, and what goes wrong on the way there."""

import argparse
import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from fairway.cli import terminal
from fairway.kube.client import kubeconfig
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import ApiError, Unreachable

Verb = Callable[["Cluster", argparse.Namespace], Awaitable[int]]


class Mistake(Exception):
    """What was asked for cannot be done; the message says why and what to do instead."""


class Cluster(msgspec.Struct, frozen=True):
    """A client, the namespace to work in, and where the kubeconfig is."""

    client: ApiClient
    namespace: str
    kubeconfig: Path
    state_dir: Path


def options(parser: argparse.ArgumentParser, default_state_dir: Path) -> None:
    """Which cluster, for every command about apps."""
    parser.add_argument("-n", "--namespace", default="", metavar="NS", help="default: that of the kubeconfig")
    parser.add_argument("--kubeconfig", type=Path, metavar="FILE", help="of another cluster, instead of --state-dir")
    parser.add_argument("--context", default="", metavar="NAME", help="a context of the kubeconfig")
    parser.add_argument(
        "--state-dir", type=Path, default=default_state_dir, metavar="DIR", help="of the cluster on this machine"
    )


def kubeconfig_of(arguments: argparse.Namespace) -> Path:
    """--kubeconfig; else the cluster on this machine; else $KUBECONFIG."""
    if arguments.kubeconfig:
        return Path(arguments.kubeconfig)
    own = Path(arguments.state_dir) / "kubeconfig"
    named = os.environ.get("KUBECONFIG", "")
    return own if own.exists() or not named else Path(named)


def command(verb: Verb) -> Callable[[argparse.Namespace], int]:
    """A verb as `main` calls it: problems become one line and exit code 1."""

    def run(arguments: argparse.Namespace) -> int:
        try:
            return asyncio.run(_with_cluster(verb, arguments))
        except (ApiError, Mistake, OSError, Unreachable, ValueError, kubeconfig.KubeconfigError) as error:
            terminal.fail(str(error))
            return 1

    return run


async def _with_cluster(verb: Verb, arguments: argparse.Namespace) -> int:
    path = kubeconfig_of(arguments)
    access = kubeconfig.load(path, arguments.context)
    client = kubeconfig.connect(access)
    # A kubeconfig that `fairway up` wrote lies in the state directory, whatever the default is.
    state_dir = path.parent if (path.parent / "pki").is_dir() else arguments.state_dir
    return await verb(Cluster(client, arguments.namespace or access.namespace, path, state_dir), arguments)
