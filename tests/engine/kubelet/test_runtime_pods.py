"""What the containers of one pod share: processes, network, limits; and what a node's owner may allow them."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from fairway.engine.kubelet.runtime import cgroups, privileges, rootfs
from fairway.engine.kubelet.runtime.errors import ExecFailed, RuntimeRefused
from fairway.engine.kubelet.runtime.seccomp_profiles import BadProfile, applied, compile_profile

PROFILE = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [
        {"names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13},
        {"names": ["chmod", "fchmodat"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_CHOWN"]}},
        {
            "names": ["socket"],
            "action": "SCMP_ACT_ERRNO",
            "args": [{"index": 0, "value": 10, "op": "SCMP_CMP_EQ"}],
        },
    ],
}


@pytest.mark.real
def test_containers_share_processes_and_bury_their_dead(node):
    async def body(node):
        await node.runtime.create_sandbox("s", "pod", share_processes=True)
        orphans = "for i in 1 2 3; do (sleep 0.01 &) ; done; exec sleep 1000"
        await node.runtime.start(node.spec("a", "sh", "-c", orphans, sandbox="s"))
        await node.runtime.start(node.spec("b", "sleep", "2000", sandbox="s"))
        table = "sleep 0.01"
        while "sleep 0.01" in table or " Z" in table:  # they end, and process 1 buries them
            table = (await node.runtime.exec("b", ("ps", "-o", "pid,stat,comm,args"))).stdout.decode()
            await asyncio.sleep(0.01)
        assert "sleep 1000" in table and "sleep 2000" in table
        assert [line.split()[2] for line in table.splitlines() if line.split()[0] == "1"] == ["pause"]
        assert (await node.runtime.exec("b", ("cat", "/proc/1/cmdline"))).stdout.strip(b"\0") == b"pause"
        for command in ("cat /proc/1/environ | grep .", "readlink /proc/1/fd/*", "readlink /proc/1/cwd"):
            denied = await node.runtime.exec("b", ("sh", "-c", command))
            assert (denied.stdout, denied.exit_code) == (b"", 1), command
        looked = await node.runtime.exec("b", ("sh", "-c", "ls /proc/1/root/ | wc -l"))
        assert looked.stdout.strip() == b"0"
        await node.runtime.signal("a", signal.SIGKILL)
        assert (await node.ended("a")).exit_code == 137
        again = await node.runtime.start(node.spec("a2", "sleep", "3000", sandbox="s"))
        assert again.status == "running"
        assert [each.id for each in await node.runtime.list_sandboxes()] == ["s"]
        await node.runtime.remove_sandbox("s")
        assert (await node.ended("b")).exit_code == 137
        assert not list((node.run_dir / "sandboxes").glob("*"))

    node(body)


@pytest.mark.real
def test_a_container_takes_its_children_along_when_processes_are_shared(node):
    async def body(node):
        if not cgroups.Layout().enforced:
            return  # without a control group nobody knows whose children they are
        group = f"fairway-test-{os.getpid()}-{node.folder.name}"
        await node.runtime.create_sandbox("s", "pod", share_processes=True)
        script = "setsid sleep 1111 </dev/null >/dev/null 2>&1 & sleep 0.1"
        await node.runtime.start(node.spec("b", "sleep", "2000", sandbox="s", cgroup=f"{group}/b"))
        await node.run("a", "sh", "-c", script, sandbox="s", cgroup=f"{group}/a")
        table = (await node.runtime.exec("b", ("ps",))).stdout
        assert b"sleep 1111" not in table and b"sleep 2000" in table
        await node.runtime.remove("b")

    node(body)


@pytest.mark.real
def test_the_nodes_network(node):
    async def body(node):
        await node.network.setup_node()
        await node.runtime.create_sandbox("h", "fairway", host_network=True)
        await node.runtime.create_sandbox("p", "pod")
        inside = os.stat("/proc/self/ns/net").st_ino
        for name, same in (("h", True), ("p", False)):
            _, log = await node.run(name, "sh", "-c", "readlink /proc/self/ns/net; ip -o link; hostname", sandbox=name)
            assert (f"net:[{inside}]" in log) is same
            assert ("node0" in log) is same
        _, log = await node.run("i", "readlink", "/proc/self/ns/ipc", sandbox="h")
        assert os.readlink("/proc/self/ns/ipc") not in log
        await node.runtime.remove_sandbox("h")
        assert os.path.exists("/sys/class/net/lo")

    node(body)


@pytest.mark.real
def test_limits_of_a_pod_hold_for_its_containers_together(node):
    async def body(node):
        layout = cgroups.Layout()
        pod = f"fairway-test-{os.getpid()}-{node.folder.name}"
        shared = (24 << 20, None, 204, 12)
        spec = node.spec("a", "sleep", "1000", cgroup=f"{pod}/a", pod_limits=shared, oom_score_adj=321)
        await node.runtime.start(spec)
        assert (await node.runtime.exec("a", ("cat", "/proc/self/oom_score_adj"))).stdout in (b"321\n", b"0\n")
        if "pids" in layout.enforced:
            fork = "for i in $(seq 30); do sleep 100 & done; echo all"
            state, log = await node.run("f", "sh", "-c", fork, cgroup=f"{pod}/f", pod_limits=shared)
            assert "all" not in log and state.exit_code != 0
        if "memory" in layout.enforced:
            state, _ = await node.run("m", "tail", "-c", "200m", "/dev/zero", cgroup=f"{pod}/m", pod_limits=shared)
            assert state.exit_code == 137
        await node.runtime.remove("a")
        for name in ("f", "m"):
            await node.runtime.remove(name)
        assert not [folder for folder in layout.folders(pod) if os.path.exists(folder)]

    node(body)


def test_limits_of_a_pod_on_cgroup_v2(tmp_path: Path) -> None:
    """The same on the other kind of control groups: which files get which numbers."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids")
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory pids")  # as the kernel writes it
    names = ("memory.max", "memory.swap.max", "memory.oom.group", "cpu.max", "cpu.weight", "pids.max")
    for folder in ("pod1", "pod1/c"):
        (tmp_path / folder).mkdir()
        for name in ("cgroup.controllers", "cgroup.subtree_control"):
            (tmp_path / folder / name).write_text("cpu memory pids")
        for name in names:
            (tmp_path / folder / name).touch()
    layout = cgroups.Layout(str(tmp_path))
    assert layout.unified and layout.enforced == ("memory", "cpu", "pids")
    own = cgroups.Limits(1 << 20, 50_000, 1024, None)
    cgroups.Group(layout, "pod1/c").create(own, cgroups.Limits(2 << 20, None, 2048, 100))

    def read(folder: str) -> list[str]:
        return [(tmp_path / folder / name).read_text() for name in names]

    assert read("pod1/c") == [str(1 << 20), "0", "1", "50000 100000", "39", ""]
    assert read("pod1") == [str(2 << 20), "0", "", "", "79", "100"]


@pytest.mark.real
def test_a_profile_of_the_owner(node):
    async def body(node):
        program = compile_profile(json.dumps(PROFILE), privileges.DEFAULT)
        text = applied(json.dumps(PROFILE), privileges.DEFAULT)
        changes = {"seccomp": "custom", "seccomp_program": program, "seccomp_profile": text}
        script = "mkdir /x || echo refused; touch /y && chmod 700 /y && echo changed; grep Seccomp: /proc/self/status"
        _, log = await node.run("c", "sh", "-c", script, **changes)
        assert "Permission denied" in log and "refused" in log and "changed" in log and "Seccomp:\t2" in log
        program = compile_profile(json.dumps(PROFILE), frozenset())
        text = applied(json.dumps(PROFILE), frozenset())
        changes = {"seccomp": "custom", "seccomp_program": program, "seccomp_profile": text}
        _, log = await node.run("d", "sh", "-c", script, **changes)
        assert "changed" not in log

    node(body)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not a seccomp profile"),
        ("{}", "is not a seccomp profile"),
        ('{"defaultAction": "SCMP_ACT_DREAM"}', "asks for the action SCMP_ACT_DREAM"),
    ],
)
def test_a_broken_profile(text: str, words: str) -> None:
    with pytest.raises(BadProfile, match=words):
        compile_profile(text, frozenset())


@pytest.mark.real
def test_a_privileged_container_may_do_what_the_node_may(node):
    async def body(node):
        changes = {"privileged": True, "capabilities_add": ("ALL",), "no_new_privileges": False}
        spec = node.spec("c", "sleep", "1000", seccomp="unconfined", **changes)
        state = await node.runtime.start(spec)
        assert state.status == "running", state
        commands = ["mount -t tmpfs t /tmp", "unshare -m true", "ls /dev/null"]
        if not rootfs.in_user_namespace():  # there the node itself may not
            commands.append("touch /proc/sys/kernel/hostname")
        for command in commands:
            result = await node.runtime.exec("c", ("sh", "-c", command))
            assert result.exit_code == 0, (command, result.stderr)
        with pytest.raises(ExecFailed):
            await node.runtime.exec("c", ("no-such-program",))

    node(body)


@pytest.mark.real
def test_settings_of_the_kernel_are_the_pods_own(node):
    async def body(node):
        asked = (("net.ipv4.tcp_fin_timeout", "17"), ("net.ipv4.ip_unprivileged_port_start", "1000"))
        asked += (("kernel.shm_rmid_forced", "1"),)
        await node.runtime.create_sandbox("s", "pod", sysctls=asked)
        await node.runtime.create_sandbox("t", "other")
        for sandbox in ("s", "t"):
            await node.runtime.start(node.spec(f"in-{sandbox}", "sleep", "1000", sandbox=sandbox))
        paths = tuple("/proc/sys/" + name.replace(".", "/") for name, _ in asked)
        assert (await node.runtime.exec("in-s", ("cat", *paths))).stdout == b"17\n1000\n1\n"
        assert (await node.runtime.exec("in-t", ("cat", *paths))).stdout == b"60\n0\n0\n"
        with pytest.raises(RuntimeRefused, match=r"cannot set sysctl net.ipv4.tcp_fin_timeout to 'soon'"):
            await node.runtime.create_sandbox("u", "pod", sysctls=(("net.ipv4.tcp_fin_timeout", "soon"),))

    node(body)
