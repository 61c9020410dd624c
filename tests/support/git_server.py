"""The git endpoint as a process of its own, for tests that kill it: FOLDER API_SOCKET; its port on standard output."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import uvloop

from fairway.delivery.git import GitEndpoint, Repositories
from fairway.kube.api.meta import ObjectKey
from fairway.kube.client.client import ApiClient
from fairway.toolkit import logs
from fairway.toolkit.clock import SystemClock
from fairway.toolkit.http_client import HttpClient, unix_connector
from fairway.toolkit.http_server import HttpServer


async def _pushed(key: ObjectKey, branch: str, commit: str, actor: str) -> AsyncIterator[str]:
    yield f"-----> {commit}"


async def _serve(folder: Path, api: Path) -> None:
    client = ApiClient(HttpClient(unix_connector(api), host_header="localhost"))
    endpoint = GitEndpoint(Repositories(folder), client, SystemClock(), _pushed)
    server = HttpServer(endpoint.answer, logs.get("git"), streamed=GitEndpoint.streamed)
    sock = socket.create_server(("127.0.0.1", 0))
    await server.listen(sock, name="git")
    print(sock.getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1]), Path(sys.argv[2])))
