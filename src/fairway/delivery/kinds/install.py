"""Make the API serve the kinds of `fairway.dev`."""

import asyncio
from importlib import resources
from typing import Any

import yaml

from fairway.delivery.kinds.resources import APPS, DOMAIN_POLICIES, DOMAINS, FIELD_MANAGER, PIPELINE_RUNS, RELEASES
from fairway.kube.api.resource import CUSTOM_RESOURCE_DEFINITIONS
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound

_LOOK_AGAIN_SECONDS = 0.02


def definitions() -> tuple[dict[str, Any], ...]:
    """The CustomResourceDefinitions, as they are applied; people with an own cluster can do that with kubectl."""
    folder = resources.files("fairway.delivery.kinds") / "crds"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    return tuple(yaml.load((folder / name).read_bytes(), _LOADER) for name in names)


async def install(client: ApiClient) -> None:
    """Apply them and wait until the API serves every kind. Raises ApiError, Unreachable."""
    wanted = await asyncio.to_thread(definitions)
    for definition in wanted:
        await client.apply(CUSTOM_RESOURCE_DEFINITIONS, definition, field_manager=FIELD_MANAGER)
    for resource in (APPS, PIPELINE_RUNS, RELEASES, DOMAINS, DOMAIN_POLICIES):
        await _served(client, resource)


async def _served(client: ApiClient, resource: Any) -> None:
    while True:
        try:
            await client.list(resource, metadata_only=True)
        except NotFound:
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        else:
            return


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
