"""A running API server in memory, and a client that speaks plain HTTP to it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fairway.engine.apiserver import ApiServer, Config
from fairway.toolkit.clock import FakeClock
from fairway.toolkit.http_client import HttpClient, Response, unix_connector


class Answer(msgspec.Struct, frozen=True):
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json.get("message"))


class Watching:
    """A watch that is open."""

    def __init__(self, response: Response) -> None:
        self._response = response
        self._lines = response.iter_lines()

    async def next(self) -> Any:
        """The next event."""
        return json.loads(await anext(self._lines))

    async def names(self, count: int) -> list[tuple[str, str]]:
        """(type, name) of the next events."""
        events = [await self.next() for _ in range(count)]
        return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]

    async def rest(self) -> list[Any]:
        """All events until the server ends the stream."""
        return [json.loads(line) async for line in self._lines]

    async def close(self) -> None:
        await self._lines.aclose()  # type: ignore[attr-defined]
        await self._response.aclose()


class Api:
    """The server under test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.socket = folder / "api.sock"
        self.kubelet_socket = folder / "kubelet.sock"
        self.server = ApiServer(
            Config(state_dir=None, unix_socket=self.socket, kubelet_socket=self.kubelet_socket), clock=self.clock
        )
        self.client = HttpClient(unix_connector(self.socket), host_header="local", max_connections=64)
        self.watches: list[Watching] = []

    async def close(self) -> None:
        for watching in self.watches:
            await watching.close()
        await self.client.aclose()
        await self.server.stop()

    async def call(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json", **headers: str
    ) -> Answer:
        """Send a request; a body that is not bytes is encoded as JSON."""
        pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
        if body is not None:
            pairs.append(("Content-Type", content_type))
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = await self.client.request(method, path, headers=pairs, body=body)
        return Answer(response.status, dict(response.headers), await response.read())

    async def get(self, path: str, **headers: str) -> Any:
        answer = await self.call("GET", path, **headers)
        assert answer.status == 200, answer.body
        return answer.json

    async def create(self, path: str, obj: Any, status: int = 201) -> Any:
        answer = await self.call("POST", path, obj)
        assert answer.status == status, answer.body
        return answer.json

    async def put(self, path: str, obj: Any, status: int = 200) -> Any:
        answer = await self.call("PUT", path, obj)
        assert answer.status == status, answer.body
        return answer.json

    async def patch(self, path: str, patch: Any, how: str = "merge-patch+json", status: int = 200) -> Any:
        answer = await self.call("PATCH", path, patch, f"application/{how}")
        assert answer.status == status, answer.body
        return answer.json

    async def delete(self, path: str, options: Any = None, status: int = 200) -> Any:
        answer = await self.call("DELETE", path, options)
        assert answer.status == status, answer.body
        return answer.json

    async def watch(self, path: str, **headers: str) -> Watching:
        pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
        response = await self.client.request("GET", path, headers=pairs, dedicated=True)
        assert response.status == 200, await response.read()
        watching = Watching(response)
        self.watches.append(watching)
        return watching


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    made = Api(tmp_path)
    await made.server.start()
    yield made
    await made.close()
