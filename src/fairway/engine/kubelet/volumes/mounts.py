"""The mounts that volumes need on the node: memory file systems, and single files or folders out of a volume."""

import errno
import os
import shutil
from pathlib import Path
from typing import Protocol

from fairway.toolkit import linux

_RESOLVE = linux.RESOLVE_IN_ROOT | linux.RESOLVE_NO_MAGICLINKS
_FOLDER_MODE = 0o777


class Mounts(Protocol):
    """What volumes ask of the node."""

    def memory(self, target: Path, size_bytes: int | None) -> None:
        """Put a memory file system on `target`, unless one is there already."""
        ...

    def beneath(self, volume: Path, path: str, target: Path, *, create: bool, recursive: bool = False) -> None:
        """Make `path` of a volume appear at `target`; links in it never lead out of the volume.

        A path that does not exist becomes a folder when `create` is set; `recursive` brings what is mounted below it.
        Raises OSError.
        """
        ...

    def release(self, target: Path) -> None:
        """Take away whatever is mounted on `target`; nothing there is fine."""
        ...


class SystemMounts:
    """Real mounts in this mount namespace."""

    def memory(self, target: Path, size_bytes: int | None) -> None:
        target.mkdir(parents=True, exist_ok=True)
        if os.path.ismount(target):
            return
        options = "mode=0777" if size_bytes is None else f"mode=0777,size={size_bytes}"
        linux.mount("tmpfs", str(target), "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, options)

    def beneath(self, volume: Path, path: str, target: Path, *, create: bool, recursive: bool = False) -> None:
        source = _open_beneath(volume, path, create=create)
        try:
            _make_like(source, target)
            mount = linux.clone_mount(source, recursive=recursive)
            try:
                self.release(target)
                _attach(mount, target)
            finally:
                os.close(mount)
        finally:
            os.close(source)

    def release(self, target: Path) -> None:
        while True:
            try:
                linux.umount(str(target), linux.MNT_DETACH | linux.UMOUNT_NOFOLLOW)
            except OSError as error:
                if error.errno in (errno.EINVAL, errno.ENOENT):
                    return
                raise


class PlainMounts:
    """Folders and copies instead of mounts: for tests of everything around them."""

    def memory(self, target: Path, size_bytes: int | None) -> None:
        target.mkdir(parents=True, exist_ok=True)

    def beneath(self, volume: Path, path: str, target: Path, *, create: bool, recursive: bool = False) -> None:
        source = _open_beneath(volume, path, create=create)
        try:
            real = os.readlink(f"/proc/self/fd/{source}")
        finally:
            os.close(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.path.isdir(real):
            shutil.copytree(real, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(real, target)

    def release(self, target: Path) -> None:
        return


def _open_beneath(volume: Path, path: str, *, create: bool) -> int:
    root = os.open(volume, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            return linux.openat2(root, path, os.O_PATH, _RESOLVE)
        except FileNotFoundError:
            if not create:
                raise
        _make_folders(root, path)
        return linux.openat2(root, path, os.O_PATH, _RESOLVE)
    finally:
        os.close(root)


def _make_folders(root: int, path: str) -> None:
    """Create the folders of `path` one by one, each opened inside the volume before the next is made."""
    at = os.dup(root)
    done = ""
    try:
        for part in filter(None, path.split("/")):
            done = f"{done}/{part}".lstrip("/")
            try:
                os.mkdir(part, _FOLDER_MODE, dir_fd=at)
            except FileExistsError:
                pass
            following = linux.openat2(root, done, os.O_PATH | os.O_DIRECTORY, _RESOLVE)
            os.close(at)
            at = following
    finally:
        os.close(at)


def _make_like(source: int, target: Path) -> None:
    """An empty file or folder to mount on, whichever `source` is."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.isdir(f"/proc/self/fd/{source}"):
        target.mkdir(exist_ok=True)
    else:
        target.touch()


def _attach(mount: int, target: Path) -> None:
    handle = os.open(target, os.O_PATH | os.O_CLOEXEC)
    try:
        linux.move_mount(mount, handle)
    finally:
        os.close(handle)
