"""Which TCP ports a process listens on, by the inodes of their sockets (proc(5))."""

import os
from pathlib import Path

_LISTEN = "0A"  # include/net/tcp_states.h
_STATE, _INODE = 3, 9


def listening(pid: int) -> frozenset[str]:
    """The listening TCP sockets that a process holds; none for one that is gone."""
    return held(pid) & _listening_here(pid)


def held(pid: int) -> frozenset[str]:
    """The inodes of all sockets that a process holds."""
    folder = f"/proc/{pid}/fd"
    found = set()
    try:
        for name in os.listdir(folder):
            try:
                link = os.readlink(f"{folder}/{name}")
            except FileNotFoundError:
                continue  # closed meanwhile
            if link.startswith("socket:["):
                found.add(link[len("socket:[") : -1])
    except OSError:
        return frozenset()
    return frozenset(found)


def _listening_here(pid: int) -> frozenset[str]:
    """All that listen in the network namespace of a process."""
    found: set[str] = set()
    for name in ("tcp", "tcp6"):
        try:
            rows = Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
        except OSError:
            continue
        found.update(row[_INODE] for row in map(str.split, rows) if row[_STATE] == _LISTEN)
    return frozenset(found)
