"""API servers that are made to be killed: each is forked from a process that has already imported everything."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import uvloop

from fairway.engine.apiserver import ApiServer, Config


async def _serve(folder: Path) -> None:
    config = Config(state_dir=folder / "state", unix_socket=folder / "api.sock", kubelet_socket=folder / "kubelet.sock")
    server = ApiServer(config)
    await server.start()
    print("ready", flush=True)
    await asyncio.Event().wait()


def _main(folder: Path) -> None:
    """Each line of stdin kills the last server and starts the next: its pid and `ready` are answered."""
    pid = 0
    for _ in sys.stdin:
        _end(pid)
        pid = os.fork()
        if pid == 0:
            uvloop.run(_serve(folder))
        print(pid, flush=True)
    _end(pid)


def _end(pid: int) -> None:
    if pid:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
