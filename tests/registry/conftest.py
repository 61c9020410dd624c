"""A registry on a real port, and a client that speaks HTTP as written in the tables."""

import asyncio
import contextlib
import gzip
import io
import json
import socket
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fairway import registry
from fairway.registry.service import Registry
from fairway.registry.tokens import Scope, issue
from fairway.toolkit.clock import SystemClock
from fairway.toolkit.content_store import sha256
from fairway.toolkit.http_client import HttpClient, tcp_connector
from fairway.toolkit.oci.store import ImageStore

OCI = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class Answer(msgspec.Struct, frozen=True):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The spec's error code."""
        return str(self.json["errors"][0]["code"]) if self.body else ""


class Image(msgspec.Struct, frozen=True):
    """A small image that could run; `text` makes it another one."""

    text: str

    @property
    def layer(self) -> bytes:
        return gzip.compress(self._tar(), mtime=0)

    @property
    def config(self) -> bytes:
        rootfs = {"type": "layers", "diff_ids": [sha256(self._tar())]}
        return json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs, "config": {"Cmd": ["x"]}}).encode()

    @property
    def manifest(self) -> bytes:
        return manifest(self.config, self.layer)

    def _tar(self) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            member = tarfile.TarInfo("hello")
            member.size = len(self.text)
            tar.addfile(member, io.BytesIO(self.text.encode()))
        return buffer.getvalue()


def descriptor(data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data), **more}


def manifest(config: bytes, *layers: bytes, **more: Any) -> bytes:
    fields = {"schemaVersion": 2, "mediaType": OCI, "config": descriptor(config, more.pop("config_type", CONFIG))}
    fields |= {"layers": [descriptor(layer, LAYER) for layer in layers], **more}
    return json.dumps(fields).encode()


def index(*manifests: bytes, **more: Any) -> bytes:
    platform = {"os": "linux", "architecture": "amd64"}
    entries = [descriptor(data, OCI, platform=platform) for data in manifests]
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries, **more}).encode()


class Bench:
    """A served registry. `collect` and the files are reached directly."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.tokens = folder / "registry" / "tokens.json"
        given = {"names": ("registry.fairway.local",), "anonymous": "all", **settings}
        self.config = registry.Config(images_dir=folder / "images", tokens_file=self.tokens, **given)
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.sock.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self.http = HttpClient(tcp_connector("127.0.0.1", self.port), host_header=self.host)
        self.task: asyncio.Task[None] | None = None
        self.tls: Any = None

    @property
    def store(self) -> ImageStore:
        return ImageStore(self.folder / "images")

    def start(self) -> None:
        listener = registry.Listener("test", self.sock.fileno(), self.tls)
        self.task = asyncio.create_task(registry.run(None, self.config, SystemClock(), (listener,)))

    async def stop(self) -> None:
        await self.http.aclose()
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task
        self.sock.close()

    async def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        lines = [(name.replace("_", "-"), value) for name, value in headers.items()]
        async with await self.http.request(method, path, headers=lines, body=body) as answer:
            return Answer(answer.status, dict(answer.headers), await answer.read())

    async def blob(self, repository: str, data: bytes, **headers: str) -> Answer:
        return await self.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={sha256(data)}", data, **headers)

    async def put(self, repository: str, target: str, data: bytes, media_type: str = OCI, **headers: str) -> Answer:
        return await self.ask("PUT", f"/v2/{repository}/manifests/{target}", data, content_type=media_type, **headers)

    async def push(self, repository: str, tag: str, image: Image) -> str:
        for data in (image.config, image.layer):
            assert (await self.blob(repository, data)).status == 201
        pushed = await self.put(repository, tag, image.manifest)
        assert pushed.status == 201, pushed.body
        return pushed.headers["docker-content-digest"]

    def token(self, name: str, repository: str, *actions: str) -> str:
        return issue(self.tokens, name, (Scope(repository, actions),))

    def service(self) -> Registry:
        """The same store without the server, as the sweep of the room sees it."""
        return Registry(self.config, SystemClock())


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    made.start()
    yield made
    await made.stop()


@pytest.fixture
async def locked(tmp_path: Path) -> AsyncIterator[Bench]:
    """Nobody may do anything without a token."""
    made = Bench(tmp_path, anonymous="none")
    made.start()
    yield made
    await made.stop()


@pytest.fixture
def make() -> Any:
    """The builders of this file, for tests that cannot import it."""
    return MAKE


class MAKE:
    Bench = Bench
    Image = Image
    manifest = staticmethod(manifest)
    index = staticmethod(index)
    descriptor = staticmethod(descriptor)
    OCI, INDEX, CONFIG, LAYER = OCI, INDEX, CONFIG, LAYER
