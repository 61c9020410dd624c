"""`kill -9` at random points under write load: what was acknowledged is there, and no revision means two things.

40 rounds; FAIRWAY_KILL_ROUNDS=1000 asks for more, FAIRWAY_KILL_SEED repeats a run.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import crash_server
import pytest

from fairway.toolkit.http_client import HttpClient, HttpError, unix_connector

ROUNDS = int(os.environ.get("FAIRWAY_KILL_ROUNDS", "40"))
SEED = int(os.environ.get("FAIRWAY_KILL_SEED", "1"))
WRITERS = 8
COLLECTION = "/api/v1/namespaces/default/configmaps"
ABSENT = -1
START_SECONDS = 60


class Victim:
    """The server process, and where it listens."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, crash_server.__file__, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._pid = 0

    async def restart(self) -> None:
        """Return when a new server answers."""
        await asyncio.wait_for(asyncio.to_thread(self._restart), START_SECONDS)

    def _restart(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("next\n")
        self._process.stdin.flush()
        said = {self._process.stdout.readline().strip() for _ in range(2)} - {"ready"}
        self._pid = int(said.pop())

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


class Witness:
    """All that clients were ever told; contradictions are collected."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, int] = {}
        self.attempted: dict[str, int] = {}
        self.writes = 0
        self.events = 0
        self.newest = 0
        self.watched = 0
        self.wrong: list[str] = []
        self._said: dict[int, tuple[str, int]] = {}

    def hear(self, revision: int, name: str, value: int) -> None:
        """A revision stands for one state of one object, for ever."""
        known = self._said.setdefault(revision, (name, value))
        if known != (name, value):
            self.wrong.append(f"revision {revision} is {known} and {(name, value)}")

    def see_object(self, obj: Any) -> None:
        if "value" in (obj.get("data") or {}):
            metadata = obj["metadata"]
            self.hear(int(metadata["resourceVersion"]), metadata["name"], int(obj["data"]["value"]))

    def see_event(self, event: Any) -> None:
        if event["type"] == "ERROR":
            self.wrong.append(str(event))
            return
        metadata = event["object"]["metadata"]
        revision = int(metadata["resourceVersion"])
        if revision <= self.watched:
            self.wrong.append(f"an event of {revision} came after one of {self.watched}")
        self.events, self.watched = self.events + 1, revision
        if event["type"] == "DELETED":
            self.hear(revision, metadata["name"], ABSENT)
        else:
            self.see_object(event["object"])

    def settle(self, listed: dict[str, int]) -> None:
        """After a kill: what is there is what was acknowledged, or what was being written."""
        for name, value in self.acknowledged.items():
            found = listed.get(name, ABSENT)
            if found not in (value, self.attempted[name]):
                self.wrong.append(f"{name} is {found}, acknowledged {value}, attempted {self.attempted[name]}")
            self.acknowledged[name] = found


class Writer:
    """Creates, replaces, patches and deletes one object of its own, one request at a time, values ever growing."""

    def __init__(self, client: HttpClient, witness: Witness, number: int, chance: random.Random) -> None:
        self._client = client
        self._witness = witness
        self._name = f"w{number}"
        self._chance = chance
        self._value = 0

    async def run(self) -> None:
        """Until the server is gone."""
        try:
            while True:
                await self._write()
        except (HttpError, OSError):
            return

    async def _write(self) -> None:
        witness, name = self._witness, self._name
        there = witness.acknowledged.get(name, ABSENT) != ABSENT
        self._value = max(self._value, witness.acknowledged.get(name, 0)) + 1
        method = self._chance.choice(("PUT", "PUT", "PATCH", "PATCH", "DELETE")) if there else "POST"
        witness.acknowledged.setdefault(name, ABSENT)
        witness.attempted[name] = ABSENT if method == "DELETE" else self._value
        status, obj = await self._send(method)
        if status not in (200, 201):
            witness.wrong.append(f"{method} {name}: {status} {obj}")
        elif method != "DELETE":
            witness.see_object(obj)
        witness.acknowledged[name] = witness.attempted[name]
        witness.writes += 1

    async def _send(self, method: str) -> tuple[int, Any]:
        body = {"metadata": {"name": self._name}, "data": {"value": str(self._value)}}
        path = COLLECTION if method == "POST" else f"{COLLECTION}/{self._name}"
        media = "application/merge-patch+json" if method == "PATCH" else "application/json"
        payload = None if method == "DELETE" else json.dumps(body).encode()
        response = await self._client.request(method, path, headers=[("Content-Type", media)], body=payload)
        return response.status, json.loads(await response.read())


async def watch(client: HttpClient, witness: Witness) -> None:
    """What a watcher was told counts as much as what a writer was told."""
    query = f"{COLLECTION}?watch=1&resourceVersion={witness.watched or witness.newest}"
    try:
        response = await client.request("GET", query, dedicated=True)
        async for line in response.iter_lines():
            witness.see_event(json.loads(line))
    except (HttpError, OSError):
        return


async def look(client: HttpClient, witness: Witness) -> None:
    """List everything after a start and compare."""
    response = await client.request("GET", COLLECTION)
    listed = json.loads(await response.read())
    for item in listed["items"]:
        witness.see_object(item)
    witness.settle({i["metadata"]["name"]: int(i["data"]["value"]) for i in listed["items"] if "value" in i["data"]})
    revision = int(listed["metadata"]["resourceVersion"])
    if revision <= witness.newest:
        witness.wrong.append(f"the revision went from {witness.newest} to {revision}")
    witness.newest = revision


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    made = Victim(tmp_path)
    yield made
    made.close()


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[HttpClient]:
    async with HttpClient(unix_connector(tmp_path / "api.sock"), host_header="local", max_connections=32) as made:
        yield made


async def test_nothing_acknowledged_is_lost_by_kill_9(victim: Victim, client: HttpClient) -> None:
    chance, witness = random.Random(SEED), Witness()
    writers = [Writer(client, witness, number, random.Random(SEED + number)) for number in range(WRITERS)]
    for _ in range(ROUNDS):
        await victim.restart()
        await look(client, witness)
        killer = asyncio.get_running_loop().call_later(chance.random() * 0.15, victim.kill)
        await asyncio.gather(watch(client, witness), *(writer.run() for writer in writers))
        killer.cancel()
        assert not witness.wrong, witness.wrong[:5]
    print(f"{ROUNDS} kills, {witness.writes} acknowledged writes, {witness.events} events, revision {witness.newest}")
    assert witness.writes > ROUNDS
