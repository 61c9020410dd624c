"""Counts what the machine has left and what is in folders."""

import os
from pathlib import Path

from fairway.engine.kubelet.eviction.snapshot import Amount, Signals

_BLOCK_BYTES = 512


def signals(folder: Path) -> Signals:
    """The machine now; `folder` is on the disk that counts.  Raises OSError."""
    disk = os.statvfs(folder)
    lines = Path("/proc/meminfo").read_text().splitlines()
    meminfo = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
    pids_max = int(Path("/proc/sys/kernel/pid_max").read_text())
    pids = int(Path("/proc/loadavg").read_text().split()[3].split("/")[1])
    return Signals(
        memory=Amount(meminfo["MemAvailable"], meminfo["MemTotal"]),
        disk=Amount(disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize),
        inodes=Amount(disk.f_favail, disk.f_files),
        pids=Amount(pids_max - pids, pids_max),
    )


def folder_bytes(folder: Path) -> int:
    """The disk space of everything in a folder; what goes away meanwhile does not count.  Blocks."""
    total, waiting = 0, [str(folder)]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                total += entry.stat(follow_symlinks=False).st_blocks * _BLOCK_BYTES
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
            except OSError:
                continue
    return total
