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
from fairway.cli.delivery import endpoint
from fairway.cli.delivery.apps import read, releases_of, runs_of
from fairway.cli.delivery.cluster import Cluster, Mistake
from fairway.delivery.kinds.apps import App, environments
from fairway.delivery.kinds.resources import APPS
from fairway.kube.api.noun import decode
from fairway.kube.client.errors import NotFound

REMOTE = "fairway"
_OVERRIDE = "GIT_SSL_CAINFO"
"""Stronger in git than what is configured for one place."""
_SEEN_SECONDS = 30.0
_NAME_LENGTH_MAX = 40
_UNFIT = re.compile(r"[^a-z0-9]+")


async def remote(cluster: Cluster, name: str, folder: Path = Path()) -> None:
    """Add the git remote `fairway` to the repository in `folder`. Raises Mistake."""
    check_repository(folder)
    place = await endpoint.find(cluster)
    url = await _git_url(cluster, name)
    git.add_remote(folder, REMOTE, url, ca=place.ca, kubeconfig=cluster.kubeconfig, namespace=cluster.namespace)
    branch = (await read(cluster, name)).spec.source.branch
    terminal.ok(f"git remote {REMOTE} is {url}")
    print(f"  {terminal.paint(f'git push {REMOTE} {branch}', 'bold')}   # and watch it go live")


def check_repository(folder: Path = Path()) -> None:
    """Raises Mistake when the folder is in no git repository."""
    if _git(folder, "rev-parse", "--is-inside-work-tree", check=False).strip() != "true":
        raise Mistake(f"{folder.resolve()} is no git repository: git init -b main, and then this again")


async def add_remote(cluster: Cluster, arguments: argparse.Namespace) -> int:
    """The remote of an App that exists already, in the repository here."""
    await remote(cluster, arguments.name)
    return 0


async def deploy(cluster: Cluster, arguments: argparse.Namespace) -> int:
    """The files of a folder as they are now, committed or not, as the newest commit of the App."""
    folder: Path = arguments.folder
    if not folder.is_dir():
        raise Mistake(f"{folder} is no folder")
    name = arguments.app or _name_of(folder)
    app = await _app(cluster, name, arguments.domain)
    url = await _git_url(cluster, name)
    place = await endpoint.find(cluster)
    settings = git.configuration(url, ca=place.ca, kubeconfig=cluster.kubeconfig, namespace=cluster.namespace)
    commit = await asyncio.to_thread(_push, folder, url, app.spec.source.branch, settings)
    return await _outcome(cluster, name, commit) if commit else 0


def _name_of(folder: Path) -> str:
    """The App that a folder is called like. Raises Mistake when no App can be called so."""
    name = _UNFIT.sub("-", folder.resolve().name.lower()).strip("-")
    if not name or not name[0].isalpha() or len(name) > _NAME_LENGTH_MAX:
        raise Mistake(f"no App can be called like the folder {folder.resolve().name!r}: give it a name with --app")
    return name


async def _outcome(cluster: Cluster, name: str, commit: str) -> int:
    """The exit code of what the terminal has just told: whether the commit was built and is live."""
    run = next((one for one in reversed(await runs_of(cluster, name)) if one.spec.commit == commit), None)
    if run is None:
        return 1
    mine = [one for one in await releases_of(cluster, name) if one.spec.run == run.metadata.name]
    failed = run.status.phase != "Succeeded" or any(one.status.phase == "Failed" for one in mine)
    return 1 if failed else 0


async def _app(cluster: Cluster, name: str, domains: list[str]) -> App:
    try:
        app = decode(App, await cluster.client.get(APPS, name, cluster.namespace))
    except NotFound:
        pass
    else:
        if missing := set(domains) - {host for one in environments(app) for host in one.domains}:
            raise Mistake(
                f"App {name} is there already, without {', '.join(sorted(missing))}: "
                f"add the domain to its spec (kubectl edit app {name}), or name another App with --app"
            )
        return app
    metadata = {"name": name, "namespace": cluster.namespace}
    raw = {"apiVersion": APPS.api_version, "kind": APPS.kind, "metadata": metadata, "spec": {"domains": list(domains)}}
    made = decode(App, await cluster.client.create(APPS, raw))
    terminal.ok(f"App {name} is created" + (f" for {', '.join(domains)}" if domains else ""))
    return made


async def _git_url(cluster: Cluster, name: str) -> str:
    """Raises Mistake for an App whose code lives elsewhere, or one that nobody looks at."""
    try:
        async with asyncio.timeout(_SEEN_SECONDS):
            while not (app := await read(cluster, name)).status.git_url:
                if app.spec.source.repository:
                    raise Mistake(f"App {name} takes its code from {app.spec.source.repository}; push there")
                await asyncio.sleep(0.02)
    except TimeoutError:
        why = f"after {_SEEN_SECONDS:.0f} s the delivery room has not looked at it; is it running?"
        raise Mistake(f"there is no place yet to push App {name} to: {why}") from None
    return app.status.git_url


def _push(folder: Path, url: str, branch: str, settings: Mapping[str, str]) -> str:
    """Commit the folder on top of what the endpoint has, in a git folder of its own, and push that.

    The commit, or "" when nothing has changed. Raises Mistake.
    """
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
            return ""
        parents = ("-p", parent) if parent else ()
        message = f"deploy {folder.resolve().name}"
        commit = _git(folder, "commit-tree", tree, *parents, "-m", message, environment=environment).strip()
        if _run(folder, environment, "push", url, f"{commit}:refs/heads/{branch}", quiet=False):
            raise Mistake("git push failed; what it said stands above")
        return commit


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
