"""Files of a checked tree, written into a folder or into an archive."""

import asyncio
import os
import tarfile
import zlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from fairway.delivery.git.blobs import blobs
from fairway.delivery.git.errors import GitFailed, SourceError
from fairway.delivery.git.objects import Entry
from fairway.delivery.git.plan import Tree
from fairway.delivery.git.process import Git
from fairway.toolkit import files

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TAR_BLOCK_BYTES = 512
_COMPRESSED_BYTES_MIN = 256 * 1024
_LEVEL = 1
_GZIP = 31


async def write(git: Git, repository: Path, tree: Tree, destination: Path) -> None:
    """Files first and links last, so that no file can be written through a link. Raises SourceError, OSError."""
    destination.mkdir(parents=True, exist_ok=True, mode=0o755)
    if any(destination.iterdir()):
        raise SourceError(f"the folder {destination.name} for the checkout is not empty")
    await asyncio.to_thread(_make_folders, destination, tree)
    await _write_files(git, repository, tree, destination)
    await asyncio.to_thread(_make_links, destination, tree)


def _make_folders(destination: Path, tree: Tree) -> None:
    for folder in sorted({str(Path(name).parent) for name in (*(one.name for one in tree.files), *tree.links)}):
        (destination / folder).mkdir(parents=True, exist_ok=True, mode=0o755)


def _make_links(destination: Path, tree: Tree) -> None:
    for name, target in tree.links.items():
        (destination / name).symlink_to(target)


async def _write_files(git: Git, repository: Path, tree: Tree, destination: Path) -> None:
    file: int | None = None
    current: Entry | None = None
    try:
        async with aclosing(blobs(git, repository, tree.files)) as pieces:
            async for entry, data in pieces:
                if entry is not current:
                    if file is not None:
                        opened, file = file, None
                        os.close(opened)
                    file, current = _open(destination, entry), entry
                assert file is not None
                files.write_all(file, data)
    except GitFailed as error:
        raise SourceError(f"the files cannot be read: {error}") from error
    finally:
        if file is not None:
            os.close(file)


def _open(destination: Path, entry: Entry) -> int:
    return os.open(destination / entry.name, _FLAGS, 0o755 if entry.executable else 0o644)


async def tarball(git: Git, repository: Path, tree: Tree) -> AsyncGenerator[bytes, None]:
    """The bytes depend on nothing but the tree: no times, no owners. Raises SourceError."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    waiting = bytearray()
    try:
        async with aclosing(_tar(git, repository, tree)) as pieces:
            async for piece in pieces:
                waiting += piece
                if len(waiting) >= _COMPRESSED_BYTES_MIN:
                    data, waiting = bytes(waiting), bytearray()
                    if packed := await asyncio.to_thread(packer.compress, data):
                        yield packed
    except GitFailed as error:
        raise SourceError(f"the files cannot be read: {error}") from error
    yield packer.compress(bytes(waiting)) + packer.flush()


async def _tar(git: Git, repository: Path, tree: Tree) -> AsyncGenerator[bytes, None]:
    current: Entry | None = None
    async with aclosing(blobs(git, repository, tree.files)) as pieces:
        async for entry, data in pieces:
            if entry is not current:
                if current is not None:
                    yield _padding(current.size_bytes)
                current = entry
                yield _header(entry.name, size_bytes=entry.size_bytes, mode=0o755 if entry.executable else 0o644)
            yield data
    if current is not None:
        yield _padding(current.size_bytes)
    for name, target in sorted(tree.links.items()):
        yield _header(name, target=target)
    yield bytes(2 * _TAR_BLOCK_BYTES)


def _header(name: str, *, size_bytes: int = 0, mode: int = 0o777, target: str = "") -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size_bytes, mode
    if target:
        member.type, member.linkname = tarfile.SYMTYPE, target
    return member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _padding(size_bytes: int) -> bytes:
    return bytes(-size_bytes % _TAR_BLOCK_BYTES)
