"""Real clients: skopeo, buildah, our own pull, and the kubelet's image service."""

import asyncio
import json
import shutil
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fairway.engine.kubelet.images.service import ImageService
from fairway.toolkit import signing
from fairway.toolkit.oci.authentication import Login
from fairway.toolkit.oci.distribution import RegistryClient, Settings
from fairway.toolkit.oci.pull import pull
from fairway.toolkit.oci.reference import parse
from fairway.toolkit.oci.store import ImageStore


def program(name: str) -> str:
    found = shutil.which(name)
    assert found is not None, f"{name} is installed by `make test`"
    return found


async def run(*command: str | Path, **environment: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **environment},
    )
    output, problem = await process.communicate()
    assert process.returncode == 0, (command, problem.decode())
    return output.decode()


@pytest.fixture
async def secure(tmp_path: Path, make: Any) -> AsyncIterator[Any]:
    """Over TLS, with tokens. `certs` is a folder as skopeo and buildah want it."""
    now = datetime.now(UTC)
    authority = signing.authority("test", now)
    pair = signing.server(authority, ("127.0.0.1", "localhost"), now)
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "ca.crt").write_bytes(authority.certificate)
    (tmp_path / "server.crt").write_bytes(pair.certificate)
    (tmp_path / "server.key").write_bytes(pair.key)
    bench = make.Bench(tmp_path, anonymous="none")
    bench.config = type(bench.config)(
        images_dir=bench.config.images_dir, tokens_file=bench.tokens, names=("registry.fairway.local", bench.host)
    )
    bench.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    bench.tls.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    bench.start()
    yield bench
    await bench.stop()


def layout(folder: Path, image: Any, make: Any) -> Path:
    """An OCI image layout on disk."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    entry = make.descriptor(image.manifest, make.OCI, annotations={"org.opencontainers.image.ref.name": "v1"})
    for data in (image.config, image.layer, image.manifest):
        (blobs / make.descriptor(data, "")["digest"][7:]).write_bytes(data)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return folder


async def test_skopeo_copies_in_and_out_lists_and_deletes(secure: Any, make: Any, tmp_path: Path) -> None:
    skopeo, certs = program("skopeo"), tmp_path / "certs"
    secret = secure.token("ci", "team/*", "pull", "push", "delete")
    source = layout(tmp_path / "in", make.Image("by skopeo"), make)
    place = f"docker://{secure.host}/team/app"
    copy = (skopeo, "--insecure-policy", "copy")
    await run(*copy, "--dest-cert-dir", certs, "--dest-creds", f"ci:{secret}", f"oci:{source}:v1", f"{place}:v1")
    login = ("--src-cert-dir", certs, "--src-creds", f"ci:{secret}")
    await run(
        *copy, *login, "--dest-cert-dir", certs, "--dest-creds", f"ci:{secret}", f"{place}:v1", f"{place}/copy:v2"
    )
    await run(*copy, *login, f"{place}/copy:v2", f"oci:{tmp_path / 'out'}:v1")
    (entry,) = json.loads((tmp_path / "out" / "index.json").read_text())["manifests"]
    assert entry["digest"] == make.descriptor(make.Image("by skopeo").manifest, "")["digest"]
    options = ("--cert-dir", certs, "--creds", f"ci:{secret}")
    assert json.loads(await run(skopeo, "list-tags", *options, place))["Tags"] == ["v1"]
    assert json.loads(await run(skopeo, "inspect", *options, f"{place}:v1"))["Digest"] == entry["digest"]
    await run(skopeo, "delete", *options, f"{place}:v1")
    with pytest.raises(AssertionError, match=r"manifest unknown|is not in team/app"):
        await run(skopeo, "inspect", *options, f"{place}:v1")


async def test_skopeo_without_the_right_is_told_so(secure: Any, make: Any, tmp_path: Path) -> None:
    skopeo = program("skopeo")
    secret = secure.token("reader", "team/*", "pull")
    source = layout(tmp_path / "in", make.Image("refused"), make)
    command = (skopeo, "--insecure-policy", "copy", "--dest-cert-dir", tmp_path / "certs", f"oci:{source}:v1")
    for credentials, words in ((f"reader:{secret}", "denied|may not push"), ("reader:wrong", "not valid|unauthorized")):
        with pytest.raises(AssertionError, match=words):
            await run(*command, "--dest-creds", credentials, f"docker://{secure.host}/team/app:v1")


async def test_buildah_builds_and_pushes(secure: Any, tmp_path: Path) -> None:
    buildah = program("buildah")
    secret = secure.token("ci", "team/*", "pull", "push")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "hello").write_text("hello\n")
    (tmp_path / "src" / "Dockerfile").write_text('FROM scratch\nCOPY hello /hello\nCMD ["/hello"]\n')
    storage = ("--root", tmp_path / "storage", "--runroot", tmp_path / "run", "--storage-driver", "vfs")
    home = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    await run(buildah, *storage, "bud", "--isolation", "chroot", "-t", "app", tmp_path / "src", **home)
    place = f"docker://{secure.host}/team/app:v1"
    options = ("--cert-dir", tmp_path / "certs", "--creds", f"ci:{secret}")
    await run(buildah, *storage, "push", *options, "app", place, **home)
    await run(buildah, *storage, "rmi", "app", **home)
    await run(buildah, *storage, "pull", *options, place, **home)
    images = ImageService(secure.folder)
    found = await images.ensure(f"{secure.host}/team/app:v1", "IfNotPresent")
    assert found.config.cmd == ("/hello",)
    assert Path(found.layers[0], "hello").read_text() == "hello\n"


async def test_our_own_pull(secure: Any, make: Any, tmp_path: Path) -> None:
    secret = secure.token("node", "*", "pull", "push")
    await seed(secure, make.Image("pulled"), secret, make, tmp_path)
    authorities = tmp_path / "registries" / secure.host
    authorities.mkdir(parents=True)
    shutil.copy(tmp_path / "certs" / "ca.crt", authorities / "ca.crt")
    store = ImageStore(tmp_path / "elsewhere")
    reference = parse(f"{secure.host}/team/app:v1")
    settings = Settings(authorities=tmp_path / "registries")
    async with RegistryClient(secure.host, login=Login("node", secret), settings=settings) as client:
        await pull(store, client, reference)
    record = store.find(reference)
    assert record is not None
    assert Path(store.load(record).layers[0], "hello").read_text() == "pulled"


async def seed(secure: Any, image: Any, secret: str, make: Any, tmp_path: Path) -> None:
    source = layout(tmp_path / "seed", image, make)
    options = ("--dest-cert-dir", tmp_path / "certs", "--dest-creds", f"ci:{secret}")
    place = f"docker://{secure.host}/team/app:v1"
    await run(program("skopeo"), "--insecure-policy", "copy", *options, f"oci:{source}:v1", place)


async def test_what_is_pushed_runs_at_once_under_every_name(bench: Any, make: Any) -> None:
    """The kubelet asks no registry: the name is in its index as soon as the push is answered."""
    digest = await bench.push("team/app", "v1", make.Image("first"))
    images = ImageService(bench.folder)
    for name in ("registry.fairway.local/team/app:v1", f"registry.fairway.local/team/app@{digest}"):
        found = await images.ensure(name, "Never")
        assert (found.digest, found.config.cmd) == (digest, ("x",))
        assert Path(found.layers[0], "hello").read_text() == "first"
    moved = await bench.push("team/app", "v1", make.Image("second"))
    assert (await images.ensure("registry.fairway.local/team/app:v1", "Never")).digest == moved
    assert (await images.ensure(f"registry.fairway.local/team/app@{digest}", "Never")).digest == digest
    await bench.ask("DELETE", "/v2/team/app/manifests/v1")
    with pytest.raises(Exception, match="not present"):
        await images.ensure("registry.fairway.local/team/app:v1", "Never")


async def test_an_index_runs_as_the_image_for_this_machine(bench: Any, make: Any) -> None:
    image = make.Image("by index")
    child = await bench.push("team/app", "child", image)
    data = make.index(image.manifest)
    answer = await bench.put("team/app", "multi", data, make.INDEX)
    assert answer.status == 201
    found = await ImageService(bench.folder).ensure("registry.fairway.local/team/app:multi", "Never")
    assert (found.digest, found.manifest_digest) == (answer.headers["docker-content-digest"], child)


async def test_artifacts_are_not_named_as_images(bench: Any, make: Any) -> None:
    await bench.blob("team/app", b"{}")
    await bench.put("team/app", "chart", make.manifest(b"{}", artifactType="example/chart"))
    assert bench.store.names.all() == ()


async def test_what_was_pushed_survives_a_new_process(bench: Any, make: Any) -> None:
    await bench.push("team/app", "v1", make.Image("kept"))
    bench.task.cancel()
    await asyncio.gather(bench.task, return_exceptions=True)
    bench.start()
    assert (await bench.ask("GET", "/v2/team/app/manifests/v1")).body == make.Image("kept").manifest
