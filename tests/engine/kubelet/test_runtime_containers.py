"""Containers are started, end, are signalled, executed into and told about: with real processes."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fairway.engine.kubelet.runtime import cgroups
from fairway.engine.kubelet.runtime.errors import ContainerExists, ContainerUnknown, ExecFailed, ExecTimedOut
from fairway.engine.kubelet.runtime.model import Mount

pytestmark = pytest.mark.real


def shim_of(node, id):
    return json.loads((node.run_dir / "containers" / f"{id}.json").read_text())["shim_pid"]


async def until_logged(node, id, text):
    async with asyncio.timeout(60):
        while text not in node.log(id):
            await asyncio.sleep(0.01)


def processes(name):
    """What runs by files of /proc, as text; processes may end while they are looked at."""
    found = []
    for path in Path("/proc").glob(f"[0-9]*/{name}"):
        with contextlib.suppress(OSError):
            found.append(path.read_text())
    return found


def test_exit_codes(node):
    async def body(node):
        state, _ = await node.run("c", "sh", "-c", "exit 42")
        assert (state.status, state.exit_code, state.reason, state.signal) == ("exited", 42, "Error", None), state
        assert state.started_at < state.finished_at
        state, log = await node.run("d", "echo", "hello")
        assert (state.exit_code, state.reason, log) == (0, "Completed", "hello\n")

    node(body)


@pytest.mark.parametrize(
    ("args", "message", "of_crun"),
    [
        (
            ("nothing",),
            'exec: "nothing": executable file not found in $PATH',
            "executable file `nothing` not found in $PATH: No such file or directory",
        ),
        (
            ("/nothing",),
            'exec: "/nothing": stat /nothing: no such file or directory',
            "executable file `/nothing` not found in $PATH: No such file or directory",
        ),
        (("/etc/passwd",), 'exec: "/etc/passwd": permission denied', "open executable: Permission denied"),
        (("/etc",), 'exec: "/etc": (is a directory|permission denied)', "open executable: Operation not permitted"),
    ],
)
def test_program_that_cannot_run_fails_the_start(node, args, message, of_crun):
    """Each runtime has its own words; ours are those of containerd with a newer runc."""

    async def body(node):
        state = await node.runtime.start(node.spec("c", *args))
        assert (state.status, state.exit_code, state.reason) == ("failed", 128, "StartError")
        crun = node.oci_name == "crun"
        words = re.escape(of_crun) if crun else "unable to start container process: " + message.replace("$", r"\$")
        assert re.search(f"OCI runtime create failed: (runc create failed: )?{words}: unknown$", state.message)
        assert await node.runtime.list() == (state,)

    node(body)


def test_missing_volume_source_fails_the_start(node):
    async def body(node):
        state = await node.runtime.start(node.spec("c", "true", mounts=(Mount("/no/such", "/data"),)))
        assert state.status == "failed"
        assert 'error mounting "/no/such" to rootfs at "/data": no such file or directory' in state.message

    node(body)


def test_term_is_trapped_or_ignored_until_kill(node):
    async def body(node):
        trap = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"
        await node.runtime.start(node.spec("polite", "sh", "-c", trap))
        await until_logged(node, "polite", "ready")
        await node.runtime.signal("polite", signal.SIGTERM)
        assert (await node.ended("polite")).exit_code == 7

        await node.runtime.start(node.spec("deaf", "sleep", "1000"))
        await node.runtime.signal("deaf", signal.SIGTERM)  # process 1 without a handler: nothing happens
        await asyncio.sleep(0.1)
        assert (await node.runtime.list())[0].status == "running"
        await node.runtime.signal("deaf", signal.SIGKILL)
        state = await node.ended("deaf")
        assert (state.exit_code, state.signal, state.reason) == (137, 9, "Error")
        await node.runtime.signal("deaf", signal.SIGTERM)
        with pytest.raises(ContainerUnknown):
            await node.runtime.signal("nobody", signal.SIGTERM)

    node(body)


def test_children_of_the_container_end_with_it(node):
    async def body(node):
        state, _ = await node.run("c", "sh", "-c", "(sleep 1000 &) ; (sleep 1000 &) ; exit 3")
        assert state.exit_code == 3
        assert not [each for each in processes("cmdline") if each.startswith("sleep\x001000")]

    node(body)


def test_remove_kills_and_leaves_nothing(node):
    async def body(node):
        await node.runtime.start(node.spec("c", "sleep", "1000"))
        with pytest.raises(ContainerExists):
            await node.runtime.start(node.spec("c", "true"))
        await node.runtime.remove("c")
        await node.runtime.remove("c")
        assert await node.runtime.list() == ()
        assert [path.name for path in (node.folder / "c").iterdir()] == ["0.log"]
        again = await node.runtime.start(node.spec("c", "true"))
        assert again.status == "running"

    node(body)


@pytest.mark.users
def test_exec(node):
    async def body(node):
        await node.runtime.start(node.spec("c", "sleep", "1000", uid=1000, env=(("PATH", "/bin"), ("A", "1"))))
        result = await node.runtime.exec("c", ("sh", "-c", "id; echo $A$B; echo bad >&2; exit 5"), env={"B": "2"})
        assert result.exit_code == 5
        assert result.stdout == b"uid=1000(user) gid=1001(user) groups=1001(user),2002(extra)\n12\n"
        assert result.stderr == b"bad\n"
        result = await node.runtime.exec("c", ("sh", "-c", "cat /proc/self/status; ps"))
        assert b"NoNewPrivs:\t1" in result.stdout and b"Seccomp:\t2" in result.stdout
        assert b"CapEff:\t0000000000000000" in result.stdout
        assert b"sleep 1000" in result.stdout
        assert (await node.runtime.exec("c", ("sh", "-c", "kill -9 $$"))).exit_code == 137
        with pytest.raises(ExecFailed, match=r'exec: "foo": executable file not found in \$PATH'):
            await node.runtime.exec("c", ("foo",))
        big = await node.runtime.exec("c", ("sh", "-c", "head -c 6000000 /dev/zero"))
        assert len(big.stdout) == 4 * 1024 * 1024
        await node.runtime.signal("c", signal.SIGKILL)
        await node.ended("c")
        with pytest.raises(ExecFailed, match="container c is not running"):
            await node.runtime.exec("c", ("true",))

    node(body)


def test_exec_that_takes_too_long_is_killed_with_its_children(node):
    async def body(node):
        await node.runtime.start(node.spec("c", "sleep", "1000"))
        command = "(setsid sleep 2000 &); sleep 2001 & sleep 2002"
        with pytest.raises(ExecTimedOut, match=r"timed out after 0\.3s"):
            await node.runtime.exec("c", ("sh", "-c", command), timeout_seconds=0.3)
        left = b"2001"
        while b"2001" in left or b"2002" in left:  # they have been killed, and die in their own time
            left = (await node.runtime.exec("c", ("ps",))).stdout
        assert b"1000" in left

    node(body)


def test_engine_and_zygote_killed_and_started_again(node):
    async def body(node):
        echo = "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.01; done"
        await node.runtime.start(node.spec("c", "sh", "-c", echo))
        await node.runtime.create_sandbox("s", "pod")
        await until_logged(node, "c", "line 3")
        node.zygote.kill()
        node.zygote.wait()
        node.zygote = node.start_zygote()
        node.runtime = type(node.runtime)(node.run_dir, node.socket)  # as a new engine would
        states = await node.runtime.list()
        assert [(state.id, state.status) for state in states] == [("c", "running")]
        assert [each.id for each in await node.runtime.list_sandboxes()] == ["s"]
        await until_logged(node, "c", "line 20")
        assert (await node.runtime.exec("c", ("true",))).exit_code == 0
        await node.runtime.signal("c", signal.SIGKILL)
        assert (await node.ended("c")).exit_code == 137
        node.zygote.terminate()
        assert node.zygote.wait() == 0
        assert not node.socket.exists()

    node(body)


def test_killed_shim_takes_its_container_along(node):
    async def body(node):
        state = await node.runtime.start(node.spec("c", "sleep", "1000"))
        container = os.pidfd_open(state.pid)
        os.kill(shim_of(node, "c"), signal.SIGKILL)
        state = await node.ended("c")
        assert (state.exit_code, state.reason) == (137, "ContainerStatusUnknown")
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(container, ended.set)
        await asyncio.wait_for(ended.wait(), 60)
        await node.runtime.remove("c")

    node(body)


def test_hundred_containers_at_once(node):
    async def body(node):
        names = [f"c{number}" for number in range(100)]
        states = await asyncio.gather(*(node.runtime.start(node.spec(name, "sleep", "1000")) for name in names))
        assert {state.status for state in states} == {"running"}
        await asyncio.gather(*(node.runtime.remove(name) for name in names))
        assert await node.runtime.list() == ()

    node(body)


def test_limits(node):
    """Where the machine lets us: memory, processes and processor time; the group is gone afterwards."""

    async def body(node):
        layout = cgroups.Layout()
        assert set(node.runtime.limits_enforced) == set(layout.enforced)
        group = f"fairway-test-{os.getpid()}-{node.folder.name}/c"
        limits = {"memory_limit_bytes": 16 << 20, "pids_limit": 20, "cpu_quota_us": 50_000, "cpu_shares": 102}
        if "memory" in layout.enforced:  # without a limit the program would read for ever
            state, _ = await node.run("c", "sh", "-c", "tail -c 200m /dev/zero", cgroup=group, **limits)
            assert (state.exit_code, state.reason) == (137, "OOMKilled")
        await node.runtime.remove("c")
        fork = "for i in $(seq 40); do sleep 1000 & done; echo all"
        await node.runtime.start(node.spec("f", "sh", "-c", fork, cgroup=group, **limits))
        state = await node.ended("f")
        if "pids" in layout.enforced:
            assert state.exit_code != 0
        assert not [folder for folder in layout.folders(group.split("/")[0]) if os.path.exists(folder)]

    node(body)


def test_a_container_sees_its_own_limits_and_cannot_change_them(node):
    async def body(node):
        group = f"fairway-test-{os.getpid()}-{node.folder.name}/c"
        script = """
            cd /sys/fs/cgroup && cat memory.max pids.max cpu.max
            cat /proc/self/cgroup
            echo max > pids.max || mkdir below || echo 0 > cgroup.procs || echo kept
        """
        limits = {"memory_limit_bytes": 64 << 20, "pids_limit": 20, "cpu_quota_us": 50_000}
        _, log = await node.run("c", "sh", "-c", script, cgroup=group, **limits)
        assert "kept" in log
        assert group not in log
        layout = cgroups.Layout()
        if layout.unified and layout.enforced == cgroups.CONTROLLERS:
            assert f"{64 << 20}\n20\n50000 100000\n0::/\n" in log

    node(body)


def test_remove_while_it_is_being_started(node):
    async def body(node):
        for number in range(10):
            starting = asyncio.create_task(node.runtime.start(node.spec(f"c{number}", "sleep", "1000")))
            await asyncio.sleep(number / 1000)
            starting.cancel()
            with pytest.raises(ExecFailed):  # asked later and answered: the zygote has begun with what came before
                await node.runtime.exec("nobody", ("true",))
            while len(processes("stat")) > 2:  # this one and the zygote
                await node.runtime.remove(f"c{number}")
                await asyncio.sleep(0.01)
        assert await node.runtime.list() == ()
        assert "sleep\n" not in processes("comm")

    node(body)


def test_zygote_imports_nothing_heavy():
    code = "import sys; sys.path.append(sys.argv[1]); import fairway.engine.kubelet.runtime.zygote; print(*sys.modules)"
    source = Path(cgroups.__file__).parents[4]
    loaded = subprocess.check_output([sys.executable, "-I", "-S", "-c", code, str(source)], text=True).split()
    heavy = {"asyncio", "msgspec", "logging", "subprocess", "argparse", "shutil", "threading", "pathlib"}
    assert heavy & set(loaded) == set()
