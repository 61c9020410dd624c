"""What a container sees and may do: nothing of the node, nothing of other pods, no import of ours."""

import json
import os
import sys

import pytest

from fairway.engine.kubelet.runtime import rootfs
from fairway.engine.kubelet.runtime.errors import ExecFailed
from fairway.engine.kubelet.runtime.model import Mount

pytestmark = pytest.mark.real


def test_privileges_of_root(node):
    async def body(node):
        _, log = await node.run("c", "cat", "/proc/self/status")
        status = dict(line.split(":\t", 1) for line in log.splitlines())
        assert status["CapEff"] == status["CapPrm"] == status["CapBnd"] == "00000000a00425fb"
        assert status["CapInh"] == status["CapAmb"] == "0000000000000000"
        assert (status["NoNewPrivs"], status["Seccomp"], status["Pid"]) == ("1", "2", "1")
        assert status["SigIgn"] == status["SigBlk"] == status["SigCgt"] == "0000000000000000"

    node(body)


@pytest.mark.users
def test_user_group_and_chosen_capabilities(node):
    async def body(node):
        script = "id; grep Cap /proc/self/status; grep NoNew /proc/self/status; echo $HOME; echo > /dev/stdout"
        changes = {"uid": 1000, "groups": (3000,), "capabilities_drop": ("ALL",), "no_new_privileges": False}
        _, log = await node.run("c", "sh", "-c", script, **changes)
        assert "uid=1000(user) gid=1001(user) groups=1001(user),2002(extra),3000" in log
        assert "CapBnd:\t0000000000000000" in log
        assert "NoNewPrivs:\t0" in log
        assert "/home" in log
        changes = {"capabilities_drop": ("ALL",), "capabilities_add": ("NET_ADMIN",), "uid": 0, "gid": 5}
        _, log = await node.run("d", "sh", "-c", script, **changes)
        assert "CapEff:\t0000000000001000" in log
        assert "gid=5" in log
        state = await node.runtime.start(node.spec("e", "true", capabilities_add=("FLY",)))
        assert (state.status, state.message) == ("failed", "unknown capability 'FLY'")

    node(body)


def test_nothing_of_the_node_is_visible(node):
    async def body(node):
        secret = node.folder / "secret"
        secret.write_text("of the node")
        script = f"""
            echo processes $(ls /proc | grep -c '^[0-9]')
            cat {secret}
            cat /proc/mounts
            ls /proc/self/fd
            env
            ls /dev
            hostname
            cat /proc/self/cgroup
        """
        _, log = await node.run("c", "sh", "-c", script, hostname="inside")
        assert "of the node" not in log
        assert str(node.folder) not in log.replace(f"can't open '{secret}'", ""), log
        assert "processes 4" in log or "processes 3" in log or "processes 2" in log, log
        assert "\ninside\n" in log
        mounts = [line.split()[:3] for line in log.splitlines() if line.startswith(("overlay ", "/dev/vd", "/dev/sd"))]
        assert all(target == "/" or target.startswith("/dev/") for _, target, _ in mounts), mounts
        assert "SHELL=" not in log and "HOME=/root" in log

    node(body)


FORBIDDEN = (
    "mount -t tmpfs t /tmp",
    "umount /proc/sys",
    "unshare -m true",
    "unshare -U true",
    "nsenter -t 1 -m true",
    "mknod /tmp/disk b 254 0",
    "hostname other",
    "insmod /etc/passwd",
    "echo 1 > /proc/sys/kernel/panic",
    "echo h > /proc/sysrq-trigger",
    "echo 1 > /sys/kernel/uevent_seqnum",
    "touch /sys/x",
    "dmesg",
    "swapoff -a; swapon /etc/passwd",
    "head -c 1 /proc/kcore | grep -q .",
    "head -c 1 /proc/keys | grep -q .",
    "ls /sys/firmware | grep -q .",
    "pivot_root . .",
    "reboot -f",
    "ip link add dummy0 type dummy",
    "cat /dev/vda",
    "cat /dev/mem",
)


def test_forbidden_things_fail(node):
    async def body(node):
        await node.runtime.start(node.spec("c", "sleep", "1000"))
        for command in FORBIDDEN:
            result = await node.runtime.exec("c", ("sh", "-c", command), timeout_seconds=60)
            assert result.exit_code != 0, command
        await node.runtime.start(node.spec("free", "sleep", "1000", seccomp="unconfined"))
        for command in ("mount -t tmpfs t /tmp", "mknod /tmp/disk b 254 0", "unshare -m true"):
            result = await node.runtime.exec("free", ("sh", "-c", command), timeout_seconds=60)
            assert result.exit_code != 0, command

    node(body)


def test_device_files_do_not_work_even_with_mknod(node):
    async def body(node):
        (node.folder / "volume").mkdir()
        mounts = (Mount(str(node.folder / "volume"), "/data"),)
        script = "for d in / /dev/ /data/; do mknod ${d}disk b 254 0; head -c 1 ${d}disk && echo read it; done; true"
        _, log = await node.run("c", "sh", "-c", script, capabilities_add=("MKNOD",), mounts=mounts)
        assert "read it" not in log
        made = 0 if rootfs.in_user_namespace() else 3  # there not even the file can be made
        assert log.count("Permission denied") == made, log

    node(body)


def test_no_python_of_the_image_is_imported(node):
    async def body(node):
        layer = node.folder / "evil"
        code = "import os; os.system('id > /stolen'); open('/stolen', 'w').write('stolen')"
        folders = ["", "usr/lib/python3.11", "usr/lib/python3/dist-packages", "root", "fairway"]
        folders += [path.lstrip("/") for path in sys.path if path] + [f"{sys.prefix}/lib/python3.11".lstrip("/")]
        modules = (
            "warnings",
            "encodings/__init__",
            "traceback",
            "linecache",
            "signal",
            "codecs",
            "sitecustomize",
            "re",
        )
        for folder in folders:
            for module in modules:
                path = layer / folder / f"{module}.py"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(code)
        spec = node.spec("c", "sh", "-c", "ls /; sleep 1000", rootfs_layers=(str(layer), str(node.image)), cwd="/")
        assert (await node.runtime.start(spec)).status == "running"
        assert (await node.runtime.exec("c", ("true",))).exit_code == 0
        with pytest.raises(ExecFailed, match="executable file not found"):
            await node.runtime.exec("c", ("no-such-program",))
        assert not list((node.folder / "c" / "upper").rglob("stolen"))
        assert not list((node.folder / "c" / "upper").rglob("*.pyc"))

    node(body)


def test_hostile_links_of_the_image_lead_nowhere(node):
    async def body(node):
        victim = node.folder / "victim"
        victim.mkdir()
        (victim / "file").write_text("unharmed")
        (node.folder / "volume").mkdir()
        layer = node.folder / "links"
        layer.mkdir()
        (layer / "data").symlink_to("/../../../../../../../.." + str(victim))
        (layer / "file").symlink_to(str(victim / "file"))
        (node.folder / "new").write_text("replaced")
        mounts = (Mount(str(node.folder / "volume"), "/data"), Mount(str(node.folder / "new"), "/file", read_only=True))
        changes = {"rootfs_layers": (str(layer), str(node.image)), "mounts": mounts}
        state, log = await node.run("c", "sh", "-c", "cat /file; echo x > /data/x", **changes)
        if node.oci_name == "crun":  # makes no mount point behind a dangling link
            assert (state.status, state.reason) == ("failed", "StartError")
        else:
            assert state.exit_code == 0 and log == "replaced\n", log
            assert (node.folder / "volume" / "x").exists()
        assert sorted(path.name for path in victim.iterdir()) == ["file"]
        assert (victim / "file").read_text() == "unharmed"
        for name in ("proc", "dev", "sys"):
            layer = node.folder / f"link-{name}"
            layer.mkdir()
            (layer / name).symlink_to("tmp")
            spec = node.spec(f"bad-{name}", "true", rootfs_layers=(str(layer), str(node.image)))
            assert (await node.runtime.start(spec)).status == "failed"

    node(body)


def test_our_own_interpreter_cannot_be_overwritten(node):
    """CVE-2019-5736: an image whose program is a link to the program of the process that starts it."""

    async def body(node):
        layer = node.folder / "self"
        layer.mkdir()
        (layer / "me").symlink_to("/proc/self/exe")
        await node.runtime.start(node.spec("c", "/me", "-c", "1", rootfs_layers=(str(layer), str(node.image))))
        await node.runtime.start(node.spec("d", "sleep", "1000"))
        pid = json.loads((node.run_dir / "containers" / "d.json").read_text())["shim_pid"]
        assert os.statvfs(f"/proc/{pid}/exe").f_flag & os.ST_RDONLY
        with pytest.raises(OSError):
            os.open(f"/proc/{pid}/exe", os.O_RDWR)

    node(body)


def test_volumes(node):
    async def body(node):
        volume = node.folder / "volume"
        (volume / "sub").mkdir(parents=True)
        (volume / "file").write_text("one\n")
        mounts = (
            Mount(str(volume / "sub"), "/a/b/c"),
            Mount(str(volume), "/a/b", read_only=True),
            Mount(str(volume / "file"), "/etc/hosts", read_only=True),
            Mount("", "/cache", kind="tmpfs", size_bytes=1 << 20),
        )
        script = """
            cat /a/b/file /etc/hosts
            touch /a/b/new 2>/dev/null || echo refused
            touch /a/b/c/new && echo written
            head -c 2000000 /dev/zero > /cache/x 2>/dev/null || echo full
            touch /new 2>/dev/null || echo read-only root
            touch /dev/shm/x /dev/null && echo devices
        """
        (volume / "c").mkdir()
        _, log = await node.run("c", "sh", "-c", script, mounts=mounts, read_only_root=True)
        assert log.split() == ["one", "one", "refused", "written", "full", "read-only", "root", "devices"], log

    node(body)
