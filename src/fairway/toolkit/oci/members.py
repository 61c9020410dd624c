"""The entries of a layer archive, read forward within limits."""

import os
import tarfile
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import msgspec

from fairway.toolkit.oci.streams import BadArchive, LayerReader

_HEADER_BYTES_MAX = 4 << 20


class Limits(msgspec.Struct, frozen=True):
    """What one layer may cost."""

    plain_bytes: int = 32 << 30
    entries: int = 2_000_000
    path_bytes: int = 4096
    depth: int = 400


class Member:
    """A tar entry and the way to its bytes."""

    def __init__(self, info: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        self.info = info
        self.archive = archive
        self.parts = parts_of(info.name)


def members(reader: LayerReader, limits: Limits) -> Iterator[Member]:
    """Every entry in order; its bytes must be read before the next is asked for. Raises BadArchive, TarError."""
    reader.allow(_HEADER_BYTES_MAX)
    size_bytes = 0
    # Stream mode only ever reads forward; `allow` bounds what the parser may take for one header.
    with tarfile.open(fileobj=cast(BinaryIO, reader), mode="r|", bufsize=tarfile.RECORDSIZE * 8) as archive:
        for count, info in enumerate(archive):
            size_bytes += info.size
            _check(info, count, size_bytes, limits)
            reader.allow(info.size + _HEADER_BYTES_MAX)
            yield Member(info, archive)
            cast(Any, archive).members.clear()  # tarfile keeps every header otherwise
            reader.allow(_HEADER_BYTES_MAX)


def _check(info: tarfile.TarInfo, count: int, size_bytes: int, limits: Limits) -> None:
    if count >= limits.entries:
        raise BadArchive(f"the archive has more than {limits.entries} entries")
    if size_bytes > limits.plain_bytes:  # sparse files are larger than the archive
        raise BadArchive(f"the archive unpacks to more than {limits.plain_bytes} bytes")
    if "\0" in info.name or "\0" in info.linkname:
        raise BadArchive("the archive has a name with a null byte")
    if len(os.fsencode(info.name)) > limits.path_bytes or info.name.count("/") > limits.depth:
        raise BadArchive("the archive has an entry with an unreasonably long or deep name")


def parts_of(name: str) -> tuple[str, ...]:
    """A name as a path from the root; `..` never leads above it."""
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return tuple(parts)
