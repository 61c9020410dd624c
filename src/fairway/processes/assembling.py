"""Base images for a cluster that reaches no package server by itself: its launcher makes them, in the host's network.

The outer end starts `fairway image build --base NAME` and hands in a stream with what it says; the last line is how it
ended. The inner end reads that.
"""

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

from fairway.processes.broker import Broker
from fairway.toolkit.oci.bases import RECIPES

Tell = Callable[[str], None]
_ENDED = "ended "
_LINE_BYTES_MAX = 1 << 16


class Assembling:
    """The outer end, in the launcher. One of each base at a time."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._changing = threading.Lock()

    def start(self, recipe: str) -> socket.socket:
        """A stream of what is said. Raises OSError."""
        if recipe not in RECIPES:
            raise OSError(22, f"unknown base {recipe!r}")
        command = [sys.executable, "-I", "-m", "fairway.processes.main", "image", "build", "--base", recipe]
        command += ["--state-dir", str(self._state_dir)]
        inner, outer = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with outer, self._changing:
            if recipe in self._running:
                inner.close()
                raise OSError(16, f"base {recipe} is being made already")
            try:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=outer.fileno(), stderr=outer.fileno(), cwd="/"
                )
            except OSError:
                inner.close()
                raise
            self._running[recipe] = process
            said = outer.dup()
        threading.Thread(target=self._end, args=(recipe, process, said), daemon=True).start()
        return inner

    def _end(self, recipe: str, process: "subprocess.Popen[bytes]", said: socket.socket) -> None:
        code = process.wait()
        with self._changing:
            del self._running[recipe]
        with said:
            try:
                said.sendall(f"\n{_ENDED}{code}\n".encode())
            except OSError:
                pass  # nobody listens any more

    def close(self) -> None:
        """End what runs."""
        with self._changing:
            for process in self._running.values():
                process.terminate()


def assembler(broker: Broker) -> Callable[[str, Tell], Awaitable[None]]:
    """The inner end: makes a base and tells its progress. What it raises is an OSError with text for people."""

    async def assemble(recipe: str, tell: Tell) -> None:
        sock = await broker.base(recipe)
        reader, writer = await asyncio.open_connection(sock=sock, limit=_LINE_BYTES_MAX)
        last: list[str] = []
        try:
            async for raw in reader:
                line = raw.decode("utf-8", "replace").strip()
                if line.startswith(_ENDED):
                    _raise_for(line.removeprefix(_ENDED), last)
                    return
                if line:
                    last = [*last[-9:], line]
                    tell(line)
        except ValueError:
            raise OSError(5, "what it says cannot be read") from None
        finally:
            writer.close()
        raise OSError(5, "it broke off")

    return assemble


def _raise_for(code: str, last: list[str]) -> None:
    if code != "0":
        raise OSError(5, "; ".join(last[-3:]) or f"it ended with {code}")
