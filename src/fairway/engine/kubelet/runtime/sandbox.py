"""Pod sandboxes: namespaces kept alive by bind mounts, without any process.

`<run dir>/sandboxes/<id>/` holds `net`, `ipc`, `uts` (namespaces), `shm` (the pod's /dev/shm) and `ip` (written by the
pod network). `net` is mounted last, so a sandbox with it is complete. Where containers share their processes there is
also `pid`, the one namespace that a process must keep alive: see `pause`.
"""

import os
import socket

from fairway.engine.kubelet.runtime import pause
from fairway.toolkit import linux
from fairway.toolkit.netlink import Netlink

_KINDS = {"ipc": linux.CLONE_NEWIPC, "uts": linux.CLONE_NEWUTS, "net": linux.CLONE_NEWNET}
_SHM_OPTIONS = "mode=1777,size=64m"
_LOOPBACK = 1
# As containerd: a container without root may listen on port 80 and ping; both are about its own network only.
_SYSCTLS = {"ip_unprivileged_port_start": "0", "ping_group_range": "0 2147483647"}


def folder(run_dir: str, sandbox: str) -> str:
    """Where a sandbox lives."""
    return f"{run_dir}/sandboxes/{sandbox}"


def exists(run_dir: str, sandbox: str) -> bool:
    """Whether a sandbox is complete; after a restart of the machine only its empty folder may be left."""
    try:
        home = folder(run_dir, sandbox)
        return linux.filesystem_type(f"{home}/net") == linux.NSFS_MAGIC and pause.is_fine(home)
    except OSError:
        return False


def create(
    run_dir: str,
    sandbox: str,
    hostname: str,
    *,
    host_network: bool = False,
    share_processes: bool = False,
    sysctls: tuple[tuple[str, str], ...] = (),
) -> None:
    """Make a sandbox; one that is there stays as it is. Moves this process into it: call it in a forked child.

    Raises OSError, also for a value of `sysctls` that the kernel does not take.
    """
    if exists(run_dir, sandbox):
        return
    remove(run_dir, sandbox)
    home = folder(run_dir, sandbox)
    os.makedirs(f"{home}/shm", mode=0o700)
    linux.unshare(linux.CLONE_NEWIPC | linux.CLONE_NEWUTS)
    socket.sethostname(hostname)
    if not host_network:
        linux.unshare(linux.CLONE_NEWNET)
        _set_up_network()
    for name, value in sysctls:
        _set(name, value)
    if share_processes:
        pause.start(home)
    linux.mount("shm", f"{home}/shm", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC, _SHM_OPTIONS)
    for name in _KINDS:
        os.close(os.open(f"{home}/{name}", os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600))
        linux.mount(f"/proc/self/ns/{name}", f"{home}/{name}", None, linux.MS_BIND)


def _set_up_network() -> None:
    with Netlink() as netlink:
        netlink.set_up(_LOOPBACK)
    for name, value in _SYSCTLS.items():
        try:
            _set(f"net.ipv4.{name}", value)
        except OSError:
            continue  # not writable here: then only root may do these things in the pod


def _set(name: str, value: str) -> None:
    path = "/proc/sys/" + name.replace(".", "/")
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(value)
    except OSError as error:
        raise OSError(error.errno, f"cannot set sysctl {name} to {value!r}: {error.strerror}") from error


def remove(run_dir: str, sandbox: str) -> None:
    """Let go of a sandbox; the kernel ends the namespaces when their last process is gone. May be repeated."""
    home = folder(run_dir, sandbox)
    pause.end(home)
    for name in (*reversed(_KINDS), "pid", "shm"):
        try:
            linux.umount(f"{home}/{name}", linux.MNT_DETACH | linux.UMOUNT_NOFOLLOW)
        except OSError:
            continue  # not mounted
    for name in (*_KINDS, "pid", "pause", "ip"):
        try:
            os.unlink(f"{home}/{name}")
        except FileNotFoundError:
            continue
    for path in (f"{home}/shm", home):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            continue


def names(run_dir: str) -> list[str]:
    """The complete sandboxes."""
    try:
        return sorted(name for name in os.listdir(f"{run_dir}/sandboxes") if exists(run_dir, name))
    except FileNotFoundError:
        return []


class Handles:
    """The namespaces of a sandbox, opened while the node's files are in sight; no sandbox means the node's network."""

    def __init__(self, run_dir: str, sandbox: str) -> None:
        home = folder(run_dir, sandbox)
        kinds = _KINDS if sandbox else {}
        self._open = {kind: os.open(f"{home}/{name}", os.O_RDONLY | os.O_CLOEXEC) for name, kind in kinds.items()}
        self.shm_path = f"{home}/shm" if sandbox else ""
        shared = bool(sandbox) and os.path.exists(f"{home}/pid")
        self.processes = os.open(f"{home}/pid", os.O_RDONLY | os.O_CLOEXEC) if shared else None
        """The PID namespace that containers share, if they do."""

    def enter(self) -> None:
        """Move this process into them."""
        for kind, fd in self._open.items():
            linux.setns(fd, kind)
        if not self._open:
            linux.unshare(linux.CLONE_NEWIPC | linux.CLONE_NEWUTS)
