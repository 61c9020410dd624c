"""Pushes that are meant to hurt: endless, enormous, too slow, or on a full disk. Others push on meanwhile."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from pathlib import Path

import patience
import pytest
from delivery_world import delivery_world
from git_platform import KEY, Platform
from git_work import Work
from msgspec.structs import replace
from small_disk import fill, small_disk

from fairway.delivery.git import Limits
from fairway.delivery.git.limits import of_push

LIMITS = Limits(refs_max=50, processes_max=4, app_transfers_max=2, app_waiting_max=3)
ZERO = "0" * 40
FULL = "the disk on which the platform keeps git repositories is full; somebody must free some of it"


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with Platform.running(tmp_path, LIMITS) as made:
        yield made


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path / "work")


def command(number: int, capabilities: str = "") -> bytes:
    line = f"{ZERO} {'1' * 40} refs/heads/b{number:06}{capabilities}".encode()
    return b"%04x%b" % (len(line) + 4, line)


def head(token: str, length: int, app: str = "site") -> bytes:
    """A push as git begins it."""
    basic = base64.b64encode(f"x:{token}".encode()).decode()
    return (
        f"POST /default/{app}.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {basic}\r\n"
        f"Content-Type: application/x-git-receive-pack-request\r\nContent-Length: {length}\r\n"
        "Connection: close\r\n\r\n"
    ).encode()


START = command(0, "\0report-status side-band-64k") + b"0000PACK"


async def begun(platform: Platform, token: str) -> asyncio.StreamWriter:
    """A push of which nothing more comes."""
    _, writer = await asyncio.open_connection("127.0.0.1", platform.port)
    writer.write(head(token, 100_000) + START)
    await writer.drain()
    return writer


async def answer(platform: Platform, request: bytes) -> str:
    """What a raw request is answered, to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", platform.port)
    try:
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(patience.seconds(60)):
            return (await reader.read()).decode("utf-8", "replace")
    finally:
        writer.close()


async def pushes(platform: Platform) -> int:
    return len(platform.endpoint._pushes)


def leftovers(platform: Platform) -> list[Path]:
    found = platform.repositories.path(KEY).rglob("*tmp_*")
    return [*found, *platform.repositories.path(KEY).rglob("*.lock")]


async def test_many_branches_are_refused_and_a_few_are_one_push(platform: Platform, work: Work) -> None:
    await platform.app()
    token = await platform.token()
    commit = work.commit()
    work.branches(200, commit)
    refused = await work.run("push", platform.url(token), "refs/heads/*:refs/heads/*")
    assert refused.code != 0
    said = [line for line in refused.said.splitlines() if line.startswith("remote: ")]
    text = "it would have 201 branches and tags; the limit is 50: push fewer, or delete some"
    assert [line.removeprefix("remote: ").strip() for line in said] == [f"error: refs/heads/b0: {text}"]
    assert not await platform.head("b0") and not await platform.head() and not platform.told
    few = [f"b{number}" for number in range(40)]
    assert (await work.run("push", "-q", platform.url(token), "main", *few)).code == 0
    assert [(key, branch) for key, branch, _, _ in platform.told] == [(KEY, "main")]
    assert await platform.head("b39") == commit


@pytest.mark.parametrize(
    ("count", "text", "told"),
    [
        (10_000, "it would have 10000 branches and tags; the limit is 50: push fewer, or delete some", 10_000),
        (30_000, "the push names far more branches and tags than a repository may have; the limit is 50", 18_000),
    ],
)
async def test_a_flood_of_branches_is_refused(platform: Platform, work: Work, count: int, text: str, told: int) -> None:
    """Git itself would need minutes to ask for so many."""
    await platform.app()
    await platform.app("other")
    token = await platform.token()
    work.commit()
    first = command(0, "\0report-status side-band-64k")
    body = first + b"".join(command(number) for number in range(1, count)) + b"0000PACK"
    elsewhere = ("push", "-q", platform.url(token, "default/other.git"), "main")
    said, done = await asyncio.gather(answer(platform, head(token, len(body)) + body), work.run(*elsewhere))
    assert done.code == 0, done.said
    assert said.startswith("HTTP/1.1 200 ")
    assert f"error: refs/heads/b000000: {text}" in said
    assert said.count("ng refs/heads/b") >= told * 0.95  # some names are cut by the frames
    assert not await platform.head("b000000")


async def test_a_trickle_is_ended_and_the_next_push_works(platform: Platform, work: Work) -> None:
    await platform.app()
    token = await platform.token()
    await platform.repositories.ensure(KEY)
    platform.endpoint._transfers.limits = replace(LIMITS, slow_seconds=1.0)
    reader, writer = await asyncio.open_connection("127.0.0.1", platform.port)
    writer.write(head(token, 100_000) + START)

    async def trickle() -> None:
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.05)

    trickling = asyncio.create_task(trickle())
    try:
        async with asyncio.timeout(patience.seconds(60)):
            said = (await reader.readuntil(b" s\n")).decode()
    finally:
        trickling.cancel()
        writer.close()
    assert said.startswith("HTTP/1.1 408 ")
    assert said.endswith("the request arrives too slowly: fewer than 1000 bytes a second for 1 s\n")
    await platform.world.until(lambda: pushes(platform), lambda count: not count, "its end")
    assert not leftovers(platform)
    platform.endpoint._transfers.limits = LIMITS
    commit = work.commit()
    assert (await work.run("push", "-q", platform.url(token), "main")).code == 0
    assert await platform.head() == commit


async def test_one_app_does_not_take_all_turns(platform: Platform, work: Work, tmp_path: Path) -> None:
    await platform.app()
    await platform.app("other")
    token = await platform.token()
    held = [await begun(platform, token) for _ in range(LIMITS.app_waiting_max)]
    try:
        await platform.world.until(lambda: pushes(platform), lambda count: count == len(held), "all of them")
        work.commit()
        other = platform.url(token, "default/other.git")
        assert (await work.run("push", "-q", other, "main")).code == 0
        assert (await work.run("clone", "-q", other, str(tmp_path / "copy"))).code == 0
        said = await answer(platform, head(token, 4) + b"0000")
        assert said.startswith("HTTP/1.1 503 ")
        assert "3 pushes and clones of default/site are under way, and no more may be; try again" in said
    finally:
        for writer in held:
            writer.close()
    await platform.world.until(lambda: pushes(platform), lambda count: not count, "their end")
    assert (await work.run("push", "-q", platform.url(token), "main")).code == 0
    assert not leftovers(platform)


def test_one_file_may_be_half_of_a_push() -> None:
    assert of_push(2 << 30) == Limits(push_bytes_max=2 << 30, blob_bytes_max=1 << 30)
    assert of_push(512 << 20) == Limits()


@pytest.mark.real
async def test_a_full_disk_is_told_and_heals(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "4m") as disk:
        async with delivery_world(tmp_path) as world:
            platform = Platform(world, disk, Limits())
            await platform.start()
            try:
                await _fill_and_heal(platform, Work(tmp_path / "work"), disk)
            finally:
                await platform.stop()


async def _fill_and_heal(platform: Platform, work: Work, disk: Path) -> None:
    await platform.app()
    await platform.app("late")
    token = await platform.token()
    url = platform.url(token)
    first = work.commit(**{"index.html": "one"})
    assert (await work.run("push", "-q", url, "main")).code == 0
    (work.folder / "data").write_bytes(os.urandom(6 << 20))
    work.commit("too much")
    done = await work.run("push", url, "main")
    assert done.code != 0
    assert f"remote: error: {FULL}" in done.said, done.said
    assert "[remote rejected] main -> main" in done.said
    assert await platform.head() == first
    assert not leftovers(platform)
    filler = fill(disk)
    late = platform.url(token, "default/late.git")
    done = await work.run("push", late, "main")
    assert done.code != 0 and f"remote: {FULL}" in done.said, done.said
    filler.unlink()
    (work.folder / "data").unlink()
    work.git("reset", "-q", "--hard", first)
    second = work.commit(**{"index.html": "two"})
    for place in (url, late):
        done = await work.run("push", "-q", place, "main")
        assert done.code == 0, done.said
    assert await platform.head() == second
