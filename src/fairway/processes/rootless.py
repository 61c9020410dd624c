"""An ordinary user as root of a user namespace of their own (user_namespaces(7)).

With a range of subordinate ids (subuid(5)) containers have 65536 users, the full map; without one there is only root,
which is the user outside, the single map.
"""

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

import msgspec

from fairway.toolkit import linux
from fairway.toolkit.clone import fork_into

_IDS_LEAST = 1000
_TOOLS = ("newuidmap", "newgidmap")


class Range(msgspec.Struct, frozen=True):
    """Subordinate ids: the first one and how many."""

    first: int
    count: int


class CannotMap(Exception):
    """The user namespace could not be given its ids; the message says why and what to do."""


def subordinate_ids() -> tuple[Range, Range] | None:
    """This user's ranges of user and group ids; None when one is missing, or the tools that may map them."""
    names = {str(os.getuid()), _user_name()}
    users, groups = (_range(Path(file), names) for file in ("/etc/subuid", "/etc/subgid"))
    if users is None or groups is None or not all(shutil.which(tool) for tool in _TOOLS):
        return None
    return users, groups


def fork(namespaces: int) -> int:
    """Fork into new namespaces; for an ordinary user into a user namespace too, as its root. 0 in the child.

    Call it while the process has one thread. Raises OSError, CannotMap.
    """
    if os.geteuid() == 0:
        return fork_into(namespaces)
    gate_read, gate_write = os.pipe2(os.O_CLOEXEC)
    pid = fork_into(namespaces | linux.CLONE_NEWUSER)
    if pid == 0:
        os.close(gate_write)
        _become_root(gate_read)
        return 0
    os.close(gate_read)
    try:
        _map(pid)
        os.write(gate_write, b"1")
    except (OSError, CannotMap):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(gate_write)
    return pid


def _become_root(gate: int) -> None:
    """In the child: wait for the ids, then take those of root."""
    if not os.read(gate, 1):
        os._exit(1)
    os.close(gate)
    try:
        os.setgroups([])
    except PermissionError:
        pass  # the single map: the kernel keeps the user's groups, which mean nothing inside
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _map(pid: int) -> None:
    uid, gid, ranges = os.getuid(), os.getgid(), subordinate_ids()
    if ranges is None:
        Path(f"/proc/{pid}/setgroups").write_text("deny")
        Path(f"/proc/{pid}/uid_map").write_text(f"0 {uid} 1")
        Path(f"/proc/{pid}/gid_map").write_text(f"0 {gid} 1")
        return
    for tool, own, subordinate in zip(_TOOLS, (uid, gid), ranges, strict=True):
        numbers = ("0", str(own), "1", "1", str(subordinate.first), str(subordinate.count))
        done = subprocess.run([tool, str(pid), *numbers], capture_output=True, text=True, check=False)
        if done.returncode:
            hint = "reinstall the package uidmap, or remove the user's lines from /etc/subuid and /etc/subgid"
            raise CannotMap(f"{tool}: {done.stderr.strip()}; {hint}")


def _range(file: Path, names: set[str]) -> Range | None:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, numbers = line.partition(":")
        first, _, count = numbers.partition(":")
        if name in names and first.isdecimal() and count.isdecimal() and int(count) >= _IDS_LEAST:
            return Range(int(first), int(count))
    return None


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return ""
