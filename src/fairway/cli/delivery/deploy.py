"""`fairway deploy` and `app create --remote`: git, told where to push and how to prove who pushes."""

import argparse
import asyncio
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from fairway.cli import git, terminal
from fairway.cli.delivery import bases, endpoint
from fairway.cli.delivery.apps import read
from fairway.cli.delivery.cluster import Cluster, Mistake
from fairway.delivery.kinds.apps import App
from fairway.delivery.kinds.resources import APPS
from fairway.kube.api.noun import decode
from fairway.kube.client.errors import NotFound

REMOTE = "fairway"
_OVERRIDE = "GIT_SSL_CAINFO"
"""Stronger in git than what is configured for one place."""
_SEEN_SECONDS = 20.0
_UNFIT = re.compile(r"[^a-z0-9]+")


async def remote(cluster: Cluster, name: str, folder: Path = Path()) -> None:
    """Add the git remote `fairway` to the repository in `folder`. Raises Mistake."""
    if _git(folder, "rev-parse", "--is-inside-work-tree", check=False).strip() != "true":
        raise Mistake(
            f"the App is created, but {folder.resolve().name} is no git repository: git init, then fairway app remote"
        )
    place = await endpoint.find(cluster)
    url = await _git_url(cluster, name)
    git.add_remote(folder, REMOTE, url, ca=place.ca, kubeconfig=cluster.kubeconfig, namespace=cluster.namespace)
    branch = (await read(cluster, name)).spec.source.branch
    terminal.ok(f"git remote {REMOTE} is {url}")
    if _OVERRIDE in os.environ and place.ca is not None:
        terminal.warn(f"${_OVERRIDE} is set, and git then trusts nothing else: unset it for pushes, or fairway trust")
    print(f"  {terminal.paint(f'git push {REMOTE} {branch}', 'bold')}   # and watch it go live")


async def add_remote(cluster: Cluster, arguments: argparse.Namespace) -> int:
    """The remote of an App that exists already, in the repository here."""
    await remote(cluster, arguments.name)
    return 0


async def deploy(cluster: Cluster, arguments: argparse.Namespace) -> int:
    """The files of a folder as they are now, committed or not, as the newest commit of the App."""
    folder: Path = arguments.folder
    if not folder.is_dir():
        raise Mistake(f"{folder} is no folder")
    name = arguments.app or _UNFIT.sub("-", folder.resolve().name.lower()).strip("-")
    await bases.ensure(cluster)
    app = await _app(cluster, name, arguments.domain)
    url = await _git_url(cluster, name)
    place = await endpoint.find(cluster)
    settings = git.configuration(url, ca=place.ca, kubeconfig=cluster.kubeconfig, namespace=cluster.namespace)
    return await asyncio.to_thread(_push, folder, url, app.spec.source.branch, settings)


async def _app(cluster: Cluster, name: str, domains: list[str]) -> App:
    try:
        return decode(App, await cluster.client.get(APPS, name, cluster.namespace))
    except NotFound:
        pass
    metadata = {"name": name, "namespace": cluster.namespace}
    raw = {"apiVersion": APPS.api_version, "kind": APPS.kind, "metadata": metadata, "spec": {"domains": domains}}
    made = decode(App, await cluster.client.create(APPS, raw))
    terminal.ok(f"App {name} is created" + (f" for {', '.join(domains)}" if domains else ""))
    return made


async def _git_url(cluster: Cluster, name: str) -> str:
    """Raises Mistake for an App whose code lives elsewhere, or one that nobody looks at."""
    async with asyncio.timeout(_SEEN_SECONDS):
        while not (app := await read(cluster, name)).status.git_url:
            if app.spec.source.repository:
                raise Mistake(f"App {name} takes its code from {app.spec.source.repository}; push there")
            await asyncio.sleep(0.02)
    return app.status.git_url


def _push(folder: Path, url: str, branch: str, settings: Mapping[str, str]) -> int:
    """Commit the folder on top of what the endpoint has, in a git folder of its own, and push that."""
    with tempfile.TemporaryDirectory(prefix="fairway-deploy-") as scratch:
        environment = {"GIT_DIR": f"{scratch}/git", "GIT_WORK_TREE": str(folder.resolve())}
        environment |= {
            f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in _who().items()
        }
        environment |= _as_environment(settings)
        _git(folder, "init", "--quiet", f"--initial-branch={branch}", environment=environment)
        fetched = _run(folder, environment, "fetch", "--quiet", "--depth=1", url, f"refs/heads/{branch}")
        parent = _git(folder, "rev-parse", "FETCH_HEAD", environment=environment).strip() if fetched == 0 else ""
        _git(folder, "add", "--all", "--", ".", environment=environment)
        tree = _git(folder, "write-tree", environment=environment).strip()
        if parent and tree == _git(folder, "rev-parse", f"{parent}^{{tree}}", environment=environment).strip():
            terminal.ok("nothing changed since the last deploy")
            return 0
        parents = ("-p", parent) if parent else ()
        message = f"deploy {folder.resolve().name}"
        commit = _git(folder, "commit-tree", tree, *parents, "-m", message, environment=environment).strip()
        return _run(folder, environment, "push", url, f"{commit}:refs/heads/{branch}", quiet=False)


def _who() -> dict[str, str]:
    name = os.environ.get("USER") or "fairway"
    return {"NAME": name, "EMAIL": f"{name}@{os.uname().nodename}"}


def _as_environment(settings: Mapping[str, str]) -> dict[str, str]:
    made = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        made |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return made


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if name != _OVERRIDE}, **(more or {})}


def _git(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None, check: bool = True) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=_environment(environment), capture_output=True, text=True
    )
    if check and done.returncode:
        raise Mistake(f"git {arguments[0]}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _run(folder: Path, environment: Mapping[str, str], *arguments: str, quiet: bool = True) -> int:
    output = subprocess.DEVNULL if quiet else None
    done = subprocess.run(["git", *arguments], cwd=folder, env=_environment(environment), stdout=output, stderr=output)
    return done.returncode
