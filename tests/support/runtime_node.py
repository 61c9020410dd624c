"""A node for tests: fresh network, mount and PID namespaces with a zygote, which vanish with everything in them."""

import asyncio
import faulthandler
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import patience
import pytest
import uvloop

from fairway.engine.kubelet.network import PodNetwork
from fairway.engine.kubelet.runtime.client import Runtime
from fairway.engine.kubelet.runtime.model import ContainerSpec, ContainerState
from fairway.toolkit import linux

_NAMESPACES = linux.CLONE_NEWNET | linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC
_STUCK_SECONDS = patience.seconds(90)


class Node:
    """What the body of a test works with, inside the namespaces."""

    def __init__(self, folder: Path, image: Path, oci_runtime: str) -> None:
        self.folder = folder
        self.image = image
        self.run_dir = folder / "run"
        self.socket = self.run_dir / "zygote.sock"
        self.runtime = Runtime(self.run_dir, self.socket, oci_runtime=oci_runtime)
        self.oci_name = Path(self.runtime.oci_runtime).name
        self.network = PodNetwork(self.run_dir)
        self.zygote = self.start_zygote()

    def start_zygote(self) -> "subprocess.Popen[bytes]":
        self.run_dir.mkdir(exist_ok=True)
        self.socket.unlink(missing_ok=True)
        module = "fairway.engine.kubelet.runtime.zygote"
        process = subprocess.Popen([sys.executable, "-m", module, "--socket", str(self.socket)])
        deadline = time.monotonic() + patience.seconds(20)
        while not self.socket.exists():
            assert process.poll() is None and time.monotonic() < deadline, "the zygote does not listen"
            time.sleep(0.005)
        return process

    def spec(self, id: str, *args: str, **changes: object) -> ContainerSpec:
        """A container of the busybox image, in the node's network unless a sandbox is named."""
        home = self.folder / id
        home.mkdir(exist_ok=True)
        spec = ContainerSpec(
            id=id,
            rootfs_layers=(str(self.image),),
            upper_dir=str(home / "upper"),
            work_dir=str(home / "work"),
            merged_dir=str(home / "merged"),
            args=args,
            env=(("PATH", "/bin"),),
            log_path=str(home / "0.log"),
            state_path=str(home / "state.json"),
            sandbox="",
        )
        return msgspec.structs.replace(spec, **changes)

    def log(self, id: str) -> str:
        """The text of a container's log without times and tags."""
        lines = (self.folder / id / "0.log").read_text().splitlines(keepends=True)
        return "".join(line.split(" ", 3)[3] for line in lines)

    async def ended(self, id: str) -> ContainerState:
        """Wait until a container has ended."""
        changed = asyncio.Event()
        self.runtime.subscribe(lambda name: changed.set() if name == id else None)
        async with asyncio.timeout(patience.seconds(30)):
            while True:
                for state in await self.runtime.list():
                    if state.id == id and state.status in ("exited", "failed"):
                        return state
                await changed.wait()
                changed.clear()

    async def run(self, id: str, *args: str, **changes: object) -> tuple[ContainerState, str]:
        """Run a container to its end; its last state and its log."""
        await self.runtime.start(self.spec(id, *args, **changes))
        return await self.ended(id), self.log(id)


class NodeRunner:
    """Runs the body of a test as a coroutine on a fresh node."""

    def __init__(self, folder: Path, image: Path, oci_runtime: str = "") -> None:
        self._folder = folder
        self._image = image
        self._oci_runtime = oci_runtime

    def __call__(self, body: Callable[[Node], Awaitable[None]]) -> None:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:  # a child that gets past here would run the rest of pytest, once more for each test
                os.close(reading)
                self._be_parent(body, writing)
            except BaseException:
                os.write(writing, traceback.format_exc().encode())
            finally:
                os._exit(1)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            problem = pipe.read().decode("utf-8", "replace")
        os.waitpid(pid, 0)
        if problem:
            pytest.fail(problem, pytrace=False)

    def _be_parent(self, body: Callable[[Node], Awaitable[None]], writing: int) -> None:
        """Make the namespaces; the grandchild is their process 1."""
        linux.unshare(_NAMESPACES)
        pid = os.fork()
        if pid:
            os.close(writing)
            os.waitpid(pid, 0)
            os._exit(0)
        code = 0
        try:
            linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
            faulthandler.dump_traceback_later(_STUCK_SECONDS, file=writing, exit=True)  # beyond what asyncio can bound
            linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
            linux.mount("proc", "/proc", "proc")
            node = Node(self._folder, self._image, self._oci_runtime)
            uvloop.run(_bounded(body, node))
        except BaseException:
            os.write(writing, traceback.format_exc().encode())
        os._exit(code)


async def _bounded(body: Callable[[Node], Awaitable[None]], node: Node) -> None:
    async with asyncio.timeout(patience.seconds(60)):
        await body(node)
