"""Unpack one layer into a folder that overlayfs can use; nothing in the archive can reach outside that folder.

Every parent is opened with openat2(RESOLVE_IN_ROOT) and every entry made relative to it, so symbolic links inside the
archive only ever lead to places inside. Device nodes are left out. Whiteouts become overlayfs's own (character device
0:0; the `opaque` attribute).
"""

import errno
import os
import shutil
import stat
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from fairway.toolkit import linux
from fairway.toolkit.oci import beneath
from fairway.toolkit.oci.layers import XATTR_PREFIX
from fairway.toolkit.oci.members import Limits, Member, members, parts_of
from fairway.toolkit.oci.streams import BadArchive, LayerReader

WHITEOUT_PREFIX = ".wh."
OPAQUE_MARK = ".wh..wh..opq"
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW


class Unpacked(msgspec.Struct, frozen=True):
    """What a layer turned out to be."""

    digest: str
    diff_id: str
    compressed_bytes: int
    plain_bytes: int


DEFAULT_LIMITS = Limits()


def unpack(
    source: BinaryIO, folder: Path, *, limits: Limits = DEFAULT_LIMITS, user_xattr: bool | None = None
) -> Unpacked:
    """Unpack a layer archive (tar; plain, gzip or zstd) into an existing empty folder.

    `user_xattr` marks opaque folders for overlays mounted without privileges; None is: in a user namespace.
    Raises BadArchive, OSError.
    """
    user_xattr = linux.in_user_namespace() if user_xattr is None else user_xattr
    reader = LayerReader(source, limits.plain_bytes)
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        unpacker = _Unpacker(root, "user.overlay.opaque" if user_xattr else "trusted.overlay.opaque")
        for member in members(reader, limits):
            unpacker.add(member, reader)
        unpacker.finish()
    except (tarfile.TarError, EOFError, UnicodeError) as error:
        raise BadArchive(f"broken tar archive: {error}") from error
    finally:
        os.close(root)
    reader.drain()
    return Unpacked(reader.digest, reader.diff_id, reader.compressed_bytes, reader.plain_bytes)


class _Unpacker:
    """The state of one unpacking: the root folder and the times to set at the end."""

    def __init__(self, root: int, opaque_attribute: str) -> None:
        self._root = root
        self._opaque_attribute = opaque_attribute
        self._folder_times: dict[tuple[str, ...], float] = {}
        # Where root is the only user, everything is root's.
        self._privileged = os.geteuid() == 0 and linux.ids_mapped() > 1

    def add(self, member: Member, reader: LayerReader) -> None:
        """Make one entry. Raises BadArchive, OSError."""
        if not member.parts:
            if member.info.isdir():
                self._set_folder(self._root, member)
            return
        try:
            with self._parent(member.parts[:-1]) as parent:
                self._add_in(parent, member.parts[-1], member)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.EPERM):
                raise
            raise BadArchive(f"entry {member.info.name!r}: {error.strerror}") from error

    def finish(self) -> None:
        """Set the times of folders, which their entries have changed meanwhile."""
        for parts, mtime in self._folder_times.items():
            try:
                handle = beneath.open_without_links(self._root, "/".join(parts), os.O_RDONLY | os.O_DIRECTORY)
            except OSError:
                continue  # replaced by a later entry
            os.utime(handle, (mtime, mtime))
            os.close(handle)

    def _add_in(self, parent: int, name: str, member: Member) -> None:
        if name.startswith(WHITEOUT_PREFIX):
            self._white_out(parent, name)
        elif member.info.isdir():
            self._add_folder(parent, name, member)
        elif member.info.isreg():
            self._clear(parent, name)
            self._add_file(parent, name, member)
        elif member.info.issym():
            self._clear(parent, name)
            os.symlink(member.info.linkname, name, dir_fd=parent)
            self._own(parent, name, member.info)
        elif member.info.islnk():
            self._add_link(parent, name, member.info)
        elif member.info.isfifo():
            self._clear(parent, name)
            os.mkfifo(name, member.info.mode & 0o7777, dir_fd=parent)
            self._own(parent, name, member.info)

    def _add_folder(self, parent: int, name: str, member: Member) -> None:
        kind = _kind(parent, name)
        if kind is None or not stat.S_ISDIR(kind):
            self._clear(parent, name)
            os.mkdir(name, 0o700, dir_fd=parent)
        handle = os.open(name, _READ_FLAGS | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
        try:
            if kind is not None and stat.S_ISCHR(kind):  # was whited out in this very layer
                self._mark_opaque(handle)
            self._set_folder(handle, member)
        finally:
            os.close(handle)

    def _set_folder(self, handle: int, member: Member) -> None:
        if self._privileged:
            os.fchown(handle, *_owner(member.info))
        os.fchmod(handle, member.info.mode & 0o7777)
        self._folder_times[member.parts] = member.info.mtime

    def _add_file(self, parent: int, name: str, member: Member) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(name, flags, 0o600, dir_fd=parent)
        try:
            data = member.archive.extractfile(member.info)
            if data is not None and member.info.size:
                _copy(data, handle, member.info.size)
            if self._privileged:
                os.fchown(handle, *_owner(member.info))
            os.fchmod(handle, member.info.mode & 0o7777)
            self._set_attributes(handle, member.info)
            os.utime(handle, (member.info.mtime, member.info.mtime))
        finally:
            os.close(handle)

    def _add_link(self, parent: int, name: str, info: tarfile.TarInfo) -> None:
        target = parts_of(info.linkname)
        if not target:
            raise BadArchive(f"entry {info.name!r}: a hard link to the root folder")
        holder = beneath.open_in_root(self._root, "/".join(target[:-1]), os.O_PATH | os.O_DIRECTORY)
        try:
            kind = _kind(holder, target[-1])
            if kind is None or not (stat.S_ISREG(kind) or stat.S_ISLNK(kind) or stat.S_ISFIFO(kind)):
                raise BadArchive(
                    f"entry {info.name!r}: a hard link to {info.linkname!r}, which is no file of this layer"
                )
            if not _same(holder, target[-1], parent, name):
                self._clear(parent, name)
                os.link(target[-1], name, src_dir_fd=holder, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(holder)

    def _white_out(self, parent: int, name: str) -> None:
        if name == OPAQUE_MARK:
            self._mark_opaque(parent)
            return
        hidden = name.removeprefix(WHITEOUT_PREFIX)
        if hidden.startswith(WHITEOUT_PREFIX):
            return  # other marks of the aufs format, without a meaning here
        if hidden in ("", ".", ".."):
            raise BadArchive(f"{name!r} hides nothing that could be there")
        kind = _kind(parent, hidden)
        if kind is None:
            os.mknod(hidden, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)
        elif stat.S_ISDIR(kind):
            handle = beneath.open_without_links(parent, hidden, os.O_RDONLY | os.O_DIRECTORY)
            self._mark_opaque(handle)
            os.close(handle)

    def _mark_opaque(self, handle: int) -> None:
        # Through /proc: `handle` may be an O_PATH one, which fsetxattr refuses.
        os.setxattr(f"/proc/self/fd/{handle}", self._opaque_attribute, b"y")

    def _own(self, parent: int, name: str, info: tarfile.TarInfo) -> None:
        if self._privileged:
            os.chown(name, *_owner(info), dir_fd=parent, follow_symlinks=False)
        os.utime(name, (info.mtime, info.mtime), dir_fd=parent, follow_symlinks=False)

    def _set_attributes(self, handle: int, info: tarfile.TarInfo) -> None:
        for key, value in info.pax_headers.items():
            name = key.removeprefix(XATTR_PREFIX)
            if name == key or not (name == "security.capability" or name.startswith("user.")):
                continue  # never trusted.overlay.*, which would steer the overlay
            if name.startswith("user.overlay.") or (not self._privileged and name.startswith("security.")):
                continue
            os.setxattr(handle, name, value.encode("utf-8", "surrogateescape"))

    @contextmanager
    def _parent(self, parts: tuple[str, ...]) -> Iterator[int]:
        handle = self._open_folder(parts)
        try:
            yield handle
        finally:
            os.close(handle)

    def _open_folder(self, parts: tuple[str, ...]) -> int:
        try:
            return beneath.open_in_root(self._root, "/".join(parts), os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            holder = self._open_folder(parts[:-1])
        try:
            kind = _kind(holder, parts[-1])
            os.mkdir(parts[-1], 0o755, dir_fd=holder) if kind is None else None
        finally:
            os.close(holder)
        return beneath.open_in_root(self._root, "/".join(parts), os.O_PATH | os.O_DIRECTORY)

    @staticmethod
    def _clear(parent: int, name: str) -> None:
        """Remove what an earlier entry of the same name left."""
        kind = _kind(parent, name)
        if kind is None:
            return
        if stat.S_ISDIR(kind):
            readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
            try:
                shutil.rmtree(name, dir_fd=readable)
            finally:
                os.close(readable)
        else:
            os.unlink(name, dir_fd=parent)


def _kind(parent: int, name: str) -> int | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None


def _same(holder: int, target: str, parent: int, name: str) -> bool:
    if _kind(parent, name) is None:
        return False
    one = os.stat(target, dir_fd=holder, follow_symlinks=False)
    return os.path.samestat(one, os.stat(name, dir_fd=parent, follow_symlinks=False))


def _owner(info: tarfile.TarInfo) -> tuple[int, int]:
    if not (0 <= info.uid < 0xFFFFFFFF and 0 <= info.gid < 0xFFFFFFFF):
        raise BadArchive(f"entry {info.name!r}: owner {info.uid}:{info.gid} is out of range")
    return info.uid, info.gid


def _copy(data: "tarfile.ExFileObject | object", handle: int, size_bytes: int) -> None:
    source = cast(BinaryIO, data)
    while size_bytes > 0:
        piece = source.read(min(size_bytes, 1 << 20))
        if not piece:
            raise BadArchive("the archive ends in the middle of a file")
        size_bytes -= len(piece)
        view = memoryview(piece)
        while view:
            view = view[os.write(handle, view) :]


def main(arguments: list[str]) -> int:
    """`unpack ARCHIVE FOLDER`: in a process of its own, so that a big layer does not hold up its parent's event loop.

    Prints the result as JSON; on failure prints the reason to standard error and returns 1.
    """
    try:
        with open(arguments[0], "rb") as source:
            done = unpack(source, Path(arguments[1]))
    except (BadArchive, OSError) as error:
        sys.stderr.write(str(error))
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(done))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
