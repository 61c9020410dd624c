"""The delivery room of a one-machine cluster: where it keeps things, by which names it is found."""

import asyncio
from pathlib import Path

import msgspec

from fairway import edge
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import ApiError, Unreachable
from fairway.processes import own_registry
from fairway.processes.assembling import assembler
from fairway.processes.broker import Broker, listener
from fairway.processes.instance import Settings
from fairway.registry.tokens import Scope, issue
from fairway.toolkit import files
from fairway.toolkit.clock import Clock
from fairway.toolkit.http_client import Dialer

_ADDRESS = "10.42.0.1"
_PORT = 8900
_HTTPS_PORT = 443
_TOKEN = "fairway-delivery"


async def run(
    client: ApiClient,
    settings: Settings,
    clock: Clock,
    ready: asyncio.Event,
    dialer: Dialer,
    broker: Broker,
    door: edge.Served | None,
) -> None:
    """Serve until cancelled; only after the cluster is ready, whose start it would make slower. Raises OSError.

    `dialer` leads to registries, to the cluster's own too; `door` knows what the cluster's own edge serves.
    """
    await ready.wait()
    from fairway import delivery  # its modules are not needed to start a cluster either
    from fairway.delivery.git.guard import CLUSTER
    from fairway.delivery.room import run as serve

    port = settings.https.port
    suffix = "" if port == _HTTPS_PORT else f":{port}"
    config = delivery.Config(
        state_dir=settings.path / "delivery",
        endpoint_address=_ADDRESS,
        endpoint_port=_PORT,
        public_url=f"https://git.{settings.platform_domain}{suffix}",
        url_suffix=suffix,
        push_bytes_max=settings.push_bytes_max,
        allowed_hosts=frozenset(settings.forges),
        own_networks=CLUSTER,
        registry=own_registry.names(settings)[0],
        registry_names=own_registry.names(settings)[1:],
        registry_credentials=await asyncio.to_thread(credentials, settings.path, own_registry.names(settings)[0]),
        registry_authorities=settings.path / "registries",
        images_dir=settings.path / "images",
    )
    with listener(_ADDRESS, _PORT) as sock:
        await serve(client, config, clock, sock, dialer, assembler(broker), broker.addresses, door)


async def takes_apps(client: ApiClient) -> bool:
    """Whether the API serves the kind by now."""
    from fairway.delivery.kinds.resources import APPS  # not needed to start a cluster

    try:
        await client.list(APPS, metadata_only=True)
    except (ApiError, Unreachable):
        return False
    return True


def credentials(state_dir: Path, registry: str) -> Path:
    """Docker's config.json with a fresh token for the cluster's own registry; that of the last start ends.

    Raises OSError, BadTable.
    """
    everything = (Scope("*", ("pull", "push")),)
    token = issue(own_registry.tokens_file(state_dir), _TOKEN, everything)
    path = state_dir / "registry" / "delivery.json"
    auths = {"auths": {registry: {"username": _TOKEN, "password": token}}}
    files.replace(path, msgspec.json.encode(auths), mode=0o600)
    return path
