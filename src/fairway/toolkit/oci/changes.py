"""What running something changed in an image: the whole file system afterwards against the layers before."""

import hashlib
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from fairway.toolkit.oci.layers import Entry, Layer, write_layer
from fairway.toolkit.oci.store import Image, ImageStore
from fairway.toolkit.oci.streams import BadArchive

_PIECE_BYTES = 1 << 20
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
FILES_MAX = 500_000
BYTES_MAX = 4 << 30
OUTSIDE = frozenset(
    (
        *("dev", "fairway", "proc", "sys", "workspace", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab"),
        *("run/secrets", "var/run/secrets"),
    )
)
"""What the container's surroundings put there: no part of the image."""


class _File(msgspec.Struct, frozen=True):
    """What counts about a path; times do not."""

    kind: str
    mode: int
    uid: int
    gid: int
    content: str = ""
    """The digest of a file, the target of a link."""


def changed_layer(store: ImageStore, before: Image, archive: Path) -> Layer | None:
    """Store what an archive of everything has that `before` has not, and whiteouts for what it has no more.

    Devices and pipes are left out, hard links become files. None when nothing changed. Raises BadArchive, OSError.
    """
    try:
        old = _image(store, before)
        with tarfile.open(archive, "r:") as tar:
            entries = tuple(_changes(old, tar))
            return write_layer(store.blobs, entries) if entries else None
    except (tarfile.TarError, EOFError, RecursionError) as error:
        raise BadArchive(f"the files after RUN cannot be read: {error}") from error


def _image(store: ImageStore, image: Image) -> dict[str, _File]:
    """All paths of an image, its layers laid over one another."""
    found: dict[str, _File] = {}
    for layer in store.manifest(image.manifest_digest).layers:
        with store.blobs.open(layer.digest) as blob, tarfile.open(fileobj=blob, mode="r:*") as tar:
            members = [(path, member) for member in tar if (path := _path(member.name))]
            for path, _ in members:
                _hide(found, path)
            found |= {path: file for path, member in members if (file := _file(tar, member))}
    return found


def _hide(found: dict[str, _File], path: str) -> None:
    folder, _, name = path.rpartition("/")
    if not name.startswith(_WHITEOUT):
        return
    gone = folder if name == _OPAQUE else f"{folder}/{name.removeprefix(_WHITEOUT)}".lstrip("/")
    for other in [one for one in found if one.startswith(f"{gone}/") or (one == gone and name != _OPAQUE)]:
        del found[other]


def _changes(old: Mapping[str, _File], tar: tarfile.TarFile) -> Iterator[Entry]:
    members: dict[str, tarfile.TarInfo] = {}
    size_bytes = 0
    for count, member in enumerate(tar):
        size_bytes += member.size
        if count >= FILES_MAX or size_bytes > BYTES_MAX:
            raise BadArchive(f"after RUN the image has more than {FILES_MAX} files or {BYTES_MAX} bytes")
        if path := _path(member.name):
            members[path] = member
    new = {path: file for path, member in members.items() if (file := _file(tar, member))}
    changed = {path for path, file in new.items() if old.get(path) != file}
    gone = {path for path in old if path not in new and not _is_outside(path)}
    gone = {path for path in gone if path.rpartition("/")[0] not in gone}
    for path in {above for one in changed | gone for above in _above(one)} - changed:
        if path in new:  # as they are, so that the layer changes nothing about them
            yield _entry(tar, members[path], path, new[path])
    yield from (_entry(tar, members[path], path, new[path]) for path in changed)
    for path in gone:
        folder, _, name = path.rpartition("/")
        yield Entry(f"{folder}/{_WHITEOUT}{name}".lstrip("/"), mode=0o644, data=b"")


def _above(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _path(name: str) -> str:
    """Relative and plain; "" for the root and what is no part of the image. Raises BadArchive."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise BadArchive(f"{name[:100]!r} is not a path inside the image")
    path = "/".join(parts)
    return "" if _is_outside(path) else path


def _is_outside(path: str) -> bool:
    return path in OUTSIDE or any(above in OUTSIDE for above in _above(path))


def _file(tar: tarfile.TarFile, member: tarfile.TarInfo) -> _File | None:
    """None for what no layer is made of, and for whiteouts."""
    mode, uid, gid = member.mode & 0o7777, member.uid, member.gid
    if member.isdir():
        return _File("folder", mode, uid, gid)
    if member.issym():
        return _File("link", 0, 0, 0, member.linkname)
    if not (member.isreg() or member.islnk()) or member.name.rpartition("/")[2].startswith(_WHITEOUT):
        return None
    digest = hashlib.sha256()
    with _open(tar, member)() as data:
        while piece := data.read(_PIECE_BYTES):
            digest.update(piece)
    return _File("file", mode, uid, gid, digest.hexdigest())


def _entry(tar: tarfile.TarFile, member: tarfile.TarInfo, path: str, file: _File) -> Entry:
    if file.kind == "folder":
        return Entry(path, mode=file.mode, uid=file.uid, gid=file.gid)
    if file.kind == "link":
        return Entry(path, target=file.content)
    return Entry(path, mode=file.mode, uid=file.uid, gid=file.gid, source=_open(tar, member))


def _open(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Callable[[], BinaryIO]:
    def opened() -> BinaryIO:
        try:
            data = tar.extractfile(member)
        except KeyError:
            data = None
        if data is None:
            raise BadArchive(f"{member.name[:100]!r} is a link to nothing")
        return cast(BinaryIO, data)

    return opened
