"""`fairway app …`, `scale`, `env`, `open`: an App is written, shown, changed."""

import argparse
import asyncio
import getpass
import json
import sys
import webbrowser
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from fairway.cli import terminal
from fairway.cli.delivery.cluster import Cluster, Mistake
from fairway.delivery.kinds.apps import App, environments
from fairway.delivery.kinds.releases import Release
from fairway.delivery.kinds.resources import APPS, PIPELINE_RUNS, PRODUCTION, RELEASES
from fairway.delivery.kinds.runs import PipelineRun
from fairway.delivery.releases import reach
from fairway.kube.api.noun import decode
from fairway.kube.api.resource import SECRETS
from fairway.kube.client.errors import AlreadyExists, Conflict, NotFound

Raw = dict[str, Any]
_CHANGE_ATTEMPTS = 10
_CHANGE_PAUSE_SECONDS = 0.05
_PHASES = {
    "Live": "green",
    "Succeeded": "green",
    "Failed": "red",
    "Building": "cyan",
    "Deploying": "cyan",
    "Rolling": "cyan",
}


def phase(text: str) -> str:
    """A phase in its colour."""
    style = _PHASES.get(text, "dim")
    return terminal.paint(text or "Pending", style)


def actor(name: str) -> str:
    """Who did it; of a ServiceAccount its own name is enough in a table."""
    return name.rpartition(":")[2] or "-"


def age(moment: datetime | None) -> str:
    """How long ago, as kubectl says it."""
    if moment is None:
        return "-"
    seconds = int((datetime.now(UTC) - moment).total_seconds())
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "m"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{max(seconds, 0) // unit}{name}"
    return f"{seconds // 86400}d"


async def read(cluster: Cluster, name: str) -> App:
    """Raises Mistake when there is no such App."""
    try:
        return decode(App, await cluster.client.get(APPS, name, cluster.namespace))
    except NotFound:
        raise Mistake(f"there is no App {cluster.namespace}/{name}; fairway app list shows those that are") from None


async def list_(cluster: Cluster, arguments: argparse.Namespace) -> int:
    """A line for each App."""
    found = await cluster.client.list(APPS, "" if arguments.all_namespaces else cluster.namespace)
    apps = [decode(App, raw) for raw in found.items]
    if not apps:
        print("No apps yet: fairway app create NAME --domain HOST --remote")
        return 0
    rows = [
        (
            *((app.metadata.namespace,) if arguments.all_namespaces else ()),
            terminal.paint(app.metadata.name, "bold"),
            phase(app.status.phase),
            app.status.url or "-",
            app.status.commit[:8] or "-",
            ", ".join(f"{name} {_version(release)}" for name, release in app.status.releases.items()) or "-",
            age(app.metadata.creation_timestamp),
        )
        for app in apps
    ]
    headers = (*(("NAMESPACE",) if arguments.all_namespaces else ()), "NAME", "STATUS", "URL", "COMMIT", "LIVE", "AGE")
    print(terminal.table(headers, rows, shorten=("LIVE", "NAME"), spare=("COMMIT", "LIVE")))
    return 0


def _version(release: str) -> str:
    return "v" + release.rpartition("-v")[2]


async def show(cluster: Cluster, arguments: argparse.Namespace) -> int:
    """Everything about one App on one screen."""
    app = await read(cluster, arguments.name)
    status = app.status
    print(f"{terminal.paint(app.metadata.name, 'bold')}   {phase(status.phase)}   {terminal.paint(status.url, 'cyan')}")
    source = app.spec.source.repository or status.git_url or "the built-in git endpoint"
    print(f"  source      {source} ({app.spec.source.branch})")
    for condition in status.conditions:
        mark = {"True": terminal.paint("✔", "green"), "False": terminal.paint("✘", "red")}.get(condition.status, "…")
        print(f"  {mark} {condition.type:<14} {condition.message}")
    for one in environments(app):
        live = status.releases.get(one.name, "")
        hosts = ", ".join(one.domains) or "no domain"
        version = _version(live) if live else "nothing live"
        print(f"  {one.name:<11} {version}   {counted(one.replicas, 'replica')}   {hosts}")
    await _latest(cluster, app)
    return 0


async def _latest(cluster: Cluster, app: App) -> None:
    runs = await runs_of(cluster, app.metadata.name)
    for run in runs[-3:][::-1]:
        print(f"  run {run.metadata.name}   {phase(run.status.phase)}   {run.spec.commit[:8]} {run.spec.message[:60]}")


async def runs_of(cluster: Cluster, app: str) -> list[PipelineRun]:
    """The runs of an App, oldest first."""
    found = await cluster.client.list(PIPELINE_RUNS, cluster.namespace, fields=f"spec.app={app}")
    return sorted((decode(PipelineRun, raw) for raw in found.items), key=lambda run: run.spec.number)


async def releases_of(cluster: Cluster, app: str) -> list[Release]:
    """The Releases of an App, oldest first."""
    found = await cluster.client.list(RELEASES, cluster.namespace, fields=f"spec.app={app}")
    every = (decode(Release, raw) for raw in found.items)
    return sorted(every, key=lambda one: (one.spec.environment, one.spec.number))


async def delete(cluster: Cluster, arguments: argparse.Namespace) -> int:
    """Remove an App with all that it made. Asks, unless --yes."""
    app = await read(cluster, arguments.name)
    if not arguments.yes:
        if not sys.stdin.isatty():
            raise Mistake("nobody is here to confirm: say --yes")
        question = f"Delete {arguments.name} and everything that it runs? Type its name: "
        if await asyncio.to_thread(input, question) != arguments.name:
            raise Mistake("nothing was deleted")
    await cluster.client.delete(APPS, arguments.name, namespace=cluster.namespace, uid=app.metadata.uid)
    terminal.ok(f"App {arguments.name} is deleted; what it ran goes with it")
    return 0


async def scale(cluster: Cluster, arguments: argparse.Namespace) -> int:
    """Another number of replicas: a new Release with the same image."""
    app = await read(cluster, arguments.name)
    name = checked(app, arguments.environment)
    if why := reach.replicas(app, name, await _newest(cluster, app, name)):
        raise Mistake(f"replicas: {arguments.replicas} has no effect: {why}")
    await _change(cluster, app, name, lambda target: target.update(replicas=arguments.replicas))
    terminal.ok(f"{arguments.name} will have {counted(arguments.replicas, 'replica')} in {name}")
    return 0


async def _newest(cluster: Cluster, app: App, environment: str) -> Release | None:
    found = await releases_of(cluster, app.metadata.name)
    return next((one for one in reversed(found) if one.spec.environment == environment), None)


def first(app: App) -> str:
    """The environment meant when none is named: the only one, or production where there are several."""
    names = [one.name for one in environments(app)]
    return PRODUCTION if PRODUCTION in names else names[0]


def checked(app: App, name: str) -> str:
    """An environment's name. Raises Mistake when the App has none of that name."""
    name = name or first(app)
    names = [one.name for one in environments(app)]
    if name not in names:
        raise Mistake(f"App {app.metadata.name} has no environment {name!r}; it has {', '.join(names)}")
    return name


async def _change(cluster: Cluster, app: App, environment: str, change: Callable[[Raw], None]) -> None:
    """Let `change` alter an environment as it is written in the spec; where the App lists none, the spec is its own.

    The platform writes to the App too, so what was read may be old by the time it is sent: then from the start.
    """
    name = checked(app, environment)
    for attempt in range(_CHANGE_ATTEMPTS):
        raw = await cluster.client.get(APPS, app.metadata.name, cluster.namespace)
        listed = raw["spec"].get("environments")
        change(next(one for one in listed if one["name"] == name) if listed else raw["spec"])
        try:
            await cluster.client.update(APPS, raw)
        except Conflict:
            if attempt == _CHANGE_ATTEMPTS - 1:
                raise
            await asyncio.sleep(_CHANGE_PAUSE_SECONDS)
        else:
            return


async def env(cluster: Cluster, arguments: argparse.Namespace) -> int:
    """Show, set or unset variables."""
    app = await read(cluster, arguments.name)
    name = checked(app, arguments.environment)
    environment = next(one for one in environments(app) if one.name == name)
    if arguments.set:
        await _check_reach(cluster, app, name, arguments.set)
    if arguments.secret:
        return await _secret(cluster, app, name, arguments)
    if not arguments.set and not arguments.unset:
        for variable in environment.env:
            source = terminal.paint(json.dumps(variable.value_from), "dim") if variable.value_from else variable.value
            print(f"{variable.name}={source}")
        for secret in environment.secrets:
            print(terminal.paint(f"# and every key of Secret {secret}", "dim"))
        return 0
    pairs = _pairs(arguments.set)
    wanted: Raw = {}

    def change(target: Raw) -> None:
        wanted.clear()
        wanted.update({one["name"]: one for one in target.get("env", ())})
        wanted.update({key: {"name": key, "value": value} for key, value in pairs.items()})
        for key in arguments.unset:
            if wanted.pop(key, None) is None:
                for_all = any(variable.name == key for variable in app.spec.env)
                hint = "; spec.env sets it for every environment" if for_all else ""
                raise Mistake(f"{key} is not set in {name}{hint}")
        target["env"] = list(wanted.values())

    await _change(cluster, app, name, change)
    terminal.ok(f"{name}: {counted(len(wanted), 'variable')}; a new Release brings them to the pods")
    return 0


async def _check_reach(cluster: Cluster, app: App, environment: str, texts: list[str]) -> None:
    """Raises Mistake for variables that jobs' objects cannot get; says how own manifests get them."""
    newest = await _newest(cluster, app, environment)
    why = reach.variables(app, environment, newest)
    if why and newest is not None and newest.spec.adopted:
        names = ", ".join(text.partition("=")[0] for text in texts)
        raise Mistake(f"env: {names} has no effect: {why}")
    if why:
        terminal.warn(why)
    elif app.spec.deploy.mode != "generated" and (newest is None or not newest.spec.configuration):
        terminal.warn(f"own manifests have to take the variables: {reach.how_to_take(app)}")


async def _secret(cluster: Cluster, app: App, environment: str, arguments: argparse.Namespace) -> int:
    """Values that nobody should see, in a Secret of the App's environment; the command never prints them."""
    name = f"{app.metadata.name}-{environment}-secrets"
    meta = {"name": name, "namespace": cluster.namespace}
    try:
        await cluster.client.create(SECRETS, {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "Opaque"})
    except AlreadyExists:
        pass
    changed: Raw = {"stringData": _asked(arguments.set), "data": dict.fromkeys(arguments.unset)}
    await cluster.client.patch(SECRETS, name, changed, namespace=cluster.namespace)

    def change(target: Raw) -> None:
        target["secrets"] = list(dict.fromkeys((*target.get("secrets", ()), name)))
        target["secretsRevision"] = target.get("secretsRevision", 0) + 1  # a changed value alone would be no new wish

    await _change(cluster, app, environment, change)
    terminal.ok(f"Secret {name} is written; a new Release brings it to the pods of {environment}")
    return 0


def _asked(names: list[str]) -> dict[str, str]:
    """Secret values from the terminal, or line by line from standard input: arguments are seen by everybody."""
    values = {}
    for name in names:
        if "=" in name:
            raise Mistake(
                f"give only the name {name.partition('=')[0]}: a secret on the command line is seen by others"
            )
        if sys.stdin.isatty():
            values[name] = getpass.getpass(f"{name}: ")
        else:
            values[name] = sys.stdin.readline().rstrip("\n")
    return values


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise Mistake(f"{text!r} is not NAME=VALUE")
        pairs[key] = value
    return pairs


async def open_(cluster: Cluster, arguments: argparse.Namespace) -> int:
    """The App in the browser, or its address where there is none."""
    app = await read(cluster, arguments.name)
    name = checked(app, arguments.environment)
    address = url(app, name)
    if not address:
        raise Mistake(f"App {arguments.name} has no domain in {name}; add one to the domains in its spec")
    print(address)
    if sys.stdout.isatty():
        webbrowser.open(address)
    return 0


def url(app: App, environment: str) -> str:
    """The address of an environment; "" when no host leads there. Sites have one port: that of the App's own URL."""
    hosts = next((one.domains for one in environments(app) if one.name == environment), ())
    host = next((one for one in hosts if not one.startswith("*.")), "")
    port = urlsplit(app.status.url).port if app.status.url else None
    return f"https://{host}{f':{port}' if port else ''}" if host else ""


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
