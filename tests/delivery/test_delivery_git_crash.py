"""The endpoint killed at any moment of a push: repositories stay valid, and the next push works."""

import asyncio
import contextlib
import os
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import git_server
import pytest
from git_platform import Platform
from git_work import Work
from live_api import live_api

from fairway.delivery.git import Repositories
from fairway.delivery.kinds.install import install
from fairway.kube.api.meta import ObjectKey
from fairway.kube.client.client import ApiClient
from fairway.toolkit.http_client import HttpClient, unix_connector

ROUNDS = int(os.environ.get("FAIRWAY_GIT_KILL_ROUNDS", "6"))
KEY = ObjectKey("default", "site")


@contextlib.asynccontextmanager
async def served(folder: Path, api: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """The endpoint and its port; killed at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, git_server.__file__, str(folder), str(api)), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield process, int(await process.stdout.readline())
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


@pytest.mark.real
async def test_a_killed_endpoint_leaves_valid_repositories(tmp_path: Path) -> None:
    work, folder, moment = Work(tmp_path / "work"), tmp_path / "repositories", random.Random(7)
    with live_api(tmp_path / "live", with_controllers=True) as api:
        async with HttpClient(unix_connector(api.socket), host_header="localhost") as http:
            client = ApiClient(http)
            await install(client)
            await Platform.make_app(client)
            token = await Platform.make_token(client)
        acknowledged = ""
        for number in range(ROUNDS):
            (work.folder / f"data{number}").write_bytes(os.urandom(3_000_000))
            commit = work.commit(file=str(number))
            async with served(folder, api.socket) as (process, port):
                url = f"http://x:{token}@127.0.0.1:{port}/default/site.git"
                pushing = asyncio.create_task(work.run("push", url, "main"))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(moment.uniform(0.0, 0.6)):  # any moment: there is nothing to wait for
                        await asyncio.shield(pushing)
                process.kill()
                await process.wait()  # its git ends with it, and only then nothing moves any more
                done = await pushing
            repositories = Repositories(folder)
            path = await repositories.ensure(KEY)
            head = await repositories.head(KEY, "main")
            assert head in {commit, acknowledged or None}
            if done.code == 0:
                assert head == commit
            acknowledged = head or ""
            await repositories.git.output(("fsck", "--connectivity-only"), path)
        async with served(folder, api.socket) as (_, port):
            done = await work.run("push", f"http://x:{token}@127.0.0.1:{port}/default/site.git", "main")
        assert done.code == 0, done.said
        assert await Repositories(folder).head(KEY, "main") == commit
