"""Go back to an earlier Release, or carry one on to the next environment: both are a new Release."""

import msgspec

from fairway.delivery.kinds.apps import App, Environment, environments
from fairway.delivery.kinds.releases import Release
from fairway.delivery.kinds.resources import APPS
from fairway.delivery.releases import freeze, live
from fairway.delivery.releases.create import create_release, held_hosts, place_of_release, releases_of, write
from fairway.delivery.releases.manifests import with_hosts
from fairway.delivery.releases.objects import Place
from fairway.delivery.releases.wishes import wishes
from fairway.delivery.releases.world import ReleaseRefused, ReleaseWorld
from fairway.kube.api.noun import decode
from fairway.kube.api.resource import SECRETS
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound


async def rollback(client: ApiClient, place: Place, *, to: str = "", actor: str = "") -> str:
    """A Release that repeats another one, configuration included; its name.

    `to` is a Release's name, or `v3`, or `3`; without it, the one that was live before the present one.
    Raises ReleaseRefused, ApiError, Unreachable.
    """
    releases = await releases_of(client, place)
    target = named(releases, to) if to else before_live(releases)
    if target is None:
        raise ReleaseRefused(_no_target(place, releases, to))
    return await repeat(client, target, releases, actor)


async def promote(world: ReleaseWorld, place: Place, to: str, *, actor: str = "") -> str:
    """A Release of what is live at `place` in environment `to`, with that one's own configuration; its name.

    Raises ReleaseRefused, ApiError, Unreachable.
    """
    app = decode(App, await world.client.get(APPS, place.app, place.namespace))
    target = _environment(app, to)
    now = next((one for one in reversed(await releases_of(world.client, place)) if one.status.phase == "Live"), None)
    if now is None:
        raise ReleaseRefused(f"nothing is live in {place.environment} of {place.key}, so there is nothing to promote")
    if now.spec.adopted:
        raise ReleaseRefused(f"{now.metadata.name} was made by jobs of the pipeline; promote with a job for {to}")
    return await create_release(
        world,
        app,
        target,
        image=now.spec.image,
        port=now.spec.port,
        user=now.spec.user,
        commit=now.spec.commit,
        ref=now.spec.ref,
        run=now.spec.run,
        reason="promote",
        of=now.metadata.name,
        actor=actor,
    )


async def repeat(client: ApiClient, target: Release, releases: tuple[Release, ...], actor: str) -> str:
    """Copy a Release under a new number. Hosts that the App has given back since are left out."""
    place, spec = place_of_release(target), target.spec
    try:
        app = decode(App, await client.get(APPS, place.app, place.namespace))
        if spec.configuration:
            await client.get(SECRETS, spec.configuration, place.namespace)
    except NotFound as error:
        raise ReleaseRefused(f"{target.metadata.name} cannot be repeated: {error}") from None
    hosts = await held_hosts(client, app.metadata.uid)
    copy = msgspec.structs.replace(
        spec,
        reason="rollback",
        of=target.metadata.name,
        actor=actor,
        app_generation=max(one.spec.app_generation for one in (*releases, target)),
        wishes=wishes(app, place.environment),
        on_failure=app.spec.deploy.on_failure,
        manifests=live.pinned(with_hosts(spec.manifests, tuple(hosts)), spec.images),
        broken="",
    )
    return await write(client, place, copy, freeze.owner(app))


def named(releases: tuple[Release, ...], text: str) -> Release | None:
    """The Release that a person means by `v3`, `3` or its name."""
    number = text.removeprefix("v")
    for one in releases:
        if one.metadata.name == text or str(one.spec.number) == number:
            return one
    return None


def before_live(releases: tuple[Release, ...]) -> Release | None:
    """What was live before the present one, and is not the same as it under another number."""
    now = next((one for one in reversed(releases) if one.status.phase == "Live"), None)
    for one in reversed(releases):
        if one.status.phase not in ("Superseded", "Live") or not was_live(one):
            continue
        if now is None or (one.spec.number < now.spec.number and not _same(one, now)):
            return one
    return None


def was_live(release: Release) -> bool:
    """Whether it ever served; one that a newer Release overtook did not."""
    return any(one.type == "Live" for one in release.status.conditions)


def _same(one: Release, other: Release) -> bool:
    return one.spec.manifests == other.spec.manifests and one.spec.configuration == other.spec.configuration


def _environment(app: App, name: str) -> Environment:
    every = environments(app)
    found = next((one for one in every if one.name == name), None)
    if found is None:
        known = ", ".join(one.name for one in every)
        raise ReleaseRefused(f'App {app.metadata.name} has no environment "{name}"; it has {known}')
    return found


def _no_target(place: Place, releases: tuple[Release, ...], to: str) -> str:
    if not to:
        return f"{place.key} has no earlier live Release in {place.environment} to go back to"
    known = ", ".join(f"v{one.spec.number}" for one in releases) or "none"
    return f'{place.key} has no Release "{to}" in {place.environment}; retained are {known}'
