"""The files of an image as something to copy from: its layers as one tree, seen as a container would see it."""

import os
import posixpath
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from fairway.toolkit.oci.context import ContextError, Source, glob
from fairway.toolkit.oci.stack import look, names_in, open_place
from fairway.toolkit.oci.store import Image

_KEPT = re.compile(r"security\.capability\Z|user\.(?!overlay\.)")


class ImageTree:
    """What `Context` is for a folder: nothing outside the image's own layers is ever opened."""

    def __init__(self, image: Image, shown: str) -> None:
        """`shown` is what messages call it."""
        self._layers: tuple[str | Path, ...] = image.layers
        self._shown = shown

    def match(self, pattern: str) -> tuple[Source, ...]:
        """What a COPY source names, sorted; a pattern may have * ? [ ]. Raises ContextError."""
        path = posixpath.normpath(f"/{pattern}").lstrip("/")
        if not path:
            return (Source("", stat.S_IFDIR | 0o755, exact=True),)
        if not any(char in path for char in "*?["):
            return (self._followed(path, pattern),)
        wanted = re.compile(glob(path) + r"\Z")
        top = path.partition("/")[0]
        begin = "" if any(char in top for char in "*?[") else look(self._layers, top).path
        found = [one.path for one in self._below(begin, path.count("/")) if wanted.match(one.path)]
        if not found:
            raise ContextError(f"no file in {self._shown} matches {pattern!r}")
        return tuple(self._followed(one, one) for one in found)

    def walk(self, top: Source) -> Iterator[Source]:
        """Everything below a folder that layers can have, folders before what they contain."""
        for source in self._below(top.path, None):
            if stat.S_ISREG(source.mode) or source.is_folder or source.link is not None:
                yield source

    def opener(self, source: Source) -> Callable[[], BinaryIO]:
        """Opens the file later, still inside the layers."""

        def open_file() -> BinaryIO:
            handle = open_place(self._layers, source.path)
            if handle is None:
                raise ContextError(f"{source.path!r} is not in {self._shown} any more")
            try:
                return open(f"/proc/self/fd/{handle}", "rb")
            finally:
                os.close(handle)

        return open_file

    def _followed(self, path: str, pattern: str) -> Source:
        """A named source; links are followed, absolute ones from the image's own root."""
        place = look(self._layers, path)
        found = self._source(place.path) if place.mode is not None else None
        if found is None:
            raise ContextError(f"{pattern!r} is not in {self._shown}")
        if not (stat.S_ISREG(found.mode) or found.is_folder):
            raise ContextError(f"{pattern!r} in {self._shown} is neither a file nor a folder; it cannot be copied")
        return msgspec.structs.replace(found, name=posixpath.basename(path))

    def _below(self, top: str, depth: int | None) -> Iterator[Source]:
        for name in names_in(self._layers, top):
            source = self._source(f"{top}/{name}" if top else name)
            if source is None:
                continue
            yield source
            if source.is_folder and depth != 0:
                yield from self._below(source.path, None if depth is None else depth - 1)

    def _source(self, path: str) -> Source | None:
        handle = open_place(self._layers, path)
        if handle is None:
            return None
        try:
            found = os.fstat(handle)
            link = os.readlink("", dir_fd=handle) if stat.S_ISLNK(found.st_mode) else None
            attributes = {} if link is not None else _attributes(handle)
        finally:
            os.close(handle)
        owner, mtime = (found.st_uid, found.st_gid), int(found.st_mtime)
        return Source(path, found.st_mode, link, "", True, owner, mtime, attributes)


def _attributes(handle: int) -> dict[str, bytes]:
    """Through /proc: the handle is an O_PATH one."""
    place = f"/proc/self/fd/{handle}"
    return {name: os.getxattr(place, name) for name in os.listxattr(place) if _KEPT.match(name)}
