"""Limits on one container's memory, processor time and processes: cgroups v1 and v2, whichever this machine has.

Nothing here raises when a machine does not let us set limits: `enforced` tells what does work, and the node reports it.
"""

import errno
import os
import signal
import time

CONTROLLERS = ("memory", "cpu", "pids")
_ROOT = "/sys/fs/cgroup"
_CPU_PERIOD_US = 100_000
_KILL_ATTEMPTS = 100
_KILL_PAUSE_SECONDS = 0.02
_MAKE_ATTEMPTS = 200
_VANISHED = (errno.ENOENT, errno.ENODEV)  # a group that is just going knows no groups any more
_MAKE_PAUSE_SECONDS = 0.005


class Layout:
    """Where the controllers of this machine are; `unified` is cgroup v2."""

    def __init__(self, root: str = _ROOT) -> None:
        self.root = root
        self.unified = os.path.exists(f"{root}/cgroup.controllers")
        self.enforced = tuple(name for name in CONTROLLERS if self._usable(name))

    def _usable(self, controller: str) -> bool:
        if self.unified:
            return hand_down(self.root, controller)
        folder = f"{self.root}/{controller}"
        return os.path.exists(f"{folder}/cgroup.procs") and os.access(folder, os.W_OK)

    def folders(self, group: str) -> tuple[str, ...]:
        """The folders of one group, one on v2, one for each controller on v1."""
        if not group or not self.enforced:
            return ()
        if self.unified:
            return (f"{self.root}/{group}",)
        # Controllers may be mounted together (cpu,cpuacct): the same folder under two names.
        return tuple(dict.fromkeys(os.path.realpath(f"{self.root}/{name}") + f"/{group}" for name in self.enforced))


class Limits:
    """The limits of one container; None leaves one alone."""

    def __init__(
        self, memory_bytes: int | None, cpu_quota_us: int | None, cpu_shares: int | None, pids: int | None
    ) -> None:
        self.memory_bytes = memory_bytes
        self.cpu_quota_us = cpu_quota_us
        self.cpu_shares = cpu_shares
        self.pids = pids

    def files(self, unified: bool, *, shared: bool = False) -> tuple[tuple[str, str], ...]:
        """File names and what to write; CPU quotas are per 100 ms. `shared` are those of a pod."""
        pairs = self._v2(shared=shared) if unified else self._v1()
        return tuple((name, value) for name, value in pairs if value is not None)

    def _v1(self) -> tuple[tuple[str, str | None], ...]:
        return (
            ("memory.limit_in_bytes", _text(self.memory_bytes)),
            ("memory.memsw.limit_in_bytes", _text(self.memory_bytes)),
            ("cpu.cfs_period_us", _text(self.cpu_quota_us and _CPU_PERIOD_US)),
            ("cpu.cfs_quota_us", _text(self.cpu_quota_us)),
            ("cpu.shares", _text(self.cpu_shares)),
            ("pids.max", _text(self.pids)),
        )

    def _v2(self, *, shared: bool) -> tuple[tuple[str, str | None], ...]:
        quota = f"{self.cpu_quota_us} {_CPU_PERIOD_US}" if self.cpu_quota_us else None
        # The kernel kills the whole container, not one of its processes, as Kubernetes does on v2; never the whole pod.
        whole = "1" if self.memory_bytes and not shared else None
        return (
            ("memory.max", _text(self.memory_bytes)),
            ("memory.swap.max", "0" if self.memory_bytes else None),
            ("memory.oom.group", whole),
            ("cpu.max", quota),
            ("cpu.weight", _text(_weight(self.cpu_shares))),
            ("pids.max", _text(self.pids)),
        )


def _weight(shares: int | None) -> int | None:
    """CPU shares (2 to 262144) as a v2 weight (1 to 10000), the conversion of the runtime specification."""
    return None if shares is None else 1 + (max(2, min(shares, 262_144)) - 2) * 9999 // 262_142


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


class Group:
    """The cgroup of one container."""

    def __init__(self, layout: Layout, name: str) -> None:
        self.layout = layout
        self.name = name
        self.folders = layout.folders(name)

    def create(self, limits: Limits, parent_limits: Limits | None = None) -> None:
        """Make the folders and write the limits; a limit that this machine refuses is left out.

        `parent_limits` are those of the group above, which the containers of a pod share.
        """
        for folder in self.folders:
            self._make(folder)
            if parent_limits is not None:
                self._limit(os.path.dirname(folder), parent_limits, shared=True)
            self._limit(folder, limits)

    def _make(self, folder: str) -> None:
        """Again when a parent vanishes meanwhile: who removes the last group in it removes it too."""
        for _ in range(_MAKE_ATTEMPTS):
            try:
                if self.layout.unified:
                    self._delegate()
                os.makedirs(folder, exist_ok=True)
                if not self.layout.unified or self._has_all(folder):
                    return
            except OSError as error:
                if error.errno not in _VANISHED:
                    raise
            time.sleep(_MAKE_PAUSE_SECONDS)
        os.makedirs(folder, exist_ok=True)

    def _has_all(self, folder: str) -> bool:
        there = set(_read(f"{self.layout.root}/cgroup.controllers").split())
        return there & set(self.layout.enforced) <= set(_read(f"{folder}/cgroup.controllers").split())

    def _delegate(self) -> None:
        """v2: hand the controllers down from the root to the parent of this group."""
        folder = self.layout.root
        for part in self.name.split("/"):
            for controller in self.layout.enforced:
                hand_down(folder, controller)
            folder += "/" + part
            os.makedirs(folder, exist_ok=True)

    def _limit(self, folder: str, limits: Limits, *, shared: bool = False) -> None:
        for name, value in limits.files(self.layout.unified, shared=shared):
            if os.path.exists(f"{folder}/{name}"):
                _write(f"{folder}/{name}", value)

    def change(self, limits: Limits, parent_limits: Limits) -> tuple[str, ...]:
        """Write other limits; the names of those that the kernel did not take.

        Twice, as one may have to make room for another: the group above, or memory with swap, first when limits grow
        and last when they shrink. Nothing is written when the container works with more memory than it is to have: v1
        refuses that by itself, v2 would kill it.
        """
        refused: list[str] = []
        for folder in self.folders:
            if self.layout.unified and limits.memory_bytes and _working_set(folder) > limits.memory_bytes:
                return ("memory.max",)
            for _ in range(2):
                self._limit(os.path.dirname(folder), parent_limits, shared=True)
                self._limit(folder, limits)
            refused += [
                name for name, value in limits.files(self.layout.unified) if not _took(f"{folder}/{name}", value)
            ]
        return tuple(refused)

    def kill(self) -> None:
        """KILL every process in it, again until none is left, as they may fork meanwhile."""
        for folder in self.folders[:1]:
            if self.layout.unified:
                _write(f"{folder}/cgroup.kill", "1")  # Linux 5.14: all at once, those in groups below too
            for _ in range(_KILL_ATTEMPTS):
                pids = _read(f"{folder}/cgroup.procs").split()
                for pid in pids:
                    try:
                        os.kill(int(pid), signal.SIGKILL)
                    except ProcessLookupError:
                        continue
                if not pids:
                    return
                time.sleep(_KILL_PAUSE_SECONDS)

    def entrances(self) -> tuple[int, ...]:
        """Open files through which a process joins by writing `0`, also after it has lost sight of the folders."""
        fds = []
        for folder in self.folders:
            try:
                fds.append(os.open(f"{folder}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))
            except OSError:
                continue
        return tuple(fds)

    def oom_kills(self) -> int:
        """How many processes the kernel killed here for want of memory."""
        name = "memory.events" if self.layout.unified else "memory.oom_control"
        for folder in self.folders:
            for line in _read(f"{folder}/{name}").splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        return 0

    def remove(self) -> None:
        """Remove the folders, and parents that became empty; a folder still in use stays."""
        for folder in self.folders:
            if self.layout.unified:
                _remove_below(folder)
            for _ in self.name.split("/"):
                try:
                    os.rmdir(folder)
                except FileNotFoundError:
                    pass
                except OSError:
                    break
                folder = os.path.dirname(folder)


def hand_down(folder: str, controller: str) -> bool:
    """v2: let the groups in this folder have a controller; whether they may. The kernel refuses that where the
    controller is missing, and, but for the root of all groups, where processes are in the group itself."""
    path = f"{folder}/cgroup.subtree_control"
    if controller in _read(path).split():
        return True
    _write(path, f"+{controller}")
    return controller in _read(path).split()


def _remove_below(folder: str) -> None:
    """Remove the groups that a privileged container made in its own."""
    for path, names, _ in os.walk(folder, topdown=False):
        for name in names:
            try:
                os.rmdir(f"{path}/{name}")
            except OSError:
                continue  # in use


def _working_set(folder: str) -> int:
    """Bytes in use without file pages that could be dropped at once; 0 where nobody counts."""
    used = _read(f"{folder}/memory.current").strip() or "0"
    for line in _read(f"{folder}/memory.stat").splitlines():
        if line.startswith("inactive_file "):
            return int(used) - int(line.split()[1])
    return int(used)


def enter(entrances: tuple[int, ...]) -> None:
    """Move this process into the group whose entrances these are."""
    for fd in entrances:
        os.write(fd, b"0")
        os.close(fd)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def _took(path: str, value: str) -> bool:
    """Whether a limit that this machine has is what was written: the kernel rounds memory down to pages."""
    found = _read(path).strip()
    if not found or found == value:
        return True
    return found.isdigit() and value.isdigit() and 0 <= int(value) - int(found) < os.sysconf("SC_PAGE_SIZE")


def _write(path: str, value: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(value)
    except OSError:
        return
