"""The delivery endpoint, as commands reach it: its address, whom to trust there, and the logs that it has."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import msgspec

from fairway.cli import git
from fairway.cli.delivery.cluster import Cluster, Mistake
from fairway.delivery.endpoint.objects import PUBLIC_URL_ANNOTATION
from fairway.delivery.kinds.runs import PipelineRun
from fairway.kube.api.resource import SERVICES
from fairway.kube.client.errors import NotFound
from fairway.toolkit.http_client import Connector, HttpClient, HttpError, Response, Streams

_NAMESPACE, _NAME = "fairway-system", "delivery"
_APPEAR_SECONDS = 30.0
_LOOK_AGAIN_SECONDS = 0.1


class Place(msgspec.Struct, frozen=True):
    """The endpoint's URL, and the root that signed its certificate (None: the system's)."""

    url: str
    ca: Path | None

    def context(self) -> ssl.SSLContext:
        """Raises OSError."""
        return ssl.create_default_context(cafile=self.ca)


async def find(cluster: Cluster) -> Place:
    """Where it is; a cluster that has only just started gets a moment. Raises Mistake when it has no delivery room."""
    deadline = time.monotonic() + _APPEAR_SECONDS
    while not (url := await _public_url(cluster)):
        if time.monotonic() > deadline:
            raise Mistake("this cluster has no delivery endpoint; `fairway up` brings one")
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
    ca = cluster.state_dir / "pki" / "web-ca.crt"
    return Place(url, ca if ca.exists() and cluster.kubeconfig.is_relative_to(cluster.state_dir) else None)


async def _public_url(cluster: Cluster) -> str:
    try:
        service = await cluster.client.get(SERVICES, _NAME, _NAMESPACE)
    except NotFound:
        return ""
    return str(service["metadata"].get("annotations", {}).get(PUBLIC_URL_ANNOTATION, ""))


async def show_log(cluster: Cluster, run: PipelineRun, *, follow: bool) -> None:
    """Print the log of a run as it is written. Raises Mistake."""
    target = f"/logs/{quote(cluster.namespace)}/{quote(run.metadata.name)}{'?follow=true' if follow else ''}"
    async with _answer(cluster, "GET", target) as answer:
        async for line in answer.iter_lines():
            print(line.decode(errors="replace"), flush=True)


async def promote(cluster: Cluster, app: str, source: str, target: str) -> str:
    """The name of the Release that carries on what is live in `source`. Raises Mistake."""
    body = msgspec.json.encode({"from": source, "to": target})
    path = f"/promotions/{quote(cluster.namespace)}/{quote(app)}"
    async with _answer(cluster, "POST", path, body) as answer:
        return (await answer.read()).decode().strip()


@asynccontextmanager
async def _answer(cluster: Cluster, method: str, target: str, body: bytes | None = None) -> AsyncIterator[Response]:
    """A good answer. Raises Mistake with what the endpoint said otherwise."""
    place = await find(cluster)
    parts = urlsplit(place.url)
    assert parts.hostname is not None
    headers = (("Authorization", f"Bearer {await git.token(cluster.client, cluster.namespace)}"),)
    async with HttpClient(_connector(parts.hostname, parts.port or 443, place), host_header=parts.netloc) as http:
        try:
            answer = await http.request(method, target, headers=headers, body=body, dedicated=True)
            async with answer:
                if answer.status != 200:
                    raise Mistake((await answer.read()).decode(errors="replace").strip())
                yield answer
        except HttpError as error:
            raise Mistake(f"{place.url}: {error}") from error


def _connector(host: str, port: int, place: Place) -> Connector:
    """Names below localhost are this machine, whether the resolver knows that or not (RFC 6761)."""

    async def connect() -> Streams:
        address = "127.0.0.1" if host.endswith(".localhost") else host
        return await asyncio.open_connection(address, port, ssl=place.context(), server_hostname=host)

    return connect
