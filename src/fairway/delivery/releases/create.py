"""Make a Release: variables frozen, manifests rendered, both fixed for ever."""

from collections.abc import Mapping
from typing import Any

import msgspec

from fairway.delivery.domains.claims import OWNER_LABEL
from fairway.delivery.git.errors import SourceError
from fairway.delivery.kinds.apps import App, Environment, object_name
from fairway.delivery.kinds.domains import Domain
from fairway.delivery.kinds.releases import Release, ReleaseSpec, release_name
from fairway.delivery.kinds.resources import COMMIT_ANNOTATION, DOMAINS, RELEASES, RUN_LABEL
from fairway.delivery.releases import certificates, freeze, templates
from fairway.delivery.releases.freeze import Frozen
from fairway.delivery.releases.manifests import Values
from fairway.delivery.releases.objects import Manifests, Place
from fairway.delivery.releases.translate import generated
from fairway.delivery.releases.wishes import wishes
from fairway.delivery.releases.world import Problem
from fairway.delivery.releases.world import ReleaseRefused as ReleaseRefused
from fairway.delivery.releases.world import ReleaseWorld as ReleaseWorld
from fairway.kube.api.noun import decode, encode
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import AlreadyExists

_TRIES_MAX = 20
_LABEL_LENGTH_MAX = 63


class Prepared(msgspec.Struct, frozen=True):
    """What a Release will hold, before anything is written."""

    frozen: Frozen
    manifests: Manifests


async def create_release(
    world: ReleaseWorld,
    app: App,
    environment: Environment,
    *,
    image: str,
    port: int,
    user: str = "",
    commit: str,
    ref: str,
    run: str,
    reason: str,
    of: str = "",
    actor: str = "",
) -> str:
    """The name of the Release of this image with the App's wishes of now; the same call again gives the same Release.

    A run is deployed once in an environment. A change of configuration that changes nothing makes no Release.
    Raises ReleaseRefused with text for people; ApiError, Unreachable.
    """
    spec = ReleaseSpec(
        app=app.metadata.name,
        environment=environment.name,
        image=image,
        port=port,
        user=user,
        commit=commit,
        ref=ref,
        run=run,
        reason=reason,
        of=of,
        actor=actor,
        app_generation=app.metadata.generation,
        wishes=wishes(app, environment.name),
        on_failure=app.spec.deploy.on_failure,
    )
    place = Place(app.metadata.namespace, app.metadata.name, environment.name)
    if found := repeated(spec, await releases_of(world.client, place)):
        return found
    prepared = await prepare(world, app, environment, spec)
    if isinstance(prepared, Problem):
        raise ReleaseRefused(prepared.text)
    configuration = prepared.frozen.name(_prefix(spec))
    spec = msgspec.structs.replace(spec, manifests=prepared.manifests, configuration=configuration)
    if found := unchanged(spec, await releases_of(world.client, place)):
        return found
    await freeze.store(world, app, environment, prepared.frozen)
    return await write(world.client, place, spec, freeze.owner(app))


async def prepare(world: ReleaseWorld, app: App, environment: Environment, spec: ReleaseSpec) -> Prepared | Problem:
    """Read the variables and render the manifests; nothing is written."""
    hosts = await held_hosts(world.client, app.metadata.uid)
    mine = tuple(host for host in environment.domains if host in hosts)
    environment = msgspec.structs.replace(environment, domains=mine)
    frozen = await freeze.resolve(world, app, environment)
    if isinstance(frozen, Problem):
        return frozen
    configuration = frozen.name(_prefix(spec))
    if app.spec.deploy.mode == "generated":
        if not spec.image:
            return Problem("there is no image to deploy: spec.build made none")
        name = object_name(app.metadata.name, environment.name)
        made: Manifests = generated(
            app,
            environment,
            image=spec.image,
            port=spec.port,
            user=spec.user,
            commit=spec.commit,
            configuration=configuration,
            pod_variables=frozen.pod_variables,
            brought=await certificates.brought(world.client, app.metadata.namespace, name, mine),
        )
        return Prepared(frozen, made)
    values = Values(
        Place(app.metadata.namespace, app.metadata.name, environment.name),
        spec.image,
        app.spec.runtime.port or spec.port,
        spec.commit,
        mine,
        configuration,
        app.spec.deploy.progress_deadline_seconds,
    )
    try:
        rendered = await templates.render(world, app, values)
    except SourceError as error:
        return Problem(str(error))
    return rendered if isinstance(rendered, Problem) else Prepared(frozen, rendered)


async def releases_of(client: ApiClient, place: Place) -> tuple[Release, ...]:
    """The Releases of an App's environment, by number."""
    found = await client.list(RELEASES, place.namespace, fields=f"spec.app={place.app}")
    mine = (decode(Release, raw) for raw in found.items)
    return tuple(sorted((one for one in mine if place_of_release(one) == place), key=lambda one: one.spec.number))


def place_of_release(release: Release) -> Place:
    return Place(release.metadata.namespace, release.spec.app, release.spec.environment)


async def held_hosts(client: ApiClient, app_uid: str) -> frozenset[str]:
    """The hosts that an App has."""
    found = await client.list(DOMAINS, labels=f"{OWNER_LABEL}={app_uid}")
    domains = (decode(Domain, raw) for raw in found.items)
    return frozenset(domain.spec.host for domain in domains if domain.spec.app_uid == app_uid)


async def write(client: ApiClient, place: Place, spec: ReleaseSpec, owner: Mapping[str, Any]) -> str:
    """Create the Release under the next free number; of two that race, one finds what the other made."""
    for _ in range(_TRIES_MAX):
        before = await releases_of(client, place)
        if found := repeated(spec, before):
            return found
        number = (before[-1].spec.number if before else 0) + 1
        name = release_name(place.app, place.environment, number)
        try:
            await client.create(RELEASES, _object(name, place, msgspec.structs.replace(spec, number=number), owner))
        except AlreadyExists:
            continue
        return name
    raise ReleaseRefused(f"Releases of {place} are made faster than this one could be; try again")


def _object(name: str, place: Place, spec: ReleaseSpec, owner: Mapping[str, Any]) -> dict[str, Any]:
    run = {RUN_LABEL: spec.run} if 0 < len(spec.run) <= _LABEL_LENGTH_MAX else {}
    return {
        "apiVersion": RELEASES.api_version,
        "kind": RELEASES.kind,
        "metadata": {
            "name": name,
            "namespace": place.namespace,
            "labels": {**place.labels, **run},
            "annotations": {COMMIT_ANNOTATION: spec.commit} if spec.commit else {},
            "ownerReferences": [dict(owner)],
        },
        "spec": {"onFailure": spec.on_failure, "reason": spec.reason, **encode(spec)},
    }


def repeated(spec: ReleaseSpec, before: tuple[Release, ...]) -> str:
    """The Release of a run that is released already: it is deployed once in an environment."""
    if spec.reason != "deploy" or not spec.run:
        return ""
    mine = (one for one in before if one.spec.reason == "deploy" and one.spec.run == spec.run)
    return next((one.metadata.name for one in mine), "")


def unchanged(spec: ReleaseSpec, before: tuple[Release, ...]) -> str:
    """The name of the newest Release, when this one would be the same. One that failed may be promoted to again."""
    if spec.reason not in ("config", "promote") or not before:
        return ""
    newest = before[-1]
    if spec.reason == "promote" and newest.status.phase == "Failed":
        return ""
    same = (newest.spec.image, newest.spec.configuration) == (spec.image, spec.configuration)
    return newest.metadata.name if same and _plain(newest.spec.manifests) == _plain(spec.manifests) else ""


def _plain(manifests: Manifests) -> Any:
    """As the API gives them back: lists, not tuples."""
    return msgspec.json.decode(msgspec.json.encode(manifests))


def _prefix(spec: ReleaseSpec) -> str:
    return release_name(spec.app, spec.environment, 0).removesuffix("-v0")
