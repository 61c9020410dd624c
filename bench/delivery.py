"""How long a push takes until it serves, how long a rollback, and whether any request fails meanwhile.

    python bench/delivery.py [--releases N] [--requests N]

The cluster is started for the purpose; git and requests go to loopback. A site of one page is pushed: what is measured
is Fairway's own time, from the start of `git push` to the first answer with the new page.
"""

import argparse
import asyncio
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

import cluster
from app_site import Person
from load import Load, load

from fairway.certificates import authority

_HOST = "bench.example.com"


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--releases", type=int, default=10)
    parser.add_argument("--requests", type=int, default=10_000)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fairway-delivery-") as folder:
        made = cluster.new(Path(folder) / "state")
        command = [sys.executable, "-m", "fairway.processes.main", "image", "build", "--base", "nginx"]
        subprocess.run([*command, "--state-dir", str(made.state_dir)], check=True, stdout=subprocess.DEVNULL)
        made.start()
        try:
            seen, rows = asyncio.run(_measure(Person(made, Path(folder)), wanted.releases, wanted.requests))
        finally:
            made.stop()
    print(f"{'seconds':44}{'p50':>8}{'max':>8}    aim")
    for name, values, aim in rows:
        print(f"{name:44}{statistics.median(values):8.2f}{max(values):8.2f}    {aim}")
    print(f"requests meanwhile {seen.answered}, failed {len(seen.failures)}    aim 0")
    for failure in seen.failures[:5]:
        print(f"    {failure}")


async def _measure(person: Person, releases: int, requests: int) -> tuple[Load, list[tuple[str, list[float], str]]]:
    site = person.repository("bench")
    person.fairway("app", "create", "bench", "--domain", _HOST, "--replicas", "2", "--remote", folder=site)
    person.commit(site, **{"index.html": "version 0"})
    await asyncio.to_thread(person.push, site)
    await _says(person, "version 0")
    context = ssl.create_default_context(cafile=authority.paths(person.cluster.state_dir / "pki").certificate)
    pushes: list[float] = []
    tellings: list[float] = []
    decisions: list[float] = []
    returns: list[float] = []
    async with load(person.cluster.target(_HOST, tls=context)) as seen:
        for number in range(1, releases + 1):
            person.commit(site, **{"index.html": f"version {number}"})
            served, told = await _timed(person, f"version {number}", person.push, site)
            pushes.append(served)
            tellings.append(told)
        for number in range(releases):
            # The first goes back to the version before the last, the second forward again, and so on.
            target = f"v{releases if number % 2 == 0 else releases + 1}"
            text = f"version {releases - 1 if number % 2 == 0 else releases}"
            began = time.monotonic()
            await asyncio.to_thread(person.fairway, "rollback", "bench", target, "--no-wait")
            decisions.append(time.monotonic() - began)
            await _says(person, text)
            returns.append(time.monotonic() - began)
        await seen.more(max(0, requests - seen.answered))
    return seen, [
        ("git push → new version serves", pushes, "p50 < 2"),
        ("git push → the terminal says that it is live", tellings, "p50 < 2"),
        ("rollback → decided (with the command's start)", decisions, "< 1"),
        ("rollback → old version serves", returns, "< 5"),
    ]


async def _timed(person: Person, text: str, act: Callable[[Path], object], site: Path) -> tuple[float, float]:
    """Until the new text is there, and until `act` has ended."""
    began = time.monotonic()

    def done() -> float:
        act(site)
        return time.monotonic() - began

    doing = asyncio.create_task(asyncio.to_thread(done))
    await _says(person, text)
    served = time.monotonic() - began
    return served, await doing


async def _says(person: Person, text: str) -> None:
    async with asyncio.timeout(60):
        while text not in await asyncio.to_thread(person.page, _HOST):
            await asyncio.sleep(0.01)


if __name__ == "__main__":
    main()
