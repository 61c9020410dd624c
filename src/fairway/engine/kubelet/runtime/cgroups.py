"""Limits on one container's memory, processor time and processes: cgroups v1 and v2, whichever this machine has.

Nothing here raises when a machine does not let us set limits: `enforced` tells what does work, and the node reports it.
"""

import os
import signal
import time

CONTROLLERS = ("memory", "cpu", "pids")
_ROOT = "/sys/fs/cgroup"
_CPU_PERIOD_US = 100_000
_MAKE_ATTEMPTS = 100
_KILL_ATTEMPTS = 100
_KILL_PAUSE_SECONDS = 0.02


class Layout:
    """Where the controllers of this machine are; `unified` is cgroup v2."""

    def __init__(self, root: str = _ROOT) -> None:
        self.root = root
        self.unified = os.path.exists(f"{root}/cgroup.controllers")
        self.enforced = tuple(name for name in CONTROLLERS if self._usable(name))

    def _usable(self, controller: str) -> bool:
        if self.unified:
            return controller in _read(f"{self.root}/cgroup.controllers").split() and os.access(
                f"{self.root}/cgroup.subtree_control", os.W_OK
            )
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

    def files(self, unified: bool) -> tuple[tuple[str, str], ...]:
        """File names and what to write; CPU quotas are per 100 ms."""
        pairs = self._v2() if unified else self._v1()
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

    def _v2(self) -> tuple[tuple[str, str | None], ...]:
        quota = f"{self.cpu_quota_us} {_CPU_PERIOD_US}" if self.cpu_quota_us else None
        # The kernel kills the whole container, not one of its processes, as Kubernetes does on v2.
        whole = "1" if self.memory_bytes else None
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
                self._limit(os.path.dirname(folder), parent_limits)
            self._limit(folder, limits)

    def _make(self, folder: str) -> None:
        """Also while another container of the pod takes the group above away, because it was its last one."""
        for _ in range(_MAKE_ATTEMPTS):
            try:
                if self.layout.unified:
                    self._delegate()
                os.makedirs(folder, exist_ok=True)
                return
            except FileNotFoundError:
                continue
        os.makedirs(folder, exist_ok=True)

    def _limit(self, folder: str, limits: Limits) -> None:
        for name, value in limits.files(self.layout.unified):
            if os.path.exists(f"{folder}/{name}"):
                _write(f"{folder}/{name}", value)

    def change(self, limits: Limits, parent_limits: Limits) -> tuple[str, ...]:
        """Write other limits; the names of those that the kernel did not take.

        Twice, as one may have to make room for another: the group above, or memory with swap, first when limits grow
        and last when they shrink.
        """
        refused: list[str] = []
        for folder in self.folders:
            for _ in range(2):
                self._limit(os.path.dirname(folder), parent_limits)
                self._limit(folder, limits)
            refused += [
                name for name, value in limits.files(self.layout.unified) if not _took(f"{folder}/{name}", value)
            ]
        return tuple(refused)

    def kill(self) -> None:
        """KILL every process in it, again until none is left, as they may fork meanwhile."""
        for folder in self.folders[:1]:
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

    def _delegate(self) -> None:
        """v2: hand the controllers down from the root to the parent of this group."""
        folder = self.layout.root
        for part in self.name.split("/"):
            for controller in self.layout.enforced:
                _write(f"{folder}/cgroup.subtree_control", f"+{controller}")
            folder += "/" + part
            os.makedirs(folder, exist_ok=True)

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
            for _ in self.name.split("/"):
                try:
                    os.rmdir(folder)
                except FileNotFoundError:
                    pass
                except OSError:
                    break
                folder = os.path.dirname(folder)


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
