"""What the kubelet may count on, whoever makes the containers: the fake, our own code, crun or runc."""

import asyncio
import os
import shutil
import signal
import socket
import uuid
from pathlib import Path

import pytest
from runtime_node import Node, NodeRunner

from fairway.engine.kubelet.fakes import FakeRuntime
from fairway.engine.kubelet.runtime.client import Runtime
from fairway.engine.kubelet.runtime.errors import ContainerExists, ContainerUnknown, ExecFailed
from fairway.engine.kubelet.runtime.model import ContainerSpec, ExecResult
from fairway.engine.kubelet.runtime.sessions import STDERR, STDOUT
from fairway.toolkit.clock import SystemClock

pytestmark = pytest.mark.real
RUNTIMES = ("native", "crun", "runc")


class FakeNode:
    """The same as a Node, without a machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runtime = FakeRuntime(SystemClock())
        self.runtime.unrunnable["no-such-program"] = "executable file not found in $PATH"
        self.runtime.on_exec = _answer

    def spec(self, id: str, *args: str, **changes: object) -> ContainerSpec:
        return Node.spec(self, id, *args, **changes)

    image = Path("/fake")
    ended = Node.ended


def _answer(id: str, args: tuple[str, ...]) -> ExecResult:
    if args[0] == "no-such-program":
        raise ExecFailed("executable file not found in $PATH")
    if args[0] == "sh":
        return ExecResult(exit_code=3, stdout=b"out\n", stderr=b"err\n")
    return ExecResult(exit_code=0, stdout=b"", stderr=b"")


def _run_fake(folder: Path, body) -> None:
    async def run() -> None:
        async with asyncio.timeout(60):
            await body(FakeNode(folder))

    asyncio.run(run())


@pytest.fixture(params=["fake", *RUNTIMES])
def world(request, tmp_path, busybox_image):
    """Call it with a coroutine function that takes something like a Node."""
    if request.param == "fake":
        return lambda body: _run_fake(tmp_path, body)
    program = "" if request.param == "native" else shutil.which(request.param)
    assert program is not None, f"install the package {request.param}"
    return NodeRunner(tmp_path, busybox_image, program)


class Heard:
    def __init__(self) -> None:
        self.streams = {STDOUT: b"", STDERR: b""}
        self._more = asyncio.Event()

    async def write(self, stream: int, data: bytes) -> None:
        self.streams[stream] += data
        self._more.set()

    async def until(self, text: bytes) -> None:
        while text not in self.streams[STDOUT].replace(b"\r\n", b"\n"):
            await self._more.wait()
            self._more.clear()


def test_a_container_runs_until_it_is_killed(world):
    async def body(node):
        started = await node.runtime.start(node.spec("c", "sleep", "1000"))
        assert (started.id, started.status, started.exit_code) == ("c", "running", None)
        assert started.started_at is not None and started.pid is not None
        assert [state.status for state in await node.runtime.list()] == ["running"]
        with pytest.raises(ContainerExists):
            await node.runtime.start(node.spec("c", "sleep", "1000"))
        await node.runtime.signal("c", signal.SIGKILL)
        ended = await node.ended("c")
        assert (ended.exit_code, ended.signal, ended.reason) == (137, 9, "Error")
        await node.runtime.signal("c", signal.SIGTERM)  # it has ended: nothing happens
        for _ in range(2):
            await node.runtime.remove("c")
        assert await node.runtime.list() == ()
        with pytest.raises(ContainerUnknown):
            await node.runtime.signal("c", signal.SIGKILL)

    world(body)


def test_a_program_that_is_not_there(world):
    async def body(node):
        state = await node.runtime.start(node.spec("c", "no-such-program"))
        assert (state.status, state.exit_code, state.reason) == ("failed", 128, "StartError")
        assert "executable file" in state.message and "not found" in state.message
        assert await node.runtime.list() == (state,)

    world(body)


def test_sandboxes(world):
    async def body(node):
        name = uuid.uuid4().hex
        made = await node.runtime.create_sandbox(name, "pod")
        assert await node.runtime.create_sandbox(name, "pod") == made
        assert [each.id for each in await node.runtime.list_sandboxes()] == [name]
        with await node.runtime.pod_socket(name, socket.AF_INET) as sock:
            assert (sock.family, sock.type & socket.SOCK_STREAM) == (socket.AF_INET, socket.SOCK_STREAM)
            assert not sock.getblocking()
        assert (await node.runtime.start(node.spec("c", "sleep", "1000", sandbox=name))).status == "running"
        await node.runtime.remove("c")
        for _ in range(2):
            await node.runtime.remove_sandbox(name)
        assert await node.runtime.list_sandboxes() == ()
        with pytest.raises(OSError):
            await node.runtime.pod_socket(name, socket.AF_INET)

    world(body)


def test_commands(world):
    async def body(node):
        await node.runtime.start(node.spec("c", "sleep", "1000"))
        result = await node.runtime.exec("c", ("sh", "-c", "echo out; echo err >&2; exit 3"))
        assert (result.exit_code, result.stdout, result.stderr) == (3, b"out\n", b"err\n")
        with pytest.raises(ExecFailed):
            await node.runtime.exec("c", ("no-such-program",))
        with pytest.raises(ExecFailed):
            await node.runtime.open_command("c", ("no-such-program",), tty=False, stdin=False)
        await node.runtime.signal("c", signal.SIGKILL)
        await node.ended("c")
        with pytest.raises(ExecFailed):
            await node.runtime.exec("c", ("true",))
        with pytest.raises(ExecFailed):
            await node.runtime.open_command("c", ("true",), tty=False, stdin=False)

    world(body)


@pytest.mark.parametrize("tty", [False, True])
def test_a_command_with_streams(world, tty):
    async def body(node):
        await node.runtime.start(node.spec("c", "sleep", "1000"))
        session, heard = await node.runtime.open_command("c", ("cat",), tty=tty, stdin=True), Heard()
        copying = asyncio.create_task(session.copy_output(heard.write))
        await session.resize(80, 24)
        await session.write(b"hello\n")
        await heard.until(b"hello\n")
        if tty:
            await session.write(b"\x04")
        await session.end_input() if not tty or isinstance(node, FakeNode) else None
        assert await copying == 0
        assert heard.streams[STDERR] == b""
        session.close()
        session, heard = (
            await node.runtime.open_command("c", ("sh", "-c", "echo out; exit 3"), tty=tty, stdin=False),
            Heard(),
        )
        assert await session.copy_output(heard.write) == 3
        assert heard.streams[STDOUT].startswith(b"out")
        session.close()

    world(body)


def test_attaching(world):
    async def body(node):
        await node.runtime.start(node.spec("c", "cat", stdin=True, stdin_once=True))
        session, heard = await node.runtime.attach("c", stdin=True, stdout=True, stderr=True), Heard()
        watching, also = await node.runtime.attach("c", stdin=False, stdout=True, stderr=False), Heard()
        copying = [
            asyncio.create_task(session.copy_output(heard.write)),
            asyncio.create_task(watching.copy_output(also.write)),
        ]
        await session.write(b"hello\n")
        await heard.until(b"hello\n")
        await also.until(b"hello\n")
        await watching.write(b"not allowed\n")
        await session.end_input()  # the only giver has left: the program's input ends, and so does it
        assert await asyncio.gather(*copying) == [None, None]
        assert (await node.ended("c")).exit_code == 0
        assert also.streams[STDOUT] == b"hello\n"
        for one in (session, watching):
            one.close()
        with pytest.raises(ContainerUnknown):
            await node.runtime.attach("c", stdin=True, stdout=True, stderr=True)

    world(body)


@pytest.mark.parametrize("world", RUNTIMES, indirect=True)
def test_the_end_of_a_program_and_what_it_said(world):
    """What a fake cannot know."""

    async def body(node):
        state, log = await node.run("c", "sh", "-c", "echo hello; exit 42")
        assert (state.exit_code, state.reason, log) == (42, "Error", "hello\n")
        script = (
            "id -u; id -g; pwd; echo $WHO; grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status; touch /x 2>&1 || echo no"
        )
        changes = {"uid": 0, "gid": 0, "cwd": "/tmp", "env": (("PATH", "/bin"), ("WHO", "me")), "read_only_root": True}
        state, log = await node.run("d", "sh", "-c", script, **changes)
        expected = [
            "0",
            "0",
            "/tmp",
            "me",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
            "touch: /x: Read-only file system",
            "no",
        ]
        assert log.splitlines() == expected
        state, log = await node.run("e", "sh", "-c", "tty; ls -l /dev/console; exit 5", tty=True)
        assert state.exit_code == 5
        assert log.startswith(("/dev/pts/0", "/dev/console")), log
        assert "crw" in log

    world(body)


@pytest.mark.parametrize("world", RUNTIMES, indirect=True)
def test_the_runtime_starts_again_and_finds_all(world):
    async def body(node):
        await node.runtime.start(node.spec("c", "sleep", "1000"))
        again = Runtime(node.run_dir, node.socket)
        assert [(state.id, state.status) for state in await again.list()] == [("c", "running")]
        node.zygote.kill()
        await asyncio.to_thread(node.zygote.wait)
        await again.signal("c", signal.SIGKILL)
        assert (await node.ended("c")).exit_code == 137
        assert os.path.exists(node.folder / "c" / "0.log")

    world(body)
