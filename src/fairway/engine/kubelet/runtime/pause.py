"""Process 1 of a PID namespace that the containers of one pod share: it waits, and buries what they leave.

It is of this project and not of the pod, so it gives away nothing: an empty root, no privileges, nothing open.
"""

import ctypes
import os
import signal

from fairway.engine.kubelet.runtime import privileges, processes, seccomp
from fairway.toolkit import linux

_NOBODY = 65535  # the user of upstream's pause container
_FILE = "pause"
_ARGUMENTS = 45  # where the command line begins in memory: its place in /proc/PID/stat behind the name


def start(home: str) -> None:
    """Fork it from this process, which is in the sandbox's other namespaces, and keep its namespace at `home`/pid."""
    linux.unshare(linux.CLONE_NEWPID)
    ready, write_ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ready)
        _be(home, write_ready)
    os.close(write_ready)
    words = os.read(ready, 4096)
    os.close(ready)
    if words != b"ready":
        raise OSError(f"the process that holds the pod's PID namespace failed: {words.decode() or 'killed'}")
    with open(f"{home}/{_FILE}", "w", encoding="utf-8") as file:
        file.write(f"{pid} {processes.start_ticks(pid)}")
    os.close(os.open(f"{home}/pid", os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600))
    linux.mount(f"/proc/{pid}/ns/pid", f"{home}/pid", None, linux.MS_BIND)


def is_fine(home: str) -> bool:
    """Whether it lives, or the sandbox has none."""
    known = _known(home)
    return known is None or processes.is_alive(*known)


def end(home: str) -> None:
    """Kill it, and with it everything in its namespace."""
    known = _known(home)
    handle = processes.open_pidfd(*known) if known is not None else None
    if handle is not None:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)


def _known(home: str) -> tuple[int, int] | None:
    try:
        with open(f"{home}/{_FILE}", encoding="utf-8") as file:
            pid, ticks = file.read().split()
    except FileNotFoundError:
        return None
    return int(pid), int(ticks)


def _be(home: str, ready: int) -> None:
    """Never returns."""
    try:
        os.setsid()
        linux.set_process_name("pause")
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        _forget_arguments()
        user = _user()
        if user == 0:  # the same as the pod's root, who then could look into our memory
            linux.prctl(linux.PR_SET_DUMPABLE, 0)
        _empty_root(home)
        os.dup2(ready, 3)
        ready = 3
        linux.close_range(4)
        account = privileges.Account(user, user, ())
        filter_code = seccomp.program(frozenset())
        privileges.give_up(account, frozenset(), no_new_privileges=True, filter_code=filter_code)
        os.write(3, b"ready")
        os.close(3)
        while True:
            signal.pause()
    except Exception as error:  # the border of this process: whatever happened must reach the parent
        os.write(ready, f"{type(error).__name__}: {error}".encode())
    finally:
        os._exit(1)


def _user() -> int:
    """Nobody, or root of a user namespace that has no other users."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        ranges = [[int(word) for word in line.split()] for line in file]
    return _NOBODY if any(first <= _NOBODY < first + count for first, _, count in ranges) else 0


def _forget_arguments() -> None:
    """Wipe the command line that the pod's containers would see: it names folders of the node."""
    fields = processes.stat("self")  # our number in this /proc, which is of the namespace outside
    start, end = int(fields[_ARGUMENTS]), int(fields[_ARGUMENTS + 1])
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, b"pause", 5)


def _empty_root(home: str) -> None:
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("pause", home, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC | linux.MS_RDONLY, "size=4k")
    os.chdir(home)
    linux.pivot_root(".", ".")
    linux.umount(".", linux.MNT_DETACH)
    os.chdir("/")
