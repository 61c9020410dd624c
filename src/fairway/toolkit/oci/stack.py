"""Look into a stack of unpacked layers as a container would see it, without mounting anything."""

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import msgspec

from fairway.toolkit.oci import beneath

_LINKS_MAX = 40
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")


class Place(msgspec.Struct, frozen=True):
    """Where a path ends: the real path inside (links followed), and what is there (`mode` None: nothing)."""

    path: str
    mode: int | None = None
    data: bytes | None = None
    uid: int = 0
    gid: int = 0

    @property
    def is_folder(self) -> bool:
        return self.mode is not None and stat.S_ISDIR(self.mode)


def look(layers: Sequence[str | Path], path: str, *, read_bytes_max: int = 0) -> Place:
    """Follow `path` from the root of the stack (`layers` topmost first).

    Reads a regular file's content if it has at most `read_bytes_max` bytes. Raises OSError (ELOOP: too many links).
    """
    todo = _split(path)
    done: list[str] = []
    for _ in range(_LINKS_MAX):
        link = None
        while todo and link is None:
            part = todo.pop(0)
            if part == "..":
                done = done[:-1]
                continue
            done.append(part)
            link = _link(layers, "/".join(done))
        if link is None:
            return _place(layers, "/".join(done), read_bytes_max)
        done = [] if link.startswith("/") else done[:-1]
        todo = [*_split(link), *todo]
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def _split(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _link(layers: Sequence[str | Path], path: str) -> str | None:
    handle = open_place(layers, path)
    if handle is None:
        return None
    try:
        return os.readlink("", dir_fd=handle) if stat.S_ISLNK(os.fstat(handle).st_mode) else None
    finally:
        os.close(handle)


def _place(layers: Sequence[str | Path], path: str, read_bytes_max: int) -> Place:
    handle = open_place(layers, path)
    if handle is None:
        return Place(path, None if path else stat.S_IFDIR | 0o755)
    try:
        found = os.fstat(handle)
        data = None
        if stat.S_ISREG(found.st_mode) and 0 < read_bytes_max >= found.st_size:
            with open(f"/proc/self/fd/{handle}", "rb") as file:
                data = file.read(read_bytes_max)
        return Place(path, found.st_mode, data, found.st_uid, found.st_gid)
    finally:
        os.close(handle)


def open_place(layers: Sequence[str | Path], path: str) -> int | None:
    """An O_PATH handle of the topmost entry; None when there is none.

    `path` contains no links: `look` resolves them part by part.
    """
    for layer in layers:
        root = os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            handle = beneath.open_without_links(root, path, os.O_PATH | os.O_NOFOLLOW)
        except FileNotFoundError:
            if _hides_below(root, path):
                return None
            continue
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                return None  # a file or link hides what lower layers have beneath it
            raise
        finally:
            os.close(root)
        if _is_whiteout(handle):
            os.close(handle)
            return None
        return handle
    return None


def names_in(layers: Sequence[str | Path], path: str) -> tuple[str, ...]:
    """The names in a folder of the stack, sorted; some may be whiteouts' that `open_place` then does not find."""
    found: set[str] = set()
    for layer in layers:
        root = os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            handle = beneath.open_without_links(root, path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            if _hides_below(root, path):
                break
            continue
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                break
            raise
        finally:
            os.close(root)
        try:
            with os.scandir(handle) as entries:
                found |= {entry.name for entry in entries}
            if any(name in os.listxattr(handle) for name in _OPAQUE):
                break
        finally:
            os.close(handle)
    return tuple(sorted(found))


def _is_whiteout(handle: int) -> bool:
    found = os.fstat(handle)
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _hides_below(root: int, path: str) -> bool:
    """Whether a parent of `path` in this layer is opaque."""
    while path:
        path = path.rpartition("/")[0]
        try:
            handle = beneath.open_without_links(root, path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue
        try:
            attributes = os.listxattr(handle)
            if any(name in attributes for name in _OPAQUE):
                return True
        finally:
            os.close(handle)
    return False
