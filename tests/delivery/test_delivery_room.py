"""The room as a whole, in a cluster whose pods only pretend: what it says while it starts again."""

import asyncio
import socket
from pathlib import Path

import git_work
from delivery_world import delivery_world

from fairway.delivery.config import Config
from fairway.delivery.git import Repositories
from fairway.delivery.kinds.resources import APPS, PIPELINE_RUNS
from fairway.delivery.pipelines.tokens import Claim, Tokens
from fairway.delivery.room import run, token_key
from fairway.kube.api.meta import ObjectKey
from fairway.toolkit.clock import SystemClock
from fairway.toolkit.http_client import HttpClient, tcp_connector

API = "fairway.dev/v1alpha1"


async def test_pods_that_ask_while_the_room_starts_are_served_when_it_knows_their_run(tmp_path: Path) -> None:
    config = Config(tmp_path / "state", images_dir=tmp_path / "images")
    config.state_dir.mkdir()
    work = git_work.Work(tmp_path / "work")
    commit = work.commit(**{"index.html": "hello"})
    repositories = Repositories(config.state_dir / "git", local=True)
    await repositories.fetch(ObjectKey("default", "site"), str(work.folder), "main")
    async with delivery_world(tmp_path) as world:
        meta = {"name": "site", "namespace": "default"}
        await world.client.create(APPS, {"apiVersion": API, "kind": "App", "metadata": meta, "spec": {}})
        made = {"apiVersion": API, "kind": "PipelineRun", "metadata": {**meta, "name": "site-1"}}
        spec = {"app": "site", "number": 1, "commit": commit, "ref": "main", "message": "a change"}
        uid = (await world.client.create(PIPELINE_RUNS, {**made, "spec": spec}))["metadata"]["uid"]
        token = Tokens(token_key(config.state_dir)).issue(Claim("default", "site-1", uid, "build"))
        with socket.create_server(("127.0.0.1", 0)) as sock:
            async with HttpClient(tcp_connector(*sock.getsockname()), host_header="x") as http:
                headers = [("Authorization", f"Bearer {token}")]
                asking = asyncio.create_task(http.request("GET", "/runs/default/site-1/source", headers=headers))
                await asyncio.sleep(0)  # it is in the socket's backlog before the room is there
                room = asyncio.create_task(run(world.client, config, SystemClock(), sock))
                try:
                    answer = await asking
                    assert (answer.status, (await answer.read())[:2]) == (200, b"\x1f\x8b")
                finally:
                    room.cancel()
                    await asyncio.gather(room, return_exceptions=True)
