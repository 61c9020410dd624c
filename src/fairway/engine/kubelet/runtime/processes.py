"""Processes of this PID namespace: which are alive, which belong together. Reads /proc."""

import os
import signal

_START_TICKS, _PARENT, _SESSION = 19, 1, 3  # places in /proc/PID/stat behind the name


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; with the pid it names one process for ever. None: no such."""
    fields = stat(pid)
    return int(fields[_START_TICKS]) if fields else None


def is_alive(pid: int, started: int) -> bool:
    """Whether the process that had this pid and start is still running (a zombie is not)."""
    fields = stat(pid)
    return bool(fields) and int(fields[_START_TICKS]) == started and fields[0] not in (b"Z", b"X")


def open_pidfd(pid: int, started: int) -> int | None:
    """A handle of exactly this process, None when it is gone."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return None
    if start_ticks(pid) == started:
        return handle
    os.close(handle)
    return None


def kill_tree(pid: int) -> None:
    """KILL a process, all its descendants and its session; repeats until none is left, so that forks do not escape.

    The caller must be the parent of `pid` and not have waited for it yet, so that the pid cannot be reused.
    """
    killed: set[int] = set()
    while fresh := _family(pid) - killed:
        for each in fresh:
            try:
                os.kill(each, signal.SIGKILL)
            except ProcessLookupError:
                continue
        killed |= fresh


def _family(root: int) -> set[int]:
    table = {pid: fields for pid in _pids() if (fields := stat(pid))}
    family = {root} | {pid for pid, fields in table.items() if int(fields[_SESSION]) == root}
    while more := {pid for pid, fields in table.items() if int(fields[_PARENT]) in family} - family:
        family |= more
    return family


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def stat(pid: int | str) -> list[bytes]:
    """The fields of /proc/PID/stat from the state on; the name before them may hold blanks and brackets."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
