"""What running something changed in an image: what a pod packed of its files against the layers before."""

import hashlib
import re
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from fairway.toolkit.oci.layers import XATTR_PREFIX, Entry, Layer, write_layer
from fairway.toolkit.oci.members import Limits, members
from fairway.toolkit.oci.store import Image, ImageStore
from fairway.toolkit.oci.streams import BadArchive, LayerReader

_PIECE_BYTES = 1 << 20
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_KEPT = re.compile(r"security\.capability\Z|user\.(?!overlay\.)")
_LIMITS = Limits()
FILES_MAX = 500_000
BYTES_MAX = 4 << 30


class Packed(msgspec.Struct, frozen=True):
    """What a pod says of its files.

    `archive`: everything that may have changed. `listing`: the paths of all there is, each ended by a null byte.
    `mounts`: the paths that were covered by something else, so that nothing is known of what is there.
    """

    archive: Path
    listing: Path
    mounts: tuple[str, ...] = ()


class _File(msgspec.Struct, frozen=True):
    """What counts about a path; times do not."""

    kind: str
    mode: int
    uid: int
    gid: int
    content: str = ""
    """The digest of a file, the target of a link."""
    attributes: tuple[tuple[str, str], ...] = ()


def changed_layer(store: ImageStore, before: Image, packed: Packed, *, latest: int | None = None) -> Layer | None:
    """Store what a pod has that `before` has not, and whiteouts for what it has no more.

    Devices and pipes are left out. Files keep their times, but none is later than `latest`. None when nothing
    changed. Raises BadArchive, OSError.
    """
    try:
        with tarfile.open(packed.archive, "r:") as tar:
            found = _members(tar)
            old = _image(store, before, found)
            entries = tuple(_changes(old, tar, found, packed, latest))
            return write_layer(store.blobs, entries) if entries else None
    except (tarfile.TarError, EOFError, RecursionError) as error:
        raise BadArchive(f"the files after RUN cannot be read: {error}") from error


def _members(tar: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    found: dict[str, tarfile.TarInfo] = {}
    size_bytes = 0
    for count, member in enumerate(tar):
        size_bytes += member.size
        if count >= FILES_MAX or size_bytes > BYTES_MAX:
            raise BadArchive(f"RUN changed more than {FILES_MAX} files or {BYTES_MAX} bytes; let it write less")
        if path := _path(member.name):
            found[path] = member
    return found


def _listed(listing: Path) -> frozenset[str]:
    names = listing.read_bytes().split(b"\0")
    if len(names) > 4 * FILES_MAX:
        raise BadArchive(f"after RUN there are more than {4 * FILES_MAX} files; let it write less")
    return frozenset(_path(name.decode("utf-8", "surrogateescape")) for name in names)


def _image(store: ImageStore, image: Image, wanted: Collection[str]) -> dict[str, _File]:
    """All paths of an image, its layers laid over one another; contents only of those that are wanted."""
    found: dict[str, _File] = {}
    for layer in store.manifest(image.manifest_digest).layers:
        fresh: dict[str, _File] = {}
        links: dict[str, str] = {}
        with store.blobs.open(layer.digest) as blob:
            for member in members(LayerReader(blob, _LIMITS.plain_bytes), _LIMITS):
                path = "/".join(member.parts)
                _hide(found, path)
                if member.info.islnk():
                    links[path] = "/".join(_parts(member.info.linkname))
                elif path and (file := _file(member.archive, member.info, is_wanted=path in wanted)):
                    fresh[path] = file
        fresh |= {path: fresh[target] for path, target in links.items() if target in fresh}
        _replace(found, fresh)
    return found


def _replace(found: dict[str, _File], fresh: Mapping[str, _File]) -> None:
    """Lay a layer over what is there: what is no folder any more holds nothing."""
    emptied = {path for path, file in fresh.items() if file.kind != "folder" and _kind(found, path) == "folder"}
    if emptied:
        for other in [one for one in found if any(above in emptied for above in _above(one))]:
            del found[other]
    found |= fresh


def _kind(found: Mapping[str, _File], path: str) -> str:
    return found[path].kind if path in found else ""


def _hide(found: dict[str, _File], path: str) -> None:
    folder, _, name = path.rpartition("/")
    if not name.startswith(_WHITEOUT):
        return
    gone = folder if name == _OPAQUE else f"{folder}/{name.removeprefix(_WHITEOUT)}".lstrip("/")
    for other in [one for one in found if one.startswith(f"{gone}/") or (one == gone and name != _OPAQUE)]:
        del found[other]


def _changes(
    old: Mapping[str, _File],
    tar: tarfile.TarFile,
    found: Mapping[str, tarfile.TarInfo],
    packed: Packed,
    latest: int | None,
) -> Iterator[Entry]:
    """The entries of the layer: what is new or other, the links that belong together, and whiteouts."""
    new = {path: file for path, member in found.items() if (file := _file(tar, member, is_wanted=True))}
    changed = {path for path, file in new.items() if old.get(path) != file}
    groups = _hard_links(found, new)
    for first, others in groups.items():
        if changed & {first, *others}:
            changed |= {first, *others}
    linked = {path: first for first, others in groups.items() for path in others}
    gone = _gone(old, new, packed)
    for path in {above for one in changed | gone for above in _above(one)} - changed:
        known = new.get(path) or old.get(path)
        if known is not None and known.kind == "folder":  # as it is, so that the layer changes nothing about it
            yield Entry(path, mode=known.mode, uid=known.uid, gid=known.gid)
    for path in changed:
        yield _entry(tar, found[path], path, new[path], linked.get(path), latest)
    for path in gone:
        folder, _, name = path.rpartition("/")
        yield Entry(f"{folder}/{_WHITEOUT}{name}".lstrip("/"), mode=0o644, data=b"")


def _gone(old: Mapping[str, _File], new: Mapping[str, _File], packed: Packed) -> set[str]:
    """What a whiteout must hide: the uppermost of what is no more there, unless something covered it."""
    listed = _listed(packed.listing) | frozenset(new)
    covered = frozenset("/".join(_parts(path)) for path in packed.mounts)
    gone = {path for path in old if path not in listed and not covered & {path, *_above(path)}}
    uppermost = {path for path in gone if path.rpartition("/")[0] not in gone}
    return {path for path in uppermost if _kind(new, path.rpartition("/")[0]) in ("", "folder")}


def _hard_links(found: Mapping[str, tarfile.TarInfo], new: Mapping[str, _File]) -> dict[str, set[str]]:
    groups: dict[str, set[str]] = {}
    for path, member in found.items():
        target = "/".join(_parts(member.linkname)) if member.islnk() else ""
        if target in new and path in new:
            groups.setdefault(target, set()).add(path)
    return groups


def _above(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".", "..")]


def _path(name: str) -> str:
    """Relative and plain; "" for the root. Raises BadArchive."""
    if ".." in name.split("/"):
        raise BadArchive(f"{name[:100]!r} is not a path inside the image")
    return "/".join(_parts(name))


def _file(tar: tarfile.TarFile, member: tarfile.TarInfo, *, is_wanted: bool) -> _File | None:
    """None for what no layer is made of, and for whiteouts. The content is read of what is wanted."""
    mode, uid, gid = member.mode & 0o7777, member.uid, member.gid
    if member.name.rpartition("/")[2].startswith(_WHITEOUT):
        return None
    if member.issym():
        return _File("link", 0, uid, gid, member.linkname)
    if member.isdir():
        return _File("folder", mode, uid, gid, "", _attributes(member))
    if not (member.isreg() or member.islnk()):
        return None
    digest = hashlib.sha256()
    data = _open(tar, member)()
    while piece := data.read(_PIECE_BYTES):  # also what is not wanted: an archive that is streamed must be read through
        if is_wanted:
            digest.update(piece)
    return _File("file", mode, uid, gid, digest.hexdigest(), _attributes(member))


def _attributes(member: tarfile.TarInfo) -> tuple[tuple[str, str], ...]:
    named = ((key.removeprefix(XATTR_PREFIX), value) for key, value in member.pax_headers.items())
    return tuple(sorted((name, value) for name, value in named if _KEPT.match(name)))


def _entry(
    tar: tarfile.TarFile, member: tarfile.TarInfo, path: str, file: _File, first: str | None, latest: int | None
) -> Entry:
    attributes = {name: value.encode("utf-8", "surrogateescape") for name, value in file.attributes}
    if file.kind == "folder":
        return Entry(path, mode=file.mode, uid=file.uid, gid=file.gid, attributes=attributes)
    mtime = max(int(member.mtime), 0)  # kept: caches of compilers compare the times of their sources
    mtime = mtime if latest is None else min(mtime, latest)
    if file.kind == "link":
        return Entry(path, target=file.content, uid=file.uid, gid=file.gid, mtime=mtime)
    made = Entry(path, mode=file.mode, uid=file.uid, gid=file.gid, mtime=mtime, attributes=attributes)
    if first is not None:
        return msgspec.structs.replace(made, hard=first, attributes={})
    return msgspec.structs.replace(made, source=_open(tar, member))


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
