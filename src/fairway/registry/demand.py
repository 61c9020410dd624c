"""Which images the Apps of the cluster still need, as far as the API knows of Apps at all."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from fairway.kube.api.resource import PODS, Resource
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound
from fairway.toolkit.oci.reference import InvalidReference, Reference, parse

_APPS = Resource("fairway.dev", "v1alpha1", "apps", "App")
_RELEASES = Resource("fairway.dev", "v1alpha1", "releases", "Release")
_RUNS = Resource("fairway.dev", "v1alpha1", "pipelineruns", "PipelineRun")
_TEMPLATES: tuple[tuple[str, ...], ...] = (
    ("spec",),
    ("spec", "template", "spec"),
    ("spec", "jobTemplate", "spec", "template", "spec"),
)
Raw = Mapping[str, Any]


class Demand(msgspec.Struct, frozen=True):
    """The repositories that belong to Apps, and what must stay: digests, and tags as (repository, tag).

    Repositories of nobody are left to those who push there.
    """

    repositories: frozenset[str] = frozenset()
    digests: frozenset[str] = frozenset()
    tags: frozenset[tuple[str, str]] = frozenset()

    def tags_of(self, repository: str) -> frozenset[str]:
        return frozenset(tag for owner, tag in self.tags if owner == repository)


async def read(client: ApiClient) -> Demand:
    """Without the kind App nothing belongs to an App. Raises ApiError, Unreachable: then nothing may be removed."""
    try:
        apps = (await client.list(_APPS)).items
    except NotFound:
        return Demand()
    # Runs before Releases: what a run made and a Release took over meanwhile is seen in one of them at least.
    runs = (await client.list(_RUNS)).items
    releases = (await client.list(_RELEASES)).items
    pods = (await client.list(PODS)).items
    return demand(apps, releases, runs, pods)


def demand(apps: Iterable[Raw], releases: Iterable[Raw], runs: Iterable[Raw], pods: Iterable[Raw]) -> Demand:
    """What every Release names, what the newest successful run of each App made, and what pods were made of."""
    images = [str(release["spec"].get("image", "")) for release in releases]
    images += [image for release in releases for raw in release["spec"].get("manifests", ()) for image in _images(raw)]
    images += [str(image) for release in releases for image in (release["spec"].get("images") or {}).values()]
    images += newest(runs)
    images += [image for pod in pods for image in _images(pod)]
    references = [reference for image in images if (reference := _parsed(image))]
    return Demand(
        frozenset(f"{app['metadata']['namespace']}/{app['metadata']['name']}" for app in apps),
        frozenset(reference.digest for reference in references if reference.digest),
        frozenset((reference.repository, reference.tag) for reference in references if reference.tag),
    )


def newest(runs: Iterable[Raw]) -> list[str]:
    """The image of each App's last run that made one: it may wait for its Release as long as an App is paused."""
    found: dict[tuple[str, str], tuple[int, str]] = {}
    for run in runs:
        spec, image = run["spec"], str((run.get("status") or {}).get("image", ""))
        if image:
            key = (run["metadata"]["namespace"], str(spec.get("app", "")))
            found[key] = max(found.get(key, (-1, "")), (int(spec.get("number", 0)), image))
    return [image for _, image in found.values()]


def _images(raw: Raw) -> Iterator[str]:
    """Of a pod, or of any kind that has a template of pods."""
    for path in _TEMPLATES:
        spec: Any = raw
        for part in path:
            spec = spec.get(part) if isinstance(spec, Mapping) else None
        if isinstance(spec, Mapping):
            for group in ("initContainers", "containers", "ephemeralContainers"):
                yield from (str(container.get("image", "")) for container in spec.get(group) or ())


def _parsed(image: str) -> Reference | None:
    try:
        return parse(image)
    except InvalidReference:
        return None
