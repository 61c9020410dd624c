"""The same containers by every runtime that this machine has: built-in, crun, runc."""

import asyncio
import json
import os
import shutil
import signal

import pytest

from fairway.engine.kubelet.runtime import cgroups, privileges, seccomp
from fairway.engine.kubelet.runtime.client import Runtime
from fairway.engine.kubelet.runtime.model import Mount
from fairway.engine.kubelet.runtime.probing import BUILT_IN, candidates, works

pytestmark = pytest.mark.real
RUNTIMES = candidates("auto")
every = pytest.mark.parametrize("runtime", RUNTIMES, ids=[os.path.basename(each) or BUILT_IN for each in RUNTIMES])


async def logged(node, id, *texts):
    """Wait until one of the texts is in a container's log."""
    while not any(text in node.log(id) for text in texts):
        await asyncio.sleep(0.01)


def use(node, runtime):
    node.runtime = Runtime(node.run_dir, node.socket, oci_runtime=runtime)


@every
def test_it_passes_the_probe(node, runtime):
    async def body(node):
        use(node, runtime)
        assert await works(node.runtime, node.folder / "probe")
        assert await node.runtime.list() == ()
        assert not (node.folder / "probe").exists()

    node(body)


@every
def test_ends(node, runtime):
    async def body(node):
        use(node, runtime)
        state, log = await node.run("c", "sh", "-c", "echo out; echo err >&2; exit 42")
        assert (state.exit_code, state.reason, state.signal) == (42, "Error", None), state
        assert sorted(log.splitlines()) == ["err", "out"]
        state, _ = await node.run("k", "sh", "-c", "kill -9 $$; sleep 0.2; exit 3")
        assert state.exit_code == 3, "process 1 cannot kill itself"
        trap = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done"
        await node.runtime.start(node.spec("t", "sh", "-c", trap))
        await logged(node, "t", "ready")
        await node.runtime.signal("t", signal.SIGTERM)
        assert (await node.ended("t")).exit_code == 7
        state = await node.runtime.start(node.spec("n", "nothing"))
        assert (state.status, state.exit_code, state.reason) == ("failed", 128, "StartError")
        assert "executable file" in state.message and "nothing" in state.message, state
        for name in ("c", "k", "t", "n"):
            await node.runtime.remove(name)
        assert await node.runtime.list() == ()
        left = [path for path in (node.run_dir / "oci").rglob("*") if not path.is_dir()]
        assert not left

    node(body)


@pytest.mark.users
@every
def test_confinement(node, runtime):
    async def body(node):
        use(node, runtime)
        script = (
            "cat /proc/self/status; id; mount; pwd; hostname; ls /proc/1/fd; cat /proc/self/cgroup; ls -A /sys/firmware"
        )
        changes = {"uid": 1000, "groups": (3000,), "cwd": "/made/here", "hostname": "inside"}
        _, log = await node.run("c", "sh", "-c", script, **changes)
        assert "CapBnd:\t00000000a00425fb" in log and "CapEff:\t0000000000000000" in log
        assert "NoNewPrivs:\t1" in log and "Seccomp:\t2" in log
        assert "uid=1000(user) gid=1001(user) groups=1001(user),2002(extra),3000" in log
        assert "/made/here\n" in log and "\ninside\n" in log
        assert str(node.folder) not in log
        denied = ("mount -t tmpfs t /tmp", "unshare -m true", "unshare -U true", "mknod /tmp/d b 254 0", "dmesg")
        denied += ("echo 1 > /proc/sys/kernel/panic", "head -c1 /proc/kcore | grep .", "touch /sys/x", "cat /dev/vda")
        await node.runtime.start(node.spec("d", "sleep", "1000"))
        for command in denied:
            assert (await node.runtime.exec("d", ("sh", "-c", command))).exit_code != 0, command
            state, _ = await node.run(f"x{denied.index(command)}", "sh", "-c", command)
            assert state.exit_code != 0, command

    node(body)


@every
def test_volumes_and_read_only_root(node, runtime):
    async def body(node):
        use(node, runtime)
        (node.folder / "v" / "sub").mkdir(parents=True)
        (node.folder / "v" / "f").write_text("one\n")
        mounts = (
            Mount(str(node.folder / "v"), "/data", read_only=True),
            Mount(str(node.folder / "v" / "sub"), "/data/sub"),
            Mount("", "/cache", kind="tmpfs", size_bytes=1 << 20),
        )
        script = """
            cat /data/f; touch /data/x || echo refused; touch /data/sub/x && echo written
            touch /x || echo root; head -c 2000000 /dev/zero > /cache/x || echo full
            touch /dev/shm/x && echo shm; mknod /data/sub/d b 254 0; cat /data/sub/d || echo no device
        """
        changes = {"mounts": mounts, "read_only_root": True, "capabilities_add": ("MKNOD",)}
        _, log = await node.run("c", "sh", "-c", f"{{ {script} }} 2>/dev/null", **changes)
        assert log.split("\n")[:-1] == ["one", "refused", "written", "root", "full", "shm", "no device"], log

    node(body)


@every
def test_sandbox_exec_and_terminal(node, runtime):
    async def body(node):
        use(node, runtime)
        await node.runtime.create_sandbox("s", "pod", share_processes=True)
        script = "touch /dev/shm/x; echo touched; exec sleep 1000"
        await node.runtime.start(node.spec("a", "sh", "-c", script, sandbox="s"))
        await logged(node, "a", "touched")
        await node.runtime.start(node.spec("b", "sh", "-c", "tty; exec sleep 2000", sandbox="s", tty=True, stdin=True))
        result = await node.runtime.exec("b", ("sh", "-c", "ls /dev/shm; ps; hostname; exit 5"), env={"A": "1"})
        assert result.exit_code == 5 and b"sleep 1000" in result.stdout and b"pod" in result.stdout, result
        assert b"x" in result.stdout.split()
        await logged(node, "b", "/dev/pts/0", "/dev/console")
        await node.runtime.remove_sandbox("s")
        assert (await node.ended("b")).exit_code == 137

    node(body)


@every
def test_limits_and_children(node, runtime):
    async def body(node):
        use(node, runtime)
        layout = cgroups.Layout()
        pod = f"fairway-test-{os.getpid()}-{node.folder.name}"
        changes = {"cgroup": f"{pod}/m", "memory_limit_bytes": 24 << 20, "pids_limit": 20}
        if "memory" in layout.enforced:  # without a limit the program would read for ever
            state, _ = await node.run("m", "sh", "-c", "tail -c 300m /dev/zero", **changes)
            assert (state.exit_code, state.reason) == (137, "OOMKilled")
        _, log = await node.run("p", "sh", "-c", "for i in $(seq 40); do sleep 9 & done; echo all", **changes)
        if "pids" in layout.enforced:
            assert "all" not in log
        for name in ("m", "p"):
            await node.runtime.remove(name)
        left = [path for root in os.listdir("/sys/fs/cgroup") if os.path.exists(path := f"/sys/fs/cgroup/{root}/{pod}")]
        assert not left

    node(body)


@every
def test_engine_restart_and_killed_shim(node, runtime):
    async def body(node):
        use(node, runtime)
        await node.runtime.start(node.spec("c", "sleep", "1000"))
        node.zygote.kill()
        node.zygote.wait()
        node.zygote = node.start_zygote()
        use(node, runtime)
        assert [state.status for state in await node.runtime.list()] == ["running"]
        assert (await node.runtime.exec("c", ("true",))).exit_code == 0
        shim = json.loads((node.run_dir / "containers" / "c.json").read_text())["shim_pid"]
        os.kill(shim, signal.SIGKILL)
        state = await node.ended("c")
        assert (state.exit_code, state.reason) == (137, "ContainerStatusUnknown")
        await node.runtime.remove("c")

    node(body)


def test_the_filter_in_oci_words() -> None:
    names = {name for rule in seccomp.profile(privileges.DEFAULT)["syscalls"] for name in rule["names"]}
    assert {"mount", "clone3", "bpf", "kexec_load", "setns", "clone"} <= names
    opened = {name for rule in seccomp.profile(frozenset({"SYS_ADMIN"}))["syscalls"] for name in rule["names"]}
    assert "mount" not in opened and "bpf" not in opened and "kexec_load" in opened


def test_candidates() -> None:
    assert candidates("native") == ("",)
    assert candidates("auto")[0] == ""
    assert candidates("auto")[1:] == candidates("crun") + candidates("runc")
    assert candidates("crun") == ((shutil.which("crun"),) if shutil.which("crun") else ())
