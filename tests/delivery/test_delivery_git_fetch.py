"""Fetching from forges: what is asked for, what people are told, and where no fetch may go."""

import ipaddress
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from delivery_world import delivery_world
from git_platform import KEY, Platform
from git_work import Work, write_branches

from fairway.delivery.git import Limits, Login, Repositories, SourceError, guard, refs
from fairway.toolkit import logs
from fairway.toolkit.http_messages import Request, Response
from fairway.toolkit.http_server import HttpServer

HERE = frozenset({"127.0.0.1"})


@pytest.fixture
async def forge(tmp_path: Path) -> AsyncIterator[Platform]:
    """Another platform's endpoint is a forge like any other: private repositories over HTTP."""
    async with delivery_world(tmp_path) as world:
        made = Platform(world, tmp_path / "forge", Limits())
        await made.start()
        await made.app()
        try:
            yield made
        finally:
            await made.stop()


@pytest.fixture
def repositories(tmp_path: Path) -> Repositories:
    return Repositories(tmp_path / "repositories", allowed_hosts=HERE)


async def test_a_private_branch_is_fetched_with_its_newest_commit(
    forge: Platform, repositories: Repositories, tmp_path: Path
) -> None:
    work, token = Work(tmp_path / "work"), await forge.token()
    for number in range(3):
        commit = work.commit(f"{number}", file=str(number))
    await work.run("push", "-q", forge.url(token), "main")
    login = Login(username="x", password=token)
    assert await repositories.fetch(KEY, forge.url(), "main", login) == commit
    assert await repositories.fetch(KEY, forge.url(), "main", login) == commit
    assert await repositories.read_file(KEY, commit, "file") == b"2"
    log = await repositories.git.output(("rev-list", "--count", commit), repositories.path(KEY))
    assert log.strip() == b"1"
    assert token.encode() not in b"".join(path.read_bytes() for path in repositories.root.rglob("*") if path.is_file())
    with pytest.raises(SourceError, match=r'has no branch "nothing"; push one, or name another in spec.source.branch'):
        await repositories.fetch(KEY, forge.url(), "nothing", login)


async def test_of_ten_thousand_branches_one_is_fetched(
    forge: Platform, repositories: Repositories, tmp_path: Path
) -> None:
    work, token = Work(tmp_path / "work"), await forge.token()
    commit = work.commit(file="1")
    await work.run("push", "-q", forge.url(token), "main")
    write_branches(forge.repositories.path(KEY), 10_000, commit)
    login = Login(username="x", password=token)
    assert await repositories.fetch(KEY, forge.url(), "main", login) == commit
    assert refs.all_names(repositories.path(KEY)) == {"refs/heads/main"}
    assert await repositories.fetch(KEY, forge.url(), "b9999", login) == commit


async def test_what_went_wrong_is_told_without_the_password(forge: Platform, repositories: Repositories) -> None:
    with pytest.raises(SourceError, match="wants credentials, or refuses those it got") as refused:
        await repositories.fetch(KEY, forge.url(), "main", Login(username="x", password="verysecret"))
    assert "verysecret" not in str(refused.value) and "verysecret" not in repr(refused.value.__context__)
    with pytest.raises(SourceError, match="wants credentials"):
        await repositories.fetch(KEY, forge.url(), "main", None)
    login = Login(username="x", password=await forge.token())
    with pytest.raises(SourceError, match="there is no repository there"):
        await repositories.fetch(KEY, forge.url(path="default/nothing.git"), "main", login)
    assert "verysecret" not in repr(Login(username="x", password="verysecret"))


async def test_a_redirect_is_not_followed(repositories: Repositories) -> None:
    asked: list[str] = []

    def moved(request: Request) -> Response:
        asked.append(request.path)
        return Response(302, b"", (("Location", "http://169.254.169.254/latest/meta-data"),))

    server = HttpServer(moved, logs.get("test"))
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    await server.listen(sock, name="moved")
    with pytest.raises(SourceError, match="the repository has moved; write its new URL"):
        await repositories.fetch(KEY, f"http://127.0.0.1:{port}/x.git", "main", None)
    await server.stop(0.1)
    assert asked == ["/x.git/info/refs"]


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://127.0.0.1:1/x.git", "127.0.0.1 has the address 127.0.0.1, which is this machine"),
        ("http://localhost:1/x.git", "which is this machine"),
        ("http://[::1]/x.git", "which is this machine"),
        ("http://[::ffff:127.0.0.1]/x.git", "which is this machine"),
        ("http://0.0.0.0/x.git", "which is this machine"),
        ("http://2130706433/x.git", "which is this machine"),
        ("http://169.254.169.254/latest", "which is link-local"),
        ("https://10.96.0.1/x.git", "which is inside the cluster"),
        ("https://10.42.3.4/x.git", "which is inside the cluster"),
        ("https://[64:ff9b::7f00:1]/x.git", "which is this machine"),
        ("https://224.0.0.1/x.git", "which no server has"),
        ("https://nothing.invalid/x.git", "cannot be found"),
        ("file:///etc", "are fetched over https or http"),
        ("ext::sh -c id", "are fetched over https or http"),
        ("ssh://git@host/x.git", "are fetched over https or http"),
        ("git@host:x.git", "are fetched over https or http"),
        ("--upload-pack=id", "are fetched over https or http"),
        ("/etc", "are fetched over https or http"),
        ("https://user:pass@host/x.git", "credentials in it; put them into a Secret"),
        ("https://host:99999/x", "is not a URL"),
        ("https:///x", "is not a URL"),
        ("https://host/a\nb", "is not a URL"),
    ],
)
async def test_where_no_fetch_goes(tmp_path: Path, url: str, text: str) -> None:
    repositories = Repositories(tmp_path / "repositories")
    with pytest.raises(SourceError) as refused:
        await repositories.fetch(KEY, url, "main", None)
    assert text in str(refused.value) and "pass" not in str(refused.value)


@pytest.mark.parametrize("address", ["192.168.1.5", "10.0.0.1", "172.16.0.9", "8.8.8.8", "fd00::1", "2606:4700::1"])
def test_public_and_private_forges_are_fetched_from(address: str) -> None:
    networks = tuple(ipaddress.ip_network(network) for network in guard.CLUSTER)
    assert guard.address_problem(ipaddress.ip_address(address), networks) == ""
