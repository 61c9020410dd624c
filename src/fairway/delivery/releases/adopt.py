"""What the jobs of a pipeline did to the cluster by themselves, as a Release.

The Release holds the objects as they are when the run has ended. It becomes live like any other, but its objects are
not written again: they only get the labels and the owner by which they belong to the App. Going back to it writes all.
"""

from collections.abc import Iterable, Mapping

import msgspec

from fairway.delivery.kinds.apps import App, Environment
from fairway.delivery.kinds.releases import Release, ReleaseSpec
from fairway.delivery.kinds.runs import PipelineRun
from fairway.delivery.releases import freeze, live
from fairway.delivery.releases.create import releases_of, repeated, unchanged, write
from fairway.delivery.releases.manifests import BYTES_MAX, with_hosts
from fairway.delivery.releases.objects import Live, Manifest, Manifests, Name, Place, in_order, name_of, place_of
from fairway.delivery.releases.plan import Row
from fairway.delivery.releases.world import ReleaseRefused, ReleaseWorld
from fairway.kube.api.noun import decode
from fairway.kube.client.errors import NotFound


async def adopt(world: ReleaseWorld, app: App, environment: Environment, run: PipelineRun) -> str:
    """The name of the Release of what is there now; the same call again gives the same Release.

    Raises ReleaseRefused with text for people; ApiError, Unreachable.
    """
    place = Place(app.metadata.namespace, app.metadata.name, environment.name)
    bad = run.status.phase != "Succeeded"
    spec = ReleaseSpec(
        app=place.app,
        environment=place.environment,
        port=run.status.port,
        commit=run.spec.commit,
        ref=run.spec.ref,
        run=run.metadata.name,
        reason="deploy",
        actor=run.spec.trigger.actor,
        app_generation=app.metadata.generation,
        on_failure=app.spec.deploy.on_failure,
        adopted=True,
        broken=f"run {run.metadata.name}: {run.status.message or run.status.phase}"[:1000] if bad else "",
    )
    before = await releases_of(world.client, place)
    if found := repeated(spec, before):
        return found
    manifests = await _read(world, place, live.changed(run, environment.name) | _known(before))
    if not manifests:
        raise ReleaseRefused(f"run {run.metadata.name} took away all objects of {place}; nothing is left to release")
    digests = _digests(manifests, run.status.images)
    spec = msgspec.structs.replace(
        spec, manifests=manifests, images=digests, image=next(iter(digests.values()), _by_digest(manifests))
    )
    return await write(world.client, place, spec, freeze.owner(app))


async def reconfigure(world: ReleaseWorld, app: App, environment: Environment, newest: Release) -> str:
    """What of the App's wishes can be done to objects that jobs made: hosts that it gave back are not served."""
    place = Place(app.metadata.namespace, app.metadata.name, environment.name)
    spec = msgspec.structs.replace(
        newest.spec,
        reason="config",
        of="",
        actor="",
        broken="",
        app_generation=app.metadata.generation,
        manifests=with_hosts(newest.spec.manifests, environment.domains),
    )
    if found := unchanged(spec, await releases_of(world.client, place)):
        return found
    return await write(world.client, place, spec, freeze.owner(app))


def _known(before: tuple[Release, ...]) -> frozenset[Name]:
    """What jobs made earlier: `kubectl apply` does not touch what is as it should be."""
    current = Row(before).current if before else None
    if current is None or not current.spec.adopted:
        return frozenset()
    return frozenset(name_of(one) for one in current.spec.manifests)


async def _read(world: ReleaseWorld, place: Place, names: Iterable[Name]) -> Manifests:
    """Those that are there. Raises ReleaseRefused for one of another App, and when they are too many."""
    found: list[Manifest] = []
    for name in sorted(names, key=str):
        try:
            raw = await world.client.get(name.resource, name.name, place.namespace)
        except NotFound:
            continue
        seen = decode(Live, raw)
        if seen.metadata.deletion_timestamp is not None or _is_made_by_another(seen):
            continue
        whose = place_of(place.namespace, seen.metadata.labels)
        if whose is not None and whose != place:
            raise ReleaseRefused(
                f"a job of {place} changed {name}, which is of App {whose.app}, environment {whose.environment}; "
                "name its own object otherwise, or let that App's pipeline change it"
            )
        found.append(live.manifest(name.resource, raw, place))
    made = in_order(found)
    if (size := len(msgspec.json.encode(made))) > BYTES_MAX:
        raise ReleaseRefused(f"the objects of {place} are {size} bytes; a Release holds at most {BYTES_MAX}")
    return made


def _is_made_by_another(seen: Live) -> bool:
    """A controller made it and would make it again."""
    return any(one.controller for one in seen.metadata.owner_references if one.kind != "App")


def _digests(manifests: Manifests, images: Mapping[str, str]) -> dict[str, str]:
    """The names of images that this very run made, as far as containers have them."""
    return {name: images[name] for name in live.images(manifests) if name in images}


def _by_digest(manifests: Manifests) -> str:
    return next((name for name in live.images(manifests) if "@sha256:" in name), "")
