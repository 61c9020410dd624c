"""A real docker-registry on loopback, and small images to push into it."""

import asyncio
import gzip
import io
import os
import re
import ssl
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from fairway.toolkit.content_store import sha256
from fairway.toolkit.http_client import HttpClient, tcp_connector
from fairway.toolkit.oci import documents
from fairway.toolkit.oci.documents import ConfigFile, Descriptor, Manifest, RootFs, RunConfig

_LISTENS = re.compile(rb"listening on [^ ,\"]*:(\d+)")
USER, PASSWORD = "ann", "open sesame"
# bcrypt of PASSWORD, as `htpasswd -nbB` prints it
HTPASSWD = "ann:$2y$05$ZeO/t.DqU8kxyfahHi1zw.PKjjRl32VXhgFL7alCoIZgaDyoFz2ai\n"


class Registry:
    """A running docker-registry."""

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        self.port = port
        self.host = f"127.0.0.1:{port}"
        self._context = context
        self.authorization: tuple[tuple[str, str], ...] = ()

    async def push(self, repository: str, tag: str, *documents_and_blobs: bytes, media_type: str) -> str:
        """Blobs first, the manifest last; returns the manifest's digest."""
        *blobs, manifest = documents_and_blobs
        async with HttpClient(
            tcp_connector("127.0.0.1", self.port, self._context),
            host_header=self.host,
            default_headers=self.authorization,
        ) as client:
            for blob in blobs:
                started = await client.request("POST", f"/v2/{repository}/blobs/uploads/", body=b"")
                await started.read()
                assert started.status == 202, started.status
                target = "/" + started.headers["location"].split("/", 3)[3]
                done = await client.request(
                    "PUT",
                    f"{target}&digest={sha256(blob)}",
                    headers=[("Content-Type", "application/octet-stream")],
                    body=blob,
                )
                assert (await done.read(), done.status) == (b"", 201)
            headers = [("Content-Type", media_type)]
            done = await client.request("PUT", f"/v2/{repository}/manifests/{tag}", headers=headers, body=manifest)
            assert (await done.read(), done.status) == (b"", 201)
        return sha256(manifest)


def layer(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mode = 0o755
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def image(*plain_layers: bytes, architecture: str = "amd64", cmd: tuple[str, ...] = ("run",)) -> tuple[bytes, ...]:
    """Layers, configuration and manifest of an image, ready to push."""
    packed = [gzip.compress(plain, mtime=0) for plain in plain_layers]
    config = documents.encode(
        ConfigFile(architecture, "linux", RootFs(tuple(map(sha256, plain_layers))), RunConfig(cmd=cmd, env=("A=1",)))
    )
    descriptors = tuple(Descriptor(documents.LAYER_GZIP, sha256(data), len(data)) for data in packed)
    manifest = Manifest(Descriptor(documents.CONFIG, sha256(config), len(config)), descriptors)
    return (*packed, config, documents.encode(manifest))


@asynccontextmanager
async def registry(folder: Path, *, tls: Path | None = None, htpasswd: bool = False) -> AsyncIterator[Registry]:
    http: dict[str, object] = {"addr": "127.0.0.1:0"}
    if tls:
        http["tls"] = {"certificate": str(tls), "key": str(tls)}
    config: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "info"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}, "delete": {"enabled": True}},
        "http": http,
    }
    if htpasswd:
        (folder / "htpasswd").write_text(HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
    (folder / "config.yml").write_bytes(msgspec.json.encode(config))
    process = await asyncio.create_subprocess_exec(
        "docker-registry", "serve", str(folder / "config.yml"), stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
    )  # fmt: skip
    assert process.stderr is not None
    while not (listens := _LISTENS.search(line := await process.stderr.readline())):
        assert line, "docker-registry ended"
    rest = asyncio.create_task(process.stderr.read())
    try:
        context = ssl.create_default_context(cafile=str(tls)) if tls else None
        yield Registry(int(listens[1]), context)
    finally:
        process.terminate()
        await process.wait()
        await rest
