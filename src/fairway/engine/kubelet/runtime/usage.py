"""What containers have used: processor time since their start and the memory they work with now.

From their control groups where those count it, else from the processes in them.
"""

import os
from collections.abc import Iterable, Mapping

import msgspec

from fairway.engine.kubelet.runtime import cgroups

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_USER, _SYSTEM, _CHILD_USER, _CHILD_SYSTEM, _RESIDENT = 11, 12, 13, 14, 21  # places in /proc/PID/stat behind the name


class Usage(msgspec.Struct, frozen=True):
    """`memory_bytes` is the working set: without file pages that could be dropped at once; `total_bytes` has them."""

    cpu_seconds: float
    memory_bytes: int
    total_bytes: int = 0
    rss_bytes: int = 0
    cache_bytes: int = 0


class Group(msgspec.Struct, frozen=True):
    """A container: its control group, and its first process in case there is no such group."""

    cgroup: str
    pid: int


def measure(containers: Mapping[str, Group]) -> dict[str, Usage]:
    """By container id; those that ended meanwhile are left out."""
    layout = cgroups.Layout()
    found = {name: _of_group(layout.folders(group.cgroup)) for name, group in containers.items()}
    without = {name: containers[name].pid for name, usage in found.items() if usage is None}
    return {name: usage for name, usage in found.items() if usage is not None} | _of_namespaces(without)


def node() -> Usage:
    """The whole machine."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq, steal, *_ = (int(word) for word in file.readline().split()[1:])
    with open("/proc/meminfo", encoding="ascii") as file:
        meminfo = dict(line.split(":", 1) for line in file)
    used = int(meminfo["MemTotal"].split()[0]) - int(meminfo["MemAvailable"].split()[0])
    cached, anonymous = (int(meminfo[name].split()[0]) * 1024 for name in ("Cached", "AnonPages"))
    busy = (user + nice + system + irq + softirq + steal) / _TICKS_PER_SECOND
    return Usage(busy, used * 1024, used * 1024 + cached, anonymous, cached)


def _of_group(folders: tuple[str, ...]) -> Usage | None:
    cpu: float | None = None
    memory: Usage | None = None
    pids: list[int] = []
    for folder in folders:
        if not pids:
            pids = [int(word) for word in _read(f"{folder}/cgroup.procs").split()]
        cpu = _cpu(folder) if cpu is None else cpu
        memory = _memory(folder) if memory is None else memory
    if not pids:
        return None
    counted = _of_processes(pids)
    return msgspec.structs.replace(memory or counted, cpu_seconds=counted.cpu_seconds if cpu is None else cpu)


def _cpu(folder: str) -> float | None:
    if text := _read(f"{folder}/cpuacct.usage"):
        return int(text) / 1e9
    microseconds = _field(f"{folder}/cpu.stat", "usage_usec")
    return None if microseconds is None else microseconds / 1e6


def _memory(folder: str) -> Usage | None:
    for total, names in (
        ("memory.current", ("inactive_file", "anon", "file")),
        ("memory.usage_in_bytes", ("total_inactive_file", "total_rss", "total_cache")),
    ):
        if text := _read(f"{folder}/{total}"):
            stat = dict(line.split(" ", 1) for line in _read(f"{folder}/memory.stat").splitlines())
            inactive, rss, cache = (int(stat.get(name, 0)) for name in names)
            return Usage(0, max(0, int(text) - inactive), int(text), rss, cache)
    return None


def _field(path: str, name: str) -> int | None:
    for line in _read(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return None


def _of_namespaces(containers: Mapping[str, int]) -> dict[str, Usage]:
    """By PID namespace, which every container has of its own."""
    if not containers:
        return {}
    members: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal() and (namespace := _namespace(int(name))):
            members.setdefault(namespace, []).append(int(name))
    spaces = {name: _namespace(pid) for name, pid in containers.items()}
    return {name: _of_processes(members[space]) for name, space in spaces.items() if space in members}


def _namespace(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:
        return 0


def _of_processes(pids: Iterable[int]) -> Usage:
    """Processes that have ended count through the parent that waited for them."""
    ticks = pages = 0
    for pid in pids:
        fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        if fields:
            ticks += sum(int(fields[place]) for place in (_USER, _SYSTEM, _CHILD_USER, _CHILD_SYSTEM))
            pages += int(fields[_RESIDENT])
    resident = pages * _PAGE_BYTES
    return Usage(ticks / _TICKS_PER_SECOND, resident, resident, resident)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
