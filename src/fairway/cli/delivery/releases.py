"""`fairway releases`, `rollback`, `promote`, `export`: what was live, and back to it."""

import argparse
import getpass
import time

from fairway.cli import terminal
from fairway.cli.delivery import endpoint
from fairway.cli.delivery.apps import actor, age, checked, phase, read, releases_of, url
from fairway.cli.delivery.cluster import Cluster, Mistake
from fairway.delivery.kinds.apps import App, environments
from fairway.delivery.kinds.releases import Release
from fairway.delivery.kinds.resources import RELEASES
from fairway.delivery.releases import repeat
from fairway.delivery.releases.follow import remark
from fairway.delivery.releases.objects import Place
from fairway.delivery.releases.world import ReleaseRefused
from fairway.kube.api.noun import decode


async def list_(cluster: Cluster, arguments: argparse.Namespace) -> int:
    """The numbered history, newest first."""
    app = await read(cluster, arguments.name)
    if arguments.environment:
        checked(app, arguments.environment)
    found = [
        one
        for one in await releases_of(cluster, app.metadata.name)
        if arguments.environment in ("", one.spec.environment)
    ]
    if not found:
        print(f"No releases yet; fairway app show {arguments.name} says what it waits for")
        return 0
    rows = [
        (
            terminal.paint(f"v{one.spec.number}", "bold"),
            one.spec.environment,
            phase(one.status.phase),
            one.spec.commit[:8] or "-",
            _why(one),
            actor(one.spec.actor),
            age(one.metadata.creation_timestamp),
        )
        for one in reversed(found)
    ]
    print(
        terminal.table(
            ("RELEASE", "ENVIRONMENT", "STATUS", "COMMIT", "WHY", "BY", "AGE"),
            rows,
            shorten=("BY", "WHY"),
            spare=("BY", "COMMIT"),
        )
    )
    for one in found:
        if one.status.phase == "Failed" and one is found[-1]:
            terminal.fail(f"v{one.spec.number}: {one.status.message}")
    return 0


def _why(release: Release) -> str:
    return (
        f"{release.spec.reason} of v{release.spec.of.rpartition('-v')[2]}" if release.spec.of else release.spec.reason
    )


async def rollback(cluster: Cluster, arguments: argparse.Namespace) -> int:
    """A new Release that repeats an older one: its image, its configuration, its manifests."""
    began = time.monotonic()
    app = await read(cluster, arguments.name)
    place = Place(cluster.namespace, arguments.name, checked(app, arguments.environment))
    try:
        name = await repeat.rollback(cluster.client, place, to=arguments.to, actor=getpass.getuser())
    except ReleaseRefused as error:
        raise Mistake(str(error)) from None
    release = decode(Release, await cluster.client.get(RELEASES, name, cluster.namespace))
    terminal.ok(
        f"{place.environment} goes back to v{release.spec.of.rpartition('-v')[2]} ({release.spec.commit[:8]}) "
        f"as v{release.spec.number} {terminal.paint(f'({time.monotonic() - began:.2f} s)', 'dim')}"
    )
    return await _wait(cluster, app, name, arguments)


async def promote(cluster: Cluster, arguments: argparse.Namespace) -> int:
    """What is live in one environment, into another with that one's own settings."""
    app = await read(cluster, arguments.name)
    target = checked(app, arguments.to)
    source = checked(app, arguments.source or _before(app, target))
    name = await endpoint.promote(cluster, arguments.name, source, target)
    terminal.ok(f"what is live in {source} goes to {target} as v{name.rpartition('-v')[2]}")
    return await _wait(cluster, app, name, arguments)


def _before(app: App, target: str) -> str:
    """The environment before the target, in the App's order."""
    names = [one.name for one in environments(app)]
    if names.index(target) == 0:
        raise Mistake(f"say from where: --from ENVIRONMENT (the App has {', '.join(names)})")
    return names[names.index(target) - 1]


async def _wait(cluster: Cluster, app: App, name: str, arguments: argparse.Namespace) -> int:
    """Until the Release is live or has failed."""
    if arguments.no_wait:
        return 0
    async for event in cluster.client.watch(
        RELEASES, cluster.namespace, resource_version="", fields=f"metadata.name={name}"
    ):
        if event.type == "DELETED":
            raise Mistake(f"{name} was deleted")
        if event.type not in ("ADDED", "MODIFIED"):
            continue
        release = decode(Release, event.object)
        if release.status.phase == "Live":
            terminal.ok(
                f"v{release.spec.number} is live {terminal.paint(url(app, release.spec.environment), 'cyan')}".rstrip()
            )
            if late := remark(release):
                terminal.warn(f"the edge has not taken it yet: {late}")
            return 0
        if release.status.phase in ("Failed", "Superseded"):
            terminal.fail(f"v{release.spec.number}: {release.status.phase}: {release.status.message}")
            return 1
    return 1
