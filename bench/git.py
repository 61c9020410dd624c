"""What the git endpoint costs: a push of a one-file change, beside the same push to a folder; memory in a large push.

    python bench/git.py [pushes] [megabytes]

The endpoint is a process of its own over loopback without TLS; its API is another one. Rounds are interleaved, so that
a busy machine slows both. Root, as in a cluster: git then runs as a user of its own.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

import git_server
from git_platform import Platform
from git_work import Work
from live_api import Live, live_api

from fairway.delivery.kinds.install import install
from fairway.kube.client.client import ApiClient
from fairway.toolkit.http_client import HttpClient, unix_connector


async def prepare(api: Live) -> str:
    """An App, and a token to push to it."""
    async with HttpClient(unix_connector(api.socket), host_header="localhost") as http:
        client = ApiClient(http)
        await install(client)
        await Platform.make_app(client)
        return await Platform.make_token(client)


def push(work: Work, url: str) -> float:
    """Milliseconds."""
    started = time.perf_counter()
    work.git("push", "-q", url, "main")
    return (time.perf_counter() - started) * 1000


def peak_megabytes(pid: int) -> float:
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


def main(pushes: int, megabytes: int) -> None:
    with tempfile.TemporaryDirectory(prefix="fairway-git-") as name, live_api(Path(name) / "live") as api:
        folder = Path(name)
        token = asyncio.run(prepare(api))
        command = [sys.executable, git_server.__file__, str(folder / "repositories"), str(api.socket)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
            assert server.stdout is not None
            url = f"http://x:{token}@127.0.0.1:{int(server.stdout.readline())}/default/site.git"
            try:
                measure(folder, url, server.pid, pushes, megabytes)
            finally:
                server.kill()


def measure(folder: Path, url: str, pid: int, pushes: int, megabytes: int) -> None:
    work, plain = Work(folder / "work"), folder / "plain.git"
    work.git("init", "-q", "--bare", "-b", "main", str(plain))
    ours, theirs = [], []
    for number in range(pushes):
        work.commit(file=str(number))
        ours.append(push(work, url))
        theirs.append(push(work, str(plain)))
    both = f"{statistics.median(ours):.0f} ms, to a folder {statistics.median(theirs):.0f} ms"
    print(f"push of a one-file change, p50 of {pushes}: {both}")
    before = peak_megabytes(pid)
    (work.folder / "large").write_bytes(os.urandom(megabytes << 20))
    work.commit()
    seconds = push(work, url) / 1000
    print(f"push of {megabytes} MB: {seconds:.1f} s, memory {before:.0f} → {peak_megabytes(pid):.0f} MB")


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    main(*(given + [30, 200][len(given) :]))
