"""What moves between pods and the platform: source, artifacts, caches; hostile archives."""

import asyncio
import io
import json
import os
import socket
import sys
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import git_work
import pytest
from msgspec.structs import replace
from small_disk import small_disk

from fairway.delivery.git import Repositories
from fairway.delivery.kinds.runs import PipelineRun, PipelineRunSpec, PipelineRunStatus
from fairway.delivery.pipelines import toolbox
from fairway.delivery.pipelines.endpoint import RunEndpoint
from fairway.delivery.pipelines.follow import plain
from fairway.delivery.pipelines.storage import Limits, Storage, TooLarge
from fairway.delivery.pipelines.tokens import Claim, Tokens
from fairway.delivery.pipelines.unpacking import BadArtifacts, unpack
from fairway.kube.api.meta import ObjectKey, ObjectMeta
from fairway.toolkit import logs
from fairway.toolkit.http_client import HttpClient, tcp_connector
from fairway.toolkit.http_server import HttpServer

RUN = ObjectKey("default", "site-1")
APP = ObjectKey("default", "site")
KINDS = {"file": tarfile.REGTYPE, "link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "fifo": tarfile.FIFOTYPE}
CLAIM = Claim("default", "site-1", "uid-1", "build")


class Platform:
    """The endpoint on a loopback port, with a repository behind it."""

    def __init__(self, folder: Path, run: PipelineRun, limits: Limits) -> None:
        self.run = run
        self.folder = folder
        self.tokens = Tokens(b"k" * 32)
        self.storage = Storage(folder / "state", limits)
        self.repositories = Repositories(folder / "repositories", local=True)
        self.port = 0

    def find(self, key: ObjectKey) -> PipelineRun | None:
        return self.run if key == RUN else None

    async def toolbox(self, what: str, **task: Any) -> str:
        """Run the program of the platform's containers; its output, with the exit code when it is not 0."""
        token = self.folder / "token"
        token.write_text(self.tokens.issue(CLAIM))
        program = Path(toolbox.__file__).read_text().replace("/fairway/token/token", str(token))
        workspace = self.folder / "workspace"
        workspace.mkdir(exist_ok=True)
        whole = {
            "url": f"http://127.0.0.1:{self.port}/runs/default/site-1/",
            "workspace": str(workspace),
            "scratch": str(workspace),
            "folder": str(workspace),
            "step": "build",
            "inputs": [],
            "artifacts": [],
            "exclude": [],
            "caches": [],
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-c", program, what),
            env={"FAIRWAY_TASK": json.dumps({**whole, **task}), "PATH": os.environ["PATH"]},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return output.decode() + (f"exit {process.returncode}" if process.returncode else "")

    async def ask(self, method: str, path: str, token: str, body: bytes | None = None) -> tuple[int, bytes]:
        async with HttpClient(tcp_connector("127.0.0.1", self.port), host_header="x") as http:
            headers = [("Authorization", f"Bearer {token}")]
            answer = await http.request(method, path, headers=headers, body=body)
            return answer.status, await answer.read()


@asynccontextmanager
async def serving(folder: Path, limits: Limits | None = None) -> AsyncIterator[Platform]:
    work = git_work.Work(folder / "work")
    (folder / "work" / "bin").mkdir()
    commit = work.commit(**{"index.html": "hello", "bin/run": "#!/bin/sh"})
    meta = ObjectMeta(name="site-1", namespace="default", uid="uid-1")
    run = PipelineRun(
        metadata=meta,
        spec=PipelineRunSpec(app="site", number=1, commit=commit),
        status=PipelineRunStatus(phase="Running"),
    )
    platform = Platform(folder, run, limits or Limits())
    await platform.repositories.fetch(APP, str(folder / "work"), "main")
    endpoint = RunEndpoint(platform.find, platform.repositories, platform.storage, platform.tokens)
    server = HttpServer(endpoint.answer, logs.get("test"), streamed=endpoint.streamed)
    sock = socket.create_server(("127.0.0.1", 0))
    platform.port = sock.getsockname()[1]
    await server.listen(sock, name="test")
    try:
        yield platform
    finally:
        await server.stop(0.1)


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with serving(tmp_path) as made:
        yield made


async def test_the_containers_of_the_platform_unpack_nothing_outside_the_workspace(platform: Platform) -> None:
    target = platform.folder / "target"
    target.mkdir()
    (target / "there").write_text("before")
    made = archive(
        platform.folder,
        ("../target/dots", "file", "x"),
        (f"{target}/absolute", "file", "x"),
        ("way", "link", str(target)),
        ("way/through", "file", "x"),
        ("file", "link", f"{target}/there"),
        ("file", "file", "after"),
        ("hard", "hard", "way/there"),
        ("good", "file", "good"),
    )
    place = platform.storage.artifact(RUN, "build")
    place.parent.mkdir(parents=True)
    made.rename(place)
    await platform.toolbox("source", inputs=["build"])
    workspace = platform.folder / "workspace"
    assert [path.name for path in target.iterdir()] == ["there"] and (target / "there").read_text() == "before"
    assert (workspace / "good").read_text() == "good" and (workspace / "file").read_text() == "after"
    assert not (workspace / "hard").exists()


async def test_a_workspace_goes_out_and_comes_back(platform: Platform) -> None:
    workspace = platform.folder / "workspace"
    assert await platform.toolbox("source", inputs=["before"]) == "no artifacts of before\n"
    assert (workspace / "index.html").read_text() == "hello" and not (workspace / ".git").exists()
    (workspace / "dist" / "deep").mkdir(parents=True)
    (workspace / "dist" / "deep" / "a.js").write_text("1")
    (workspace / "dist" / "to").symlink_to("deep/a.js")
    (workspace / "node_modules").mkdir()
    (workspace / ".npm").mkdir()
    (workspace / ".npm" / "x").write_text("cached")
    cache = {"name": "c" * 32, "label": "npm", "paths": [".npm"], "pull": True, "push": True}
    said = await platform.toolbox("upload", artifacts=["dist", "no*thing"], caches=[cache])
    assert "nothing matches no*thing" in said and "artifacts kept: 1 files" in said and "cache npm kept" in said
    out = platform.folder / "out"
    unpack(platform.storage.artifact(RUN, "build"), out)
    assert (out / "dist/deep/a.js").read_text() == "1" and os.readlink(out / "dist/to") == "deep/a.js"
    assert not (out / "index.html").exists()
    (workspace / ".npm" / "x").unlink()
    assert "cache npm is here" in await platform.toolbox("source", inputs=["build"], caches=[cache])
    assert (workspace / ".npm" / "x").read_text() == "cached"


async def test_a_whole_workspace_leaves_out_packages_and_caches(platform: Platform) -> None:
    await platform.toolbox("source")
    workspace = platform.folder / "workspace"
    for path in ("node_modules/a", ".npm/b", "sub/node_modules/c"):
        (workspace / path).parent.mkdir(parents=True)
        (workspace / path).write_text("x")
    cache = {"name": "c" * 32, "label": "npm", "paths": [".npm"], "pull": True, "push": False}
    await platform.toolbox("upload", artifacts=["**"], caches=[cache])
    with tarfile.open(platform.storage.artifact(RUN, "build")) as archive:
        names = set(archive.getnames())
    assert {"./index.html", "./bin/run", "./sub/node_modules/c"} <= names
    assert not any(name.startswith(("./node_modules", "./.npm")) for name in names)


async def test_links_do_not_bring_anything_from_outside(platform: Platform) -> None:
    await platform.toolbox("source")
    workspace = platform.folder / "workspace"
    (workspace / "out").symlink_to(platform.folder)
    (workspace / "dist").mkdir()
    (workspace / "dist" / "file").write_text("x")
    await platform.toolbox("upload", artifacts=["out/*", "dist"])
    with tarfile.open(platform.storage.artifact(RUN, "build")) as archive:
        assert {member.name for member in archive if member.isreg()} == {"dist/file"}


async def test_only_the_tokens_of_a_run_that_goes_on_open_anything(platform: Platform) -> None:
    token, base = platform.tokens.issue(CLAIM), "/runs/default/site-1"
    assert (await platform.ask("GET", f"{base}/artifacts/build", token))[0] == 404
    assert (await platform.ask("PUT", f"{base}/artifacts/build", token, b"x"))[0] == 204
    assert await platform.ask("GET", f"{base}/artifacts/build", token) == (200, b"x")
    assert (await platform.ask("PUT", f"{base}/artifacts/other", token, b"x"))[0] == 403
    other = platform.tokens.issue(replace(CLAIM, run="site-2"))
    stale = platform.tokens.issue(replace(CLAIM, uid="uid-0"))
    for wrong in ("", "x.y", other, stale):
        assert (await platform.ask("GET", f"{base}/source", wrong))[0] == 401
    assert (await platform.ask("GET", "/runs/default/site-2/source", token))[0] == 401
    for path in (f"{base}/artifacts/../x", f"{base}/artifacts/a%2Fb", f"{base}/else", f"{base}/source/x"):
        assert (await platform.ask("GET", path, token))[0] in (401, 403, 404)
    platform.run = replace(platform.run, status=PipelineRunStatus(phase="Succeeded"))
    status, text = await platform.ask("GET", f"{base}/source", token)
    assert (status, text) == (401, b"this pipeline run is over\n")


async def test_limits_hold(tmp_path: Path) -> None:
    async with serving(tmp_path, Limits(artifact_bytes_max=1000, app_cache_bytes_max=1500)) as platform:
        token, base = platform.tokens.issue(CLAIM), "/runs/default/site-1"
        status, text = await platform.ask("PUT", f"{base}/artifacts/build", token, b"x" * 2000)
        assert status == 413 and b"more than 1000 bytes" in text
        assert not list((tmp_path / "state" / "artifacts").rglob("*build*"))
        for number in range(3):
            assert (await platform.ask("PUT", f"{base}/caches/{number}", token, b"x" * 700))[0] == 204
            os.utime(platform.storage.cache(APP, str(number)), (number + 1, number + 1))
        assert (await platform.ask("GET", f"{base}/caches/0", token))[0] == 404
        assert (await platform.ask("GET", f"{base}/caches/2", token))[0] == 200


@pytest.mark.real
async def test_a_full_disk_is_told_to_the_pod(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "1m") as disk:
        async with serving(disk) as platform:
            token, path = platform.tokens.issue(CLAIM), "/runs/default/site-1/artifacts/build"
            status, text = await platform.ask("PUT", path, token, b"x" * 1_500_000)
            told = b"the disk on which the platform keeps artifacts and caches is full; somebody must free some of it\n"
            assert (status, text) == (507, told)
            assert (await platform.ask("PUT", path, token, b"x" * 1000))[0] == 204


async def test_a_write_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    storage = Storage(tmp_path)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"
        raise TooLarge("broken")

    with pytest.raises(TooLarge):
        await storage.write(storage.artifact(RUN, "a"), pieces(), 100)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def archive(folder: Path, *members: tuple[str, str, str]) -> Path:
    """An archive of (name, kind, content or target)."""
    path = folder / "archive.tgz"
    with tarfile.open(path, "w:gz") as tar:
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            data = text.encode() if kind == "file" else b""
            info.type = {
                "file": tarfile.REGTYPE,
                "link": tarfile.SYMTYPE,
                "hard": tarfile.LNKTYPE,
                "fifo": tarfile.FIFOTYPE,
            }[kind]
            info.size, info.linkname, info.mode = len(data), text if kind in ("link", "hard") else "", 0o4777
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\nb", "a/" * 80 + "x", "x" * 300])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadArtifacts, match="not a path inside"):
        unpack(archive(tmp_path, (name, "file", "x")), tmp_path / "out")
    assert not (tmp_path / "x").exists()


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    path = archive(
        tmp_path,
        ("a", "link", "../target"),
        ("a/file", "file", "x"),
        ("b", "link", "/etc"),
        ("c", "link", "a"),
        ("c/d", "link", "../../target"),
        ("e", "hard", "/etc/passwd"),
        ("f", "fifo", ""),
        ("g", "link", "a/file"),
    )
    out = tmp_path / "out"
    unpack(path, out)
    assert not list((tmp_path / "target").iterdir())
    assert (out / "a" / "file").read_text() == "x" and not (out / "a").is_symlink()
    assert sorted(entry.name for entry in out.iterdir()) == ["a", "c", "g"]
    assert (out / "a" / "file").stat().st_mode & 0o7777 == 0o755


def test_links_of_several_archives_lead_nowhere_together(tmp_path: Path) -> None:
    """Each link stays inside by its words alone: `way` by way of `a/b/c/up`, which is the folder itself."""
    out, target = tmp_path / "out", tmp_path / "target"
    target.mkdir()
    for members in (
        [("way", "link", "a/b/c/up/../target"), ("a/b/c/up", "link", "../../..")],
        [("a/b/c/up", "link", "../../.."), ("way", "link", "a/b/c/up/../target")],
    ):
        unpack(archive(tmp_path, *members), out)
        assert not (out / "way").is_symlink()
    (out / "commit").symlink_to(target)
    with pytest.raises(BadArtifacts, match="behind a link that leads out"):
        unpack(archive(tmp_path, ("commit/file", "file", "x")), out)
    with pytest.raises(BadArtifacts, match="behind a link that leads out"):
        unpack(archive(tmp_path, ("commit/deep/file", "file", "x")), out)
    assert not list(target.iterdir())


def test_bombs_and_scraps_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadArtifacts, match="more than 2 files"):
        unpack(archive(tmp_path, *((str(n), "file", "x") for n in range(5))), tmp_path / "out", files_max=2)
    with pytest.raises(BadArtifacts, match="or 10 bytes"):
        unpack(archive(tmp_path, ("a", "file", "x" * 1000)), tmp_path / "out", bytes_max=10)
    whole = archive(tmp_path, ("a", "file", os.urandom(9000).hex()))
    whole.write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(BadArtifacts, match="cannot be unpacked"):
        unpack(whole, tmp_path / "out2")


async def test_nothing_of_the_workspace_is_imported(platform: Platform) -> None:
    await platform.toolbox("source")
    for module in ("gzip", "bz2", "lzma", "glob", "encodings", "tempfile"):
        (platform.folder / "workspace" / f"{module}.py").write_text("raise SystemExit('imported')")
    assert "imported" not in await platform.toolbox("upload", artifacts=["**"])


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("10%\r20%\r30%", "30%"),
        ("a\x00b\x9b31mc\u202e", "ab31mc"),
        ("tab\there", "tab\there"),
    ],
)
def test_lines_cannot_command_a_terminal(written: str, shown: str) -> None:
    assert plain(written) == shown
