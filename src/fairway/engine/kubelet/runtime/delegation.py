"""cgroup v2: which part of the tree is ours, made ready for the groups of containers.

The kernel lets a group hand down controllers only while no process is in it, except for the root of all groups. So
where ours go below one with processes in it (an ordinary user's own, which `systemd-run --user --scope -p Delegate=yes`
lends; the root that a container sees), these move to a leaf beside ours first.
"""

import errno
import os

from fairway.engine.kubelet.runtime import cgroups

LEAF = "fairway-outside"
_ROOT = "/sys/fs/cgroup"
_ATTEMPTS = 20


def claim(root: str = _ROOT, own: str | None = None) -> str:
    """The folder that is to be the top of our groups: `root`, or this process's own group when that one is lent to us.

    Never raises: what is not lent is not limited, and the node says so. `own` is this process's group, for tests.
    """
    own = _own() if own is None else own
    return next((folder for folder in writable(root, own) if _is_ready(folder, _top(root, own))), root)


def writable(root: str = _ROOT, own: str | None = None) -> tuple[str, ...]:
    """The folders that `claim` would try, best first; none where there is no cgroup v2, or none of it is ours."""
    if not os.path.exists(f"{root}/cgroup.controllers"):
        return ()
    tops = dict.fromkeys((root, _top(root, _own() if own is None else own)))
    return tuple(folder for folder in tops if os.access(f"{folder}/cgroup.subtree_control", os.W_OK))


def _top(root: str, own: str) -> str:
    """The folder of our own group; where an instance before us moved our shell to its leaf, the one above."""
    folder = f"{root}{own}".rstrip("/")
    return os.path.dirname(folder) if os.path.basename(folder) == LEAF else folder


def _is_ready(folder: str, top: str) -> bool:
    """Whether any controller can be handed down from here; makes room for that where we are in the group ourselves.

    Room first: the kernel hands down processor time and processes also with somebody in it, then never memory. Only the
    root of all groups has no type.
    """
    crowded = folder == top and os.path.exists(f"{folder}/cgroup.type")
    return (not crowded or _move_out(folder)) and _hands_down(folder)


def _hands_down(folder: str) -> bool:
    done = [cgroups.hand_down(folder, name) for name in cgroups.CONTROLLERS]  # each of them, whatever the first says
    return any(done)


def _move_out(folder: str) -> bool:
    """Move every process of a group into a leaf of it; they may fork meanwhile."""
    try:
        os.makedirs(f"{folder}/{LEAF}", exist_ok=True)
        for _ in range(_ATTEMPTS):
            with open(f"{folder}/cgroup.procs", encoding="ascii") as file:
                pids = file.read().split()
            if not pids:
                return True
            for pid in pids:
                _move(pid, f"{folder}/{LEAF}/cgroup.procs")
    except OSError:
        pass
    return False


def _move(pid: str, target: str) -> None:
    try:
        with open(target, "w", encoding="ascii") as file:
            file.write(pid)
    except OSError as error:
        if error.errno != errno.ESRCH:
            raise


def _own() -> str:
    """The path of this process's group, as its cgroup namespace shows it."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        return "/"
    return next((line[3:] for line in lines if line.startswith("0::")), "/")
