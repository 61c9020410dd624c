"""What git prints about objects, as values: trees and their entries."""

import re

from fairway.kube.api.noun import Noun

_ROW = re.compile(rb"(\d{6}) (blob|tree|commit) ([0-9a-f]{40,64}) +(\d+|-)\t(.*)", re.DOTALL)

LINK = "link"
SUBMODULE = "submodule"


class Entry(Noun, frozen=True):
    """One entry of a tree. `name` is a path where a listing goes into folders; `size_bytes` is 0 but for files, links.

    `kind` is file, folder, link or submodule; `mode` as git has it (33261, octal 100755, is an executable file).
    """

    name: str
    mode: int
    size_bytes: int
    kind: str
    id: str = ""

    @property
    def executable(self) -> bool:
        return self.mode & 0o111 != 0


def entry(row: bytes) -> Entry:
    """One row of `git ls-tree -z --long`. Raises ValueError."""
    found = _ROW.fullmatch(row)
    if found is None:
        raise ValueError("not a row of git ls-tree")
    mode, type_, object_id, size, name = found.groups()
    return Entry(
        name=name.decode("utf-8", "surrogateescape"),
        mode=int(mode, 8),
        size_bytes=0 if size == b"-" else int(size),
        kind=_kind(int(mode, 8), type_),
        id=object_id.decode(),
    )


def _kind(mode: int, type_: bytes) -> str:
    if type_ == b"tree":
        return "folder"
    if type_ == b"commit":
        return SUBMODULE
    return LINK if mode & 0o170000 == 0o120000 else "file"
