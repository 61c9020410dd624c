"""Put the objects of a Release into the cluster, and take out those of earlier ones."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from fairway.delivery.kinds.releases import Release
from fairway.delivery.kinds.resources import FIELD_MANAGER, RELEASE_LABEL
from fairway.delivery.releases.create import held_hosts, place_of_release
from fairway.delivery.releases.manifests import problem_of
from fairway.delivery.releases.objects import Live, Manifest, Name, Place, in_order, name_of, place_of
from fairway.delivery.releases.world import Problem
from fairway.kube.api.noun import decode
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import Forbidden, Invalid, NotFound

Generations = Mapping[Name, int]
_MARKS_MANAGER = "fairway-adoption"


class Applier:
    """Applies with server-side apply under an own field manager, by force: a Release is what is wanted."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def problem(self, release: Release) -> Problem | None:
        """What stands in the way, found out without changing anything. Raises ApiError, Unreachable."""
        place, uid = place_of_release(release), app_uid(release)
        hosts = await held_hosts(self._client, uid)
        if problem := problem_of(release.spec.manifests, place, tuple(hosts)):
            return problem
        answers = await asyncio.gather(*(self._refusal(release, place, one) for one in release.spec.manifests))
        return next(filter(None, answers), None)

    async def apply(self, release: Release, only: frozenset[Name] | None = None) -> Generations | Problem:
        """The generation of each object as it was written. Raises ApiError but for a refusal, Unreachable."""
        if release.spec.adopted and release.spec.reason == "deploy":
            return await self._mark(release)
        generations = {}
        for manifest in in_order(release.spec.manifests):
            name = name_of(manifest)
            if only is not None and name not in only:
                continue
            try:
                made = await self._client.apply(name.resource, _owned(release, manifest), field_manager=FIELD_MANAGER)
            except (Invalid, Forbidden) as error:
                return Problem(f"{name}: {error}")
            generations[name] = decode(Live, made).metadata.generation
        return generations

    async def _mark(self, release: Release) -> Generations | Problem:
        """What jobs made keeps their field managers: it only gets the labels and the owner.

        By a manager of its own: these few fields must never become all that the one of Releases wants of an object.
        """
        generations = {}
        for manifest in in_order(release.spec.manifests):
            name = name_of(manifest)
            live = await self._live(name, release.metadata.namespace)
            if live is None:
                return Problem(f"{name} was taken away after the run")
            owned = _owned(release, manifest)["metadata"]
            kept = {key: owned[key] for key in ("name", "namespace", "ownerReferences")}
            labels = {key: owned["labels"][key] for key in (*place_of_release(release).labels, RELEASE_LABEL)}
            marks = {**{key: manifest[key] for key in ("apiVersion", "kind")}, "metadata": {**kept, "labels": labels}}
            try:
                made = await self._client.apply(name.resource, marks, field_manager=_MARKS_MANAGER)
            except (Invalid, Forbidden) as error:
                return Problem(f"{name}: {error}")
            generations[name] = decode(Live, made).metadata.generation
        return generations

    async def prune(self, place: Place, names: Iterable[Name], keep: frozenset[Name]) -> tuple[Name, ...]:
        """Delete those of this place that are not to be kept; returns what went. Raises ApiError, Unreachable."""
        gone = []
        for name in sorted(set(names) - keep, key=str):
            live = await self._live(name, place.namespace)
            if live is None or live.metadata.deletion_timestamp is not None or not _is_of(live, place):
                continue
            try:
                await self._client.delete(
                    name.resource,
                    name.name,
                    namespace=place.namespace,
                    uid=live.metadata.uid,
                    propagation_policy="Background",
                )
            except NotFound:
                continue
            gone.append(name)
        return tuple(gone)

    async def _refusal(self, release: Release, place: Place, manifest: Manifest) -> Problem | None:
        name = name_of(manifest)
        live = await self._live(name, place.namespace)
        if live is not None and not _is_of(live, place) and not _may_adopt(release, live):
            whose = place_of(place.namespace, live.metadata.labels)
            owner = f"of App {whose.app}, environment {whose.environment}" if whose else "not made by an App"
            return Problem(f"{name} exists and is {owner}; delete it or give one of them another name")
        try:
            await self._client.apply(
                name.resource, _owned(release, manifest), field_manager=FIELD_MANAGER, dry_run=True
            )
        except (Invalid, Forbidden) as error:
            return Problem(f"{name}: {error}")
        return None

    async def _live(self, name: Name, namespace: str) -> Live | None:
        try:
            return decode(Live, await self._client.get(name.resource, name.name, namespace))
        except NotFound:
            return None


def app_uid(release: Release) -> str:
    """The uid of the App that a Release belongs to; "" when it names none."""
    owners = release.metadata.owner_references
    return next((one.uid for one in owners if one.kind == "App" and one.name == release.spec.app), "")


def names_of(releases: Iterable[Release]) -> frozenset[Name]:
    """The objects of Releases; kinds that none may have are left out."""
    found = set()
    for release in releases:
        for manifest in release.spec.manifests:
            try:
                found.add(name_of(manifest))
            except KeyError:
                continue
    return frozenset(found)


def _is_of(live: Live, place: Place) -> bool:
    return place_of(place.namespace, live.metadata.labels) == place


def _may_adopt(release: Release, live: Live) -> bool:
    """Whether an object of nobody is to become the App's: a job of its pipeline made or changed it."""
    return release.spec.adopted and place_of(release.metadata.namespace, live.metadata.labels) is None


def _owned(release: Release, manifest: Manifest) -> dict[str, Any]:
    """The manifest as it is applied: with the Release that did it, and belonging to the App, whose end is its own."""
    metadata = manifest["metadata"]
    labels = {**(metadata.get("labels") or {}), RELEASE_LABEL: label(release)}
    owners = [msgspec.to_builtins(one) for one in release.metadata.owner_references if one.kind == "App"]
    plain = [{key: value for key, value in one.items() if key in _OWNER_FIELDS} for one in owners]
    return {**manifest, "metadata": {**metadata, "labels": labels, "ownerReferences": plain}}


def label(release: Release) -> str:
    """A Release on the label of an object; its name could be longer than a label's value."""
    return f"v{release.spec.number}"


_OWNER_FIELDS = ("apiVersion", "kind", "name", "uid")
