"""Pulling from a real registry on loopback: plain, with TLS, with credentials; policies and their errors."""

import asyncio
import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from oci_registry import PASSWORD, USER, image, layer, registry

from fairway.engine.kubelet.images import (
    Credential,
    Image,
    ImageNotPresent,
    ImageService,
    InvalidName,
    PullError,
    parse_docker_config,
)
from fairway.toolkit.content_store import sha256
from fairway.toolkit.http_client import Streams, dial
from fairway.toolkit.oci import documents
from fairway.toolkit.oci.documents import Descriptor, Index, Platform
from fairway.toolkit.oci.draft import Draft
from fairway.toolkit.oci.layers import Entry
from fairway.toolkit.oci.reference import parse


@pytest.fixture(scope="session", autouse=True)
def docker_registry_installed() -> None:
    if shutil.which("docker-registry") is None:
        subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", "docker-registry"], check=True)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[ImageService]:
    service = ImageService(tmp_path / "state")
    yield service
    await service.aclose()


def content(image: Image, name: str) -> bytes:
    return next(Path(folder, name).read_bytes() for folder in image.layers if Path(folder, name).exists())


async def test_an_image_is_pulled_unpacked_and_kept(service: ImageService, tmp_path: Path) -> None:
    async with registry(tmp_path) as server:
        parts = image(layer(a=b"lower", b=b"lower"), layer(b=b"upper"))
        digest = await server.push("team/web", "v1", *parts, media_type=documents.MANIFEST)
        pulled = await service.ensure(f"{server.host}/team/web:v1", "IfNotPresent")
    assert (pulled.reference, pulled.digest, pulled.origin) == (f"{server.host}/team/web:v1", digest, "pulled")
    assert pulled.id == sha256(parts[-2])
    assert (content(pulled, "a"), content(pulled, "b"), len(pulled.layers)) == (b"lower", b"upper", 2)
    assert (pulled.config.cmd, pulled.config.env) == (("run",), ("A=1",))
    assert pulled.repo_digest == f"{server.host}/team/web@{digest}"
    assert await service.ensure(f"{server.host}/team/web:v1", "IfNotPresent") == pulled  # the registry is gone now
    assert (await service.ensure(f"{server.host}/team/web@{digest}", "IfNotPresent")).id == pulled.id
    assert service.list() == (pulled,)


async def test_a_big_layer_is_unpacked_in_a_process(service: ImageService, tmp_path: Path) -> None:
    async with registry(tmp_path) as server:
        noise = os.urandom(2_000_000)
        await server.push("big", "1", *image(layer(noise=noise)), media_type=documents.MANIFEST)
        assert content(await service.ensure(f"{server.host}/big:1", "Always"), "noise") == noise


async def test_always_follows_the_tag_and_if_not_present_does_not(service: ImageService, tmp_path: Path) -> None:
    async with registry(tmp_path) as server:
        name = f"{server.host}/web:v1"
        await server.push("web", "v1", *image(layer(a=b"1")), media_type=documents.MANIFEST)
        first = await service.ensure(name, "Always")
        await server.push("web", "v1", *image(layer(a=b"2")), media_type=documents.MANIFEST)
        assert await service.ensure(name, "IfNotPresent") == first
        assert content(await service.ensure(name, "Always"), "a") == b"2"
    with pytest.raises(PullError, match="connection refused"):
        await service.ensure(name, "Always")


async def test_the_index_is_read_by_platform(service: ImageService, tmp_path: Path) -> None:
    async with registry(tmp_path) as server:
        entries = []
        for architecture in ("s390x", documents.here().architecture):
            parts = image(layer(arch=architecture.encode()), architecture=architecture)
            digest = await server.push("multi", architecture, *parts, media_type=documents.MANIFEST)
            entries.append(Descriptor(documents.MANIFEST, digest, len(parts[-1]), Platform(architecture, "linux")))
        index = documents.encode(Index(tuple(entries)))
        digest = await server.push("multi", "1", index, media_type=documents.INDEX)
        pulled = await service.ensure(f"{server.host}/multi:1", "Always")
        assert content(pulled, "arch") == documents.here().architecture.encode()
        assert (pulled.digest, pulled.manifest_digest) == (digest, entries[1].digest)
        alien = documents.encode(Index(tuple(entries[:1])))
        await server.push("multi", "2", alien, media_type=documents.INDEX)
        with pytest.raises(PullError, match="no match for platform"):
            await service.ensure(f"{server.host}/multi:2", "Always")


async def test_many_waiters_share_one_pull(service: ImageService, tmp_path: Path) -> None:
    asked = 0

    async def counting(host: str, port: int, context: ssl.SSLContext | None) -> Streams:
        nonlocal asked
        asked += 1
        return await dial(host, port, context)

    async with registry(tmp_path) as server:
        await server.push("web", "v1", *image(layer(a=b"1")), media_type=documents.MANIFEST)
        counted = ImageService(tmp_path / "counted", counting)
        wanted = [counted.ensure(f"{server.host}/web:v1", "IfNotPresent") for _ in range(20)]
        assert len({found.id for found in await asyncio.gather(*wanted)}) == 1
    assert asked <= 4


@pytest.mark.parametrize("hostname", ["127.0.0.1", "registry.test"])
async def test_tls_with_a_private_authority(tmp_path: Path, hostname: str) -> None:
    pem = certificate(tmp_path)

    async def resolve(host: str, port: int, context: ssl.SSLContext | None) -> Streams:
        return await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=host if context else None)

    async with registry(tmp_path, tls=pem) as server:
        await server.push("web", "v1", *image(layer(a=b"1")), media_type=documents.MANIFEST)
        name = f"{hostname}:{server.port}/web:v1"
        service = ImageService(tmp_path / "state", resolve)
        if hostname == "registry.test":  # loopback addresses are taken without verification, as with Docker
            with pytest.raises(PullError, match="failed to verify certificate"):
                await service.ensure(name, "Always")
            authority = tmp_path / "state" / "registries" / f"{hostname}:{server.port}"
            authority.mkdir(parents=True)
            shutil.copy(pem, authority / "ca.crt")
        assert content(await service.ensure(name, "Always"), "a") == b"1"


async def test_credentials(service: ImageService, tmp_path: Path) -> None:
    async with registry(tmp_path, htpasswd=True) as server:
        right, wrong = (credentials(server.host, password) for password in (PASSWORD, "guess"))
        server.authorization = (("Authorization", right[0].login.basic()),)
        await server.push("private/web", "v1", *image(layer(a=b"1")), media_type=documents.MANIFEST)
        name = f"{server.host}/private/web:v1"
        with pytest.raises(PullError, match="no basic auth credentials") as anonymous:
            await service.ensure(name, "IfNotPresent")
        assert not anonymous.value.retryable
        with pytest.raises(PullError, match="pull access denied") as denied:
            await service.ensure(name, "IfNotPresent", wrong)
        assert "guess" not in str(denied.value) + repr(wrong)
        assert content(await service.ensure(name, "IfNotPresent", (*wrong, *right)), "a") == b"1"


async def test_errors_read_like_those_of_containerd(service: ImageService, tmp_path: Path) -> None:
    async with registry(tmp_path) as server:
        name = f"{server.host}/web:nope"
        with pytest.raises(PullError) as missing:
            await service.ensure(name, "IfNotPresent")
    assert str(missing.value) == (
        f'rpc error: code = NotFound desc = failed to pull and unpack image "{name}": '
        f'failed to resolve reference "{name}": {name}: not found'
    )
    with pytest.raises(PullError) as unreachable:
        await service.ensure(name, "IfNotPresent")
    assert unreachable.value.retryable
    assert f"dial tcp {server.host}: connect: connection refused" in str(unreachable.value)


@pytest.mark.parametrize(
    ("reference", "policy", "error", "message"),
    [
        ("Nginx:1", "Always", InvalidName, 'couldn\'t parse image name "Nginx:1": invalid reference format'),
        ("nginx", "Never", ImageNotPresent, 'Container image "nginx" is not present with pull policy of Never'),
    ],
)
async def test_refusals(
    service: ImageService, reference: str, policy: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await service.ensure(reference, policy)  # type: ignore[arg-type]


async def test_an_image_made_here_answers_for_its_name(service: ImageService, tmp_path: Path) -> None:
    draft = Draft(service.store, None)
    draft.add([Entry("a", 0o644, data=b"made here")], "test")

    async def nobody(host: str, port: int, context: ssl.SSLContext | None) -> Streams:
        raise AssertionError(f"asked {host}")

    lonely = ImageService(tmp_path / "state", nobody)
    for name in ("nginx", "team/web:v1"):
        draft.commit(parse(name))
        assert content(await lonely.ensure(name, "Always"), "a") == b"made here"
    async with registry(tmp_path) as server:
        name = f"{server.host}/web:v1"
        draft.commit(parse(name))
        assert content(await service.ensure(name, "Always"), "a") == b"made here"
        await server.push("web", "v1", *image(layer(a=b"from there")), media_type=documents.MANIFEST)
        assert content(await service.ensure(name, "Always"), "a") == b"from there"


async def test_lost_layers_are_unpacked_again(service: ImageService) -> None:
    draft = Draft(service.store, None)
    draft.add([Entry("a", 0o644, data=b"x")], "test")
    made = draft.commit(parse("web"))
    shutil.rmtree(made.layers[0])
    assert service.list() == ()
    assert content(await service.ensure("web", "Never"), "a") == b"x"


async def test_removing_frees_only_what_nothing_needs(service: ImageService) -> None:
    draft = Draft(service.store, None)
    draft.add([Entry("a", 0o644, data=b"x")], "one")
    lower = draft.commit(parse("lower"))
    draft.add([Entry("b", 0o644, data=b"y")], "two")
    upper = draft.commit(parse("upper"))
    assert service.remove("upper")
    assert not service.remove("upper")
    assert service.list() == (lower,)
    assert (Path(lower.layers[0]).exists(), Path(upper.layers[0]).exists()) == (True, False)


def credentials(host: str, password: str) -> tuple[Credential, ...]:
    return parse_docker_config(msgspec.json.encode({"auths": {host: {"username": USER, "password": password}}}))


def certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "registry.test")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("registry.test"), x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + made.public_bytes(serialization.Encoding.PEM)
    (folder / "tls.pem").write_bytes(pem)
    return folder / "tls.pem"
