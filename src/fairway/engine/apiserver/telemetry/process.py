"""Numbers of this process, under the names that every Prometheus client uses."""

import os
import resource
import time
from pathlib import Path

_PROC = Path("/proc/self")
_STARTED_FIELD = 19  # of /proc/self/stat behind the name, in clock ticks since boot


def numbers() -> dict[str, float]:
    """By metric name. Raises OSError."""
    virtual, resident, *_ = (_PROC / "statm").read_text().split()
    page = os.sysconf("SC_PAGE_SIZE")
    times = os.times()
    return {
        "process_cpu_seconds_total": times.user + times.system,
        "process_max_fds": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "process_open_fds": len(os.listdir(_PROC / "fd")),
        "process_resident_memory_bytes": int(resident) * page,
        "process_start_time_seconds": _started(),
        "process_virtual_memory_bytes": int(virtual) * page,
    }


def _started() -> float:
    ticks = int((_PROC / "stat").read_text().rpartition(")")[2].split()[_STARTED_FIELD])
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return round(booted + ticks / os.sysconf("SC_CLK_TCK"), 2)
