"""Commands and containers with somebody at the other end of their streams: with real processes and terminals."""

import asyncio
import os
import socket

import pytest

from fairway.engine.kubelet.runtime.client import Runtime
from fairway.engine.kubelet.runtime.errors import ContainerUnknown, ExecFailed
from fairway.engine.kubelet.runtime.sessions import STDERR, STDOUT

pytestmark = pytest.mark.real


class Seen:
    """What a session wrote, and an event for every piece."""

    def __init__(self):
        self.streams = {STDOUT: b"", STDERR: b""}
        self.changed = asyncio.Event()

    async def write(self, stream, data):
        self.streams[stream] += data
        self.changed.set()

    async def until(self, text, stream=STDOUT):
        async with asyncio.timeout(60):
            while text not in self.streams[stream]:
                self.changed.clear()
                await self.changed.wait()


async def processes(node, id):
    return (await node.runtime.exec(id, ("ps", "-o", "args"))).stdout.decode()


def test_command_with_pipes(node):
    async def body(node):
        await node.runtime.start(node.spec("c", "sleep", "100"))
        script = "cat; echo problem >&2; exit 3"
        session = await node.runtime.open_command("c", ("sh", "-c", script), {"A": "b"}, tty=False, stdin=True)
        seen = Seen()
        copying = asyncio.create_task(session.copy_output(seen.write))
        await session.write(b"input")
        await session.end_input()
        assert await copying == 3
        assert seen.streams == {STDOUT: b"input", STDERR: b"problem\n"}
        session.close()
        with pytest.raises(ExecFailed, match=r'exec: "no": executable file not found in \$PATH'):
            await node.runtime.open_command("c", ("no",), tty=False, stdin=False)
        with pytest.raises(ExecFailed):
            await node.runtime.open_command("c", ("no",), tty=True, stdin=True)

    node(body)


@pytest.mark.users
def test_command_with_a_terminal(node):
    async def body(node):
        await node.runtime.start(node.spec("c", "sleep", "100", uid=1000))
        session = await node.runtime.open_command("c", ("sh",), {"PS1": "$ "}, tty=True, stdin=True)
        await session.resize(99, 33)
        seen = Seen()
        copying = asyncio.create_task(session.copy_output(seen.write))
        await session.write(b"tty; stty size; id -u; test -c $(tty) && echo x > $(tty); exit 4\n")
        assert await copying == 4
        assert b"/dev/pts/0\r\n33 99\r\n1000\r\nx\r\n" in seen.streams[STDOUT], seen.streams
        session.close()

    node(body)


@pytest.mark.parametrize("tty", [False, True])
def test_closing_kills_the_command_and_its_children(node, tty):
    async def body(node):
        await node.runtime.start(node.spec("c", "sleep", "100"))
        script = "trap '' HUP; sleep 4242 & sleep 4242; true"
        session = await node.runtime.open_command("c", ("sh", "-c", script), tty=tty, stdin=True)
        while (await processes(node, "c")).count("sleep 4242\n") < 2:
            await asyncio.sleep(0.01)
        before = len(os.listdir("/proc/self/fd"))
        session.close()
        assert len(os.listdir("/proc/self/fd")) < before
        async with asyncio.timeout(60):
            while "4242" in await processes(node, "c"):
                await asyncio.sleep(0.01)

    node(body)


def test_a_background_process_does_not_hold_the_session(node):
    async def body(node):
        await node.runtime.start(node.spec("c", "sleep", "100"))
        session = await node.runtime.open_command("c", ("sh", "-c", "sleep 50 & echo done"), tty=False, stdin=False)
        seen = Seen()
        async with asyncio.timeout(60):
            assert await session.copy_output(seen.write) == 0
        assert seen.streams[STDOUT] == b"done\n"
        session.close()
        assert "sleep 50" in await processes(node, "c")

    node(body)


def test_attaching_shares_output_and_gives_input(node):
    async def body(node):
        script = "while read line; do echo got $line; echo err $line >&2; done; echo ended"
        await node.runtime.start(node.spec("c", "sh", "-c", script, stdin=True))
        giver = await node.runtime.attach("c", stdin=True, stdout=True, stderr=True)
        other = await Runtime(node.run_dir, node.socket).attach("c", stdin=False, stdout=True, stderr=False)
        seen, seen_too = Seen(), Seen()
        tasks = [
            asyncio.create_task(giver.copy_output(seen.write)),
            asyncio.create_task(other.copy_output(seen_too.write)),
        ]
        await giver.write(b"one\n")
        await seen.until(b"got one\n")
        await seen.until(b"err one\n", STDERR)
        await seen_too.until(b"got one\n")
        await other.write(b"not allowed\n")
        await giver.end_input()  # the visit ends, the input stays open
        assert await tasks[0] is None
        assert seen_too.streams[STDERR] == b""
        await node.runtime.signal("c", 9)
        assert await tasks[1] is None
        for session in (giver, other):
            session.close()
        await node.ended("c")
        assert node.log("c") == "got one\nerr one\n"
        with pytest.raises(ContainerUnknown):
            await node.runtime.attach("c", stdin=True, stdout=True, stderr=True)

    node(body)


@pytest.mark.parametrize("politely", [True, False])
def test_input_that_is_given_once_ends_with_its_giver(node, politely):
    async def body(node):
        await node.runtime.start(node.spec("c", "sh", "-c", "cat; echo ended", stdin=True, stdin_once=True))
        session = await node.runtime.attach("c", stdin=True, stdout=True, stderr=True)
        data = os.urandom(300_000).hex().encode()
        seen = Seen()
        copying = asyncio.create_task(session.copy_output(seen.write))
        await session.write(data)
        if politely:
            await session.end_input()
            assert await copying is None
            assert seen.streams[STDOUT] == data + b"ended\n"
        else:
            await seen.until(data[-100:])
            copying.cancel()
        session.close()
        state = await node.ended("c")
        assert state.exit_code == 0

    node(body)


def test_a_container_with_a_terminal(node):
    async def body(node):
        await node.runtime.start(node.spec("c", "sh", tty=True, stdin=True, env=(("PATH", "/bin"), ("PS1", "$ "))))
        session = await node.runtime.attach("c", stdin=True, stdout=True, stderr=True)
        seen = Seen()
        copying = asyncio.create_task(session.copy_output(seen.write))
        await session.resize(77, 22)
        await session.write(b"stty size; tty\n")
        await seen.until(b"22 77\r\n/dev/pts/0\r\n")
        await session.write(b"exit 5\n")
        assert await copying is None
        session.close()
        assert (await node.ended("c")).exit_code == 5
        assert "/dev/pts/0\r\n" in (node.folder / "c" / "0.log").read_bytes().decode()

    node(body)


def test_a_client_that_does_not_read_stops_the_container_until_it_goes(node):
    async def body(node):
        script = "i=0; while i=$((i+1)); do echo $i > /tmp/n; head -c 100000 /dev/zero | tr '\\0' x; echo; done"
        await node.runtime.start(node.spec("c", "sh", "-c", script))
        session = await node.runtime.attach("c", stdin=False, stdout=True, stderr=True)

        async def count():
            return int((await node.runtime.exec("c", ("cat", "/tmp/n"))).stdout or b"0")

        counts = [-1, 0]
        while counts[-1] != counts[-2]:
            await asyncio.sleep(0.3)
            counts.append(await count())
        session.close()
        while await count() <= counts[-1]:
            await asyncio.sleep(0.05)

    node(body)


def test_a_second_container_sees_the_processes_of_its_target(node):
    async def body(node):
        await node.runtime.start(node.spec("c", "sleep", "4242"))
        state, log = await node.run("d", "ps", "-o", "pid,args", pid_target="c")
        assert (state.exit_code, "1 sleep 4242" in log) == (0, True), log
        state = await node.runtime.start(node.spec("e", "true", pid_target="d"))
        assert (state.status, "is not running" in state.message) == ("failed", True), state

    node(body)


def test_sockets_are_in_the_pod_and_we_stay_outside(node):
    async def body(node):
        await node.network.setup_node()
        await node.runtime.create_sandbox("s", "pod")
        await node.runtime.start(node.spec("c", "httpd", "-f", "-p", "127.0.0.1:9000", sandbox="s"))
        outside = os.stat("/proc/self/ns/net").st_ino
        async with asyncio.timeout(60):
            while True:
                sock = await node.runtime.pod_socket("s", socket.AF_INET)
                try:
                    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", 9000))
                    break
                except ConnectionRefusedError:
                    sock.close()
                    await asyncio.sleep(0.01)
        await asyncio.get_running_loop().sock_sendall(sock, b"GET /none HTTP/1.0\r\n\r\n")
        assert (await asyncio.get_running_loop().sock_recv(sock, 100)).startswith(b"HTTP/1.1 404 ")
        sock.close()
        assert os.stat("/proc/self/ns/net").st_ino == outside
        with pytest.raises(OSError, match="No such file"):
            await node.runtime.pod_socket("none", socket.AF_INET)

    node(body)
