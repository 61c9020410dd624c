"""`kill -9` of the engine at random moments between a push and the live version, and between that and the one before.

5 rounds; FAIRWAY_DELIVERY_KILL_ROUNDS=30 asks for more, FAIRWAY_DELIVERY_KILL_SEED repeats a run.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cluster
import pytest
import shared
from app_site import Person, delivering
from load import load

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]
ROUNDS = int(os.environ.get("FAIRWAY_DELIVERY_KILL_ROUNDS", "5"))
SEED = int(os.environ.get("FAIRWAY_DELIVERY_KILL_SEED", "1"))
HOST = "killed.test"
PIPELINE = """
build:
  image: python
  script: ["mkdir -p dist", "cp page.html dist/index.html"]
  artifacts: {paths: [dist]}
"""


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    made = cluster.new(tmp_path / "state")
    shared.bases(made.state_dir, "nginx", "python")
    made.start()
    yield Person(delivering(made), tmp_path)
    print(made.kubectl("get", "apps,pipelineruns,jobs,pods,releases", check=False))  # shown when the test failed
    print(made.log())
    made.stop()


async def until(look: Callable[[], Any], wanted: Callable[[Any], bool], what: str) -> Any:
    deadline = time.monotonic() + 120
    while not wanted(found := await asyncio.to_thread(look)):
        assert time.monotonic() < deadline, f"never came: {what}; last seen: {found}"
        await asyncio.sleep(0.1)
    return found


async def pushed(person: Person, folder: Path, delay_seconds: float) -> str:
    """What the terminals said until the commit was taken; the engine is killed in the middle of the first push."""
    victim = person.cluster.engine_pid()
    first = asyncio.create_task(asyncio.to_thread(person.push, folder, check=False))
    await asyncio.sleep(delay_seconds)  # the moment is the point of the test
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    said = every = await first
    # A push that breaks off ends with "Everything up-to-date" as well, behind a "fatal": that is how git is.
    while "live" not in said and ("fatal:" in said or "Everything up-to-date" not in said):
        said = await asyncio.to_thread(person.push, folder, check=False)
        every += said
        await asyncio.sleep(0.1)
    return every


def releases(person: Person) -> list[Any]:
    found = person.cluster.kubectl("get", "releases", "-o", "json", check=False)
    return list(json.loads(found)["items"]) if found.startswith("{") else []


def settled(found: list[Any]) -> bool:
    """One is live, and none is on its way."""
    phases = [one.get("status", {}).get("phase", "") for one in found]
    return phases.count("Live") == 1 and set(phases) <= {"Live", "Superseded", "Failed"}


async def test_a_killed_engine_delivers_all_the_same(person: Person) -> None:
    chance = random.Random(SEED)
    folder = person.repository("killed")
    person.fairway("app", "create", "killed", "--domain", HOST, "--remote", folder=folder)
    person.commit(folder, **{"index.html": "version 0"})
    assert "is live (v1)" in person.push(folder)
    trusted = ssl.create_default_context(cafile=person.cluster.state_dir / "pki" / "web-ca.crt")
    async with load(person.cluster.target(HOST, tls=trusted), keep_alive=2, closing=1) as seen:
        for number in range(1, ROUNDS + 1):
            job = number % 2 == 0
            text = f"version {number}"
            (folder / ".fairway.yml").unlink(missing_ok=True)
            files = {"page.html": text, ".fairway.yml": PIPELINE} if job else {"index.html": text}
            person.commit(folder, text, **files)
            said = await pushed(person, folder, chance.random() * (6.0 if job else 2.0))
            await until(lambda: person.page(HOST), lambda page, text=text: page == text, f"{text}: {said}")
            found = await until(lambda: releases(person), settled, "one live Release")
            assert not [one for one in found if one["status"]["phase"] == "Failed"], found
            if number % 3 == 0:
                await _back(person, chance)
            assert not seen.failures, (number, seen.failures[:5], said)
    runs = person.cluster.objects("pipelineruns")
    assert {run["status"]["phase"] for run in runs} == {"Succeeded"}, runs
    assert seen.answered > ROUNDS


async def _back(person: Person, chance: random.Random) -> None:
    """A rollback during which the engine is killed; the command may fail, but nothing stays half done."""
    before = person.page(HOST)
    victim = person.cluster.engine_pid()
    first = asyncio.create_task(asyncio.to_thread(person.fairway, "rollback", "killed", check=False))
    await asyncio.sleep(chance.random())
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    await first
    found = await until(lambda: releases(person), settled, "one live Release after a rollback")
    newest = max(found, key=lambda one: int(one["spec"]["number"]))
    if newest["spec"]["reason"] == "rollback":
        await until(lambda: person.page(HOST), lambda page: page not in ("", before), "the version before")
