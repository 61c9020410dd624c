"""Run a program to its end without blocking the event loop."""

import asyncio
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO


async def run(
    arguments: Sequence[str],
    *,
    cwd: Path | None = None,
    stdin: bytes = b"",
    pass_fds: tuple[int, ...] = (),
    new_session: bool = False,
    files: tuple[IO[bytes], IO[bytes]] | None = None,
    timeout_seconds: float,
) -> "subprocess.CompletedProcess[bytes]":
    """Both outputs and the exit code; only `pass_fds` are inherited. A program that is too slow is killed.

    With `files` the outputs go there instead: what a program of strangers writes is not for our memory.

    Not asyncio's subprocesses: with `pass_fds` uvloop lets the child inherit every descriptor of the process, our
    sockets among them.  Raises OSError, and subprocess.TimeoutExpired.
    """
    stdout, stderr = files or (subprocess.PIPE, subprocess.PIPE)
    return await asyncio.to_thread(
        subprocess.run,
        list(arguments),
        cwd=cwd,
        input=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
        start_new_session=new_session,
        timeout=timeout_seconds,
        check=False,
    )
