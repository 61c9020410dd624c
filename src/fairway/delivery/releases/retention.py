"""What is retained of Releases, and what goes with the others."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from fairway.delivery.kinds.releases import Release
from fairway.delivery.kinds.resources import RELEASES
from fairway.delivery.releases.freeze import CONFIGURATION_LABEL, FROZEN_AT
from fairway.delivery.releases.objects import Place, pod_template
from fairway.delivery.releases.plan import Row
from fairway.kube.api.config import Secret
from fairway.kube.api.noun import decode
from fairway.kube.api.resource import SECRETS
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import Conflict, NotFound

_DIGEST = re.compile(r"@(sha256:[0-9a-f]{64})$")
_YOUNG = timedelta(minutes=10)
"""A Secret is written before its Release: one that is younger may still get it."""


async def forget(client: ApiClient, place: Place, row: Row, keep: int, now: datetime) -> tuple[str, ...]:
    """Delete Releases beyond what is retained, and frozen Secrets that no Release needs; the names of the Releases."""
    gone = row.beyond(keep)
    for release in gone:
        await _delete(client, RELEASES, release.metadata)
    needed = {one.spec.configuration for one in row.releases if one not in gone}
    for secret in await _frozen(client, place):
        if secret.metadata.name not in needed and not _young(secret, now):
            await _delete(client, SECRETS, secret.metadata)
    return tuple(one.metadata.name for one in gone)


async def forget_all(client: ApiClient, place: Place, row: Row) -> None:
    """Delete everything that is retained of a place."""
    for secret in await _frozen(client, place):
        await _delete(client, SECRETS, secret.metadata)
    for release in row.releases:
        await _delete(client, RELEASES, release.metadata)


async def _frozen(client: ApiClient, place: Place) -> tuple[Secret, ...]:
    found = await client.list(SECRETS, place.namespace, labels=f"{place.selector},{CONFIGURATION_LABEL}=frozen")
    return tuple(decode(Secret, raw) for raw in found.items)


async def retained_images(client: ApiClient) -> frozenset[str]:
    """The digests (`sha256:…`) of every image that a retained Release names: what garbage collection must keep."""
    found = (decode(Release, raw) for raw in (await client.list(RELEASES)).items)
    return frozenset(digest for release in found for digest in digests(release))


def digests(release: Release) -> Iterator[str]:
    """Those of its image and of all containers in its manifests."""
    for image in (release.spec.image, *release.spec.images.values(), *_images(release)):
        if found := _DIGEST.search(image):
            yield found[1]


def _images(release: Release) -> Iterator[str]:
    for manifest in release.spec.manifests:
        template = pod_template(manifest)
        pod: Mapping[str, Any] = (template or {}).get("spec") or {}
        for group in ("initContainers", "containers"):
            yield from (str(container.get("image", "")) for container in pod.get(group) or ())


def _young(secret: Secret, now: datetime) -> bool:
    try:
        frozen = datetime.fromisoformat(secret.metadata.annotations.get(FROZEN_AT, ""))
    except ValueError:
        return False
    return now - frozen < _YOUNG


async def _delete(client: ApiClient, resource: Any, metadata: Any) -> None:
    """Only what was looked at: a Secret that somebody froze again meanwhile stays."""
    try:
        await client.delete(
            resource,
            metadata.name,
            namespace=metadata.namespace,
            uid=metadata.uid,
            resource_version=metadata.resource_version,
        )
    except (NotFound, Conflict):
        return
