"""Pushes and clones with the real git, over real HTTP, with tokens of the real API."""

import asyncio
import base64
import gzip
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from git_platform import KEY, Platform
from git_work import Done, Work

from fairway.delivery.git import Limits, Repositories
from fairway.toolkit.http_client import HttpClient, tcp_connector
from fairway.toolkit.http_messages import Request

LIMITS = Limits(push_bytes_max=8 << 20, blob_bytes_max=1 << 20, refs_max=50)


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with Platform.running(tmp_path, LIMITS) as made:
        yield made


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path / "work")


def remote_lines(done: Done) -> list[str]:
    """What the pusher's terminal shows of the server."""
    return [line.removeprefix("remote: ").rstrip() for line in done.said.splitlines() if line.startswith("remote: ")]


async def test_a_push_is_stored_and_followed_to_its_end(platform: Platform, work: Work) -> None:
    await platform.app()
    commit = work.commit(**{"index.html": "hello"})
    done = await work.run("push", platform.url(await platform.token()), "main")
    assert done.code == 0, done.said
    assert await platform.head() == commit
    assert platform.told == [(KEY, "main", commit, "system:serviceaccount:default:pusher")]
    assert remote_lines(done) == ["-----> Building", "       with  [31mcolours", "-----> Live"]
    assert "main -> main" in done.said


async def test_an_empty_repository_can_be_cloned_and_then_pushed_to(platform: Platform, tmp_path: Path) -> None:
    await platform.app(source={"branch": "trunk"})
    url = platform.url(await platform.token())
    other = Work(tmp_path / "other")
    done = await other.run("clone", url, "copy")
    assert done.code == 0 and "empty repository" in done.said
    (other.folder / "copy" / "file").write_text("text")
    for command in (("add", "-A"), ("commit", "-qm", "one"), ("push", "-q", "origin", "HEAD:trunk")):
        done = await other.run("-C", "copy", *command)
        assert done.code == 0, done.said
    done = await other.run("clone", "-q", url, "again")
    assert done.code == 0 and (other.folder / "again" / "file").read_text() == "text"
    assert (await other.run("-C", "again", "branch", "--show-current")).output.strip() == "trunk"


@pytest.mark.parametrize("version", ["0", "1", "2"])
async def test_every_protocol_version_fetches(platform: Platform, work: Work, tmp_path: Path, version: str) -> None:
    await platform.app()
    url = platform.url(await platform.token())
    commits = [work.commit(f"{number}", file=str(number)) for number in range(5)]
    assert (await work.run("push", "-q", url, "main")).code == 0
    done = await work.run("-c", f"protocol.version={version}", "clone", "-q", url, str(tmp_path / "copy"))
    assert done.code == 0, done.said
    copy = Work(tmp_path / "copy")
    assert copy.git("rev-parse", "HEAD") == commits[-1]
    commit = work.commit(file="new")
    assert (await work.run("push", "-q", url, "main")).code == 0
    assert (await copy.run("-c", f"protocol.version={version}", "pull", "-q")).code == 0
    assert copy.git("rev-parse", "HEAD") == commit


async def test_forced_pushes_tags_and_other_branches(platform: Platform, work: Work) -> None:
    await platform.app()
    url = platform.url(await platform.token())
    work.commit()
    assert (await work.run("push", "-q", url, "main")).code == 0
    work.git("commit", "-q", "--allow-empty", "--amend", "-m", "another history")
    assert (await work.run("push", url, "main")).code != 0
    assert (await work.run("push", "--force", url, "main")).code == 0
    assert len(platform.told) == 2
    work.git("tag", "-a", "v1", "-m", "one")
    done = await work.run("push", url, "v1", "main:refs/heads/feature")
    assert done.code == 0 and remote_lines(done) == ['-----> Stored. site deploys the branch "main".']
    assert await platform.head("feature") == await platform.head()
    assert len(platform.told) == 2
    assert (await work.run("push", url, ":feature")).code == 0
    assert await platform.head("feature") is None


async def test_the_deployed_branch_stays(platform: Platform, work: Work) -> None:
    await platform.app()
    url = platform.url(await platform.token())
    commit = work.commit()
    await work.run("push", "-q", url, "main")
    done = await work.run("push", url, ":main", "main:other")
    assert done.code != 0
    text = '"main" is the branch that is deployed; name another in spec.source.branch first'
    assert remote_lines(done) == [f"error: refs/heads/main: {text}"]
    assert f"[remote rejected] main ({text})" in done.said
    assert await platform.head() == commit and await platform.head("other") is None


async def test_shell_characters_in_names_are_only_names(platform: Platform, work: Work, tmp_path: Path) -> None:
    await platform.app()
    url = platform.url(await platform.token())
    branch = "a;touch${IFS}x&&`id`|$(id)'\"<>#!%"
    commit = work.commit(**{"$(touch pwned)": "1", "; rm -rf *": "2", "`id`'\"": "3"})
    done = await work.run("push", url, f"main:refs/heads/{branch}")
    assert done.code == 0, done.said
    assert await platform.head(branch) == commit
    assert {entry.name for entry in await platform.repositories.entries(KEY, commit)} == {
        "$(touch pwned)",
        "; rm -rf *",
        "`id`'\"",
    }
    await platform.repositories.checkout(KEY, commit, "", tmp_path / "out", bytes_max=100)
    assert not list(tmp_path.rglob("pwned"))


async def test_only_branches_and_tags_can_be_pushed(platform: Platform, work: Work) -> None:
    await platform.app()
    url = platform.url(await platform.token())
    work.commit()
    done = await work.run("push", url, "main:refs/hidden/x", "main:main")
    assert done.code != 0
    assert "error: refs/hidden/x: only branches (refs/heads/…) and tags (refs/tags/…) can be pushed" in done.said
    assert await platform.head() is None


async def test_a_push_that_is_too_large_is_answered_clearly(platform: Platform, work: Work) -> None:
    await platform.app()
    url = platform.url(await platform.token())
    for number in range(12):
        (work.folder / f"data{number}").write_bytes(os.urandom(1_000_000))
    work.commit()
    done = await work.run("push", url, "main")
    assert done.code != 0
    limit = "the push is larger than 8 MiB, the limit that --max-push-size sets"
    assert f"remote: error: {limit}; keep large files out of the repository" in done.said
    assert "[remote rejected] main -> main" in done.said
    assert await platform.head() is None
    assert stored_bytes(platform) < 100_000
    small = work.git("commit-tree", work.tree(("100644", work.blob(b"x"), b"x")), "-m", "small")
    assert (await work.run("push", "-q", url, f"{small}:refs/heads/main")).code == 0


async def test_a_file_that_is_too_large_is_named(platform: Platform, work: Work) -> None:
    await platform.app()
    url = platform.url(await platform.token())
    work.commit(zeros="0" * 2_000_000)
    work.git("rm", "-q", "zeros")
    work.commit(small="1")
    done = await work.run("push", url, "main")
    assert done.code != 0
    assert "remote: error: zeros has 2000000 bytes; a file may have at most 1048576" in done.said
    assert await platform.head() is None


async def test_hostile_objects_are_refused(platform: Platform, work: Work) -> None:
    await platform.app()
    url = platform.url(await platform.token())
    work.commit_tree(work.tree(("100644", work.blob(b"evil"), b".git")))
    done = await work.run("-c", "core.protectNTFS=false", "push", url, "main")
    assert done.code != 0 and "hasDotgit" in done.said
    assert await platform.head() is None


async def ask(platform: Platform, method: str, path: str, token: str = "", **more: Any) -> tuple[int, str]:
    headers = [("Authorization", f"Bearer {token}")] if token else []
    headers += [(name.replace("_", "-"), value) for name, value in more.pop("headers", {}).items()]
    connector = tcp_connector("127.0.0.1", platform.port)
    async with HttpClient(connector, host_header="git") as http:
        answer = await http.request(method, path, headers=headers, body=more.get("body"))
        return answer.status, (await answer.read()).decode("utf-8", "replace")


async def test_strangers_learn_nothing(platform: Platform, work: Work) -> None:
    await platform.app()
    stranger = await platform.token("stranger", ())
    path = "/default/{}.git/info/refs?service=git-upload-pack"
    for name in ("site", "nothing"):
        status, text = await ask(platform, "GET", path.format(name))
        assert (status, text) == (401, "a token is needed: fairway git-credential gives git one\n")
        status, text = await ask(platform, "GET", path.format(name), "wrong")
        assert (status, text) == (401, "the token is not valid: fairway git-credential gives git one\n")
        status, text = await ask(platform, "GET", path.format(name), stranger)
        assert status == 403 and text.replace(name, "") == (
            "system:serviceaccount:default:stranger has no such right on default/: "
            'a Role must allow "get" on apps/git in group fairway.dev\n'
        )
    work.commit()
    done = await work.run("push", platform.url("wrong"), "main")
    assert done.code != 0 and "Authentication failed" in done.said


async def test_a_token_to_read_does_not_push(platform: Platform, work: Work, tmp_path: Path) -> None:
    await platform.app()
    url = platform.url(await platform.token("reader", ("get",)))
    work.commit()
    done = await work.run("push", url, "main")
    assert done.code != 0 and 'a Role must allow "update" on apps/git' in done.said
    assert (await work.run("clone", "-q", url, str(tmp_path / "copy"))).code == 0


async def test_a_token_for_one_app_is_for_one_app(platform: Platform) -> None:
    await platform.app()
    await platform.app("other")
    token = await platform.token(name="site")
    path = "/default/{}.git/info/refs?service=git-receive-pack"
    assert (await ask(platform, "GET", path.format("site"), token))[0] == 200
    assert (await ask(platform, "GET", path.format("other"), token))[0] == 403
    assert (await ask(platform, "POST", "/default/other.git/git-receive-pack", token, body=b"0000"))[0] == 403


async def test_an_app_that_is_not_there_says_how_to_make_it(platform: Platform, work: Work) -> None:
    work.commit()
    done = await work.run("push", platform.url(await platform.token()), "main")
    how = "fairway app create site --namespace default"
    assert f"remote: there is no App default/site; create it first: {how}" in done.said


async def test_an_app_of_a_forge_says_where_to_push(platform: Platform, work: Work) -> None:
    await platform.app(source={"repository": "https://git.example.com/x.git"})
    work.commit()
    done = await work.run("push", platform.url(await platform.token()), "main")
    assert "takes its commits from elsewhere: push to https://git.example.com/x.git instead" in done.said


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/default/site.git/config", 404),
        ("GET", "/default/site.git/objects/info/packs", 404),
        ("GET", "/default/../default/site.git/info/refs?service=git-upload-pack", 404),
        ("GET", "/default/..%2fx.git/info/refs?service=git-upload-pack", 404),
        ("GET", "/default/site.git/info/refs", 403),
        ("GET", "/default/site.git/info/refs?service=git-shell", 403),
        ("PUT", "/default/site.git/info/refs?service=git-upload-pack", 405),
        ("GET", "/default/site.git/git-receive-pack", 405),
        ("POST", "/default/site.git/git-receive-pack", 415),
    ],
)
async def test_other_requests_are_refused(platform: Platform, method: str, path: str, status: int) -> None:
    await platform.app()
    assert (await ask(platform, method, path, await platform.token()))[0] == status


PUSH = {"Content_Type": "application/x-git-receive-pack-request"}
FETCH = {"Content_Type": "application/x-git-upload-pack-request"}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"zzzz", "a packet line does not begin with its length"),
        (b"0010push-cert\0abc0000", "a line of the push is not an update of a ref"),
        (b"00f0hello", "the push ends before its list of refs does"),
    ],
)
async def test_a_push_that_no_git_sends_is_refused(platform: Platform, body: bytes, text: str) -> None:
    await platform.app()
    path = "/default/site.git/git-receive-pack"
    found = await ask(platform, "POST", path, await platform.token(), headers=PUSH, body=body)
    assert found == (400, text + "\n")


async def test_zipped_requests_are_unpacked_within_limits(platform: Platform, work: Work) -> None:
    await platform.app()
    token = await platform.token()
    commit = work.commit()
    await work.run("push", "-q", platform.url(token), "main")
    path, zipped = "/default/site.git/git-upload-pack", {**FETCH, "Content_Encoding": "gzip"}
    want = f"0032want {commit}\n00000009done\n".encode()
    status, text = await ask(platform, "POST", path, token, headers=zipped, body=gzip.compress(want))
    assert status == 200 and "PACK" in text
    status, text = await ask(platform, "POST", path, token, headers=zipped, body=gzip.compress(bytes(50_000_000)))
    assert (status, text) == (413, "the request is larger than 4194304 bytes\n")
    status, text = await ask(platform, "POST", path, token, headers=zipped, body=b"not gzip")
    assert (status, text) == (413, "the body is not gzip, as its Content-Encoding says\n")


async def test_commits_that_no_branch_has_are_not_given(platform: Platform, work: Work) -> None:
    await platform.app()
    url = platform.url(await platform.token())
    secret = work.commit("secret")
    await work.run("push", "-q", url, "main")
    work.git("commit", "-q", "--allow-empty", "--amend", "-m", "public")
    await work.run("push", "-q", "--force", url, "main")
    token = url.split(":")[2].split("@")[0]
    want = f"0032want {secret}\n00000009done\n".encode()
    _, text = await ask(platform, "POST", "/default/site.git/git-upload-pack", token, headers=FETCH, body=want)
    assert f"ERR upload-pack: not our ref {secret}" in text and "PACK" not in text


async def test_two_pushes_at_once_have_one_winner_each_time(platform: Platform, tmp_path: Path) -> None:
    await platform.app()
    url = platform.url(await platform.token())
    works = [Work(tmp_path / f"work{number}") for number in range(4)]
    commits = [one.commit(file=one.folder.name) for one in works]
    done = await asyncio.gather(*(one.run("push", url, "main") for one in works))
    good = [commit for commit, one in zip(commits, done, strict=True) if one.code == 0]
    assert len(good) == 1 and await platform.head() == good[0]
    assert (await works[0].run("ls-remote", url)).output.split()[0] == good[0]


async def test_a_pusher_who_goes_away_cancels_nothing(platform: Platform, work: Work) -> None:
    await platform.app()
    platform.go_on.clear()
    commit = work.commit()
    process = await work.start("push", platform.url(await platform.token()), "main")
    assert process.stderr is not None
    while b"Building" not in await process.stderr.readline():
        pass
    os.killpg(process.pid, signal.SIGKILL)
    await process.communicate()
    platform.go_on.set()
    async with asyncio.timeout(60):
        await platform.followed.wait()
    assert await platform.head() == commit


async def test_a_push_that_breaks_off_leaves_nothing(platform: Platform, work: Work) -> None:
    await platform.app()
    token = await platform.token()
    work.commit()
    zero = "0" * 40
    line = f"{zero} {'1' * 40} refs/heads/main\0report-status side-band-64k".encode()
    start = b"%04x%b0000PACK" % (len(line) + 4, line)
    basic = base64.b64encode(f"x:{token}".encode()).decode()
    head = (
        f"POST /default/site.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {basic}\r\n"
        f"Content-Type: application/x-git-receive-pack-request\r\nContent-Length: 100000\r\n\r\n"
    )
    _, writer = await asyncio.open_connection("127.0.0.1", platform.port)
    writer.write(head.encode() + start)
    await writer.drain()
    await platform.world.until(lambda: running(platform), bool, "git receive-pack")
    writer.close()
    await platform.world.until(lambda: running(platform), lambda count: not count, "its end")
    assert await platform.head() is None
    assert (await work.run("push", "-q", platform.url(token), "main")).code == 0
    assert not list(platform.repositories.path(KEY).rglob("tmp_*"))


def stored_bytes(platform: Platform) -> int:
    return sum(path.stat().st_size for path in platform.repositories.path(KEY).rglob("*") if path.is_file())


async def running(platform: Platform) -> int:
    return len(platform.endpoint._pushes)


async def test_an_answer_is_possible_without_a_server(platform: Platform) -> None:
    reply = await platform.endpoint.answer(Request("GET", "/x", "", {}))
    assert getattr(reply, "status", 0) == 404


async def test_a_hook_that_somebody_planted_never_runs(platform: Platform, work: Work, tmp_path: Path) -> None:
    await platform.app()
    path = await platform.repositories.ensure(KEY)
    evil = f"#!/bin/sh\ntouch {tmp_path}/ran\n"
    for name in ("post-receive", "update", "post-update", "reference-transaction", "pre-receive"):
        (path / "hooks" / name).unlink(missing_ok=True)
        (path / "hooks" / name).write_text(evil)
        (path / "hooks" / name).chmod(0o755)
    (path / "config").write_text("[core]\n\tbare = true\n[uploadpack]\n\tpackObjectsHook = touch /tmp/never\n")
    again = Repositories(platform.repositories.root)
    await again.ensure(KEY)
    assert [one.name for one in (path / "hooks").iterdir()] == ["pre-receive"]
    work.commit()
    assert (await work.run("push", "-q", platform.url(await platform.token()), "main")).code == 0
    assert not (tmp_path / "ran").exists()
