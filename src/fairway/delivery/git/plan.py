"""Which files of a commit may be written, decided before anything is: paths, links, numbers and sizes."""

from collections.abc import Mapping, Sequence

import msgspec

from fairway.delivery.git.errors import SourceError, printable
from fairway.delivery.git.names import path_problem
from fairway.delivery.git.objects import LINK, SUBMODULE, Entry

__all__ = ["Bounds", "Tree", "checked", "count_problem", "path_problem"]

_NOTES_MAX = 20
_HOPS_MAX = 40


class Bounds(msgspec.Struct, frozen=True):
    """What one tree may have."""

    files: int
    depth: int
    bytes: int


class Tree(msgspec.Struct, frozen=True):
    """What is to be written: files, links with their targets, and notes about what is left out."""

    files: tuple[Entry, ...]
    links: Mapping[str, str]
    notes: tuple[str, ...] = ()


def count_problem(count: int, bounds: Bounds) -> str:
    """Why so many files are too many."""
    return f"the commit has more than {bounds.files} files; that is the limit" if count > bounds.files else ""


def checked(entries: Sequence[Entry], targets: Mapping[str, str], bounds: Bounds) -> Tree:
    """Raises SourceError, with the path and the limit."""
    wanted = tuple(entry for entry in entries if entry.kind != SUBMODULE)
    _check_names(wanted, bounds)
    _check_sizes(wanted, bounds)
    for name in targets:
        _check_link(name, targets)
    skipped = [entry.name for entry in entries if entry.kind == SUBMODULE]
    files = tuple(entry for entry in wanted if entry.kind != LINK)
    return Tree(files, dict(targets), _notes(skipped))


def _notes(submodules: Sequence[str]) -> tuple[str, ...]:
    """A hostile commit may have thousands of them."""
    shown = [f"{printable(name)} is a submodule and was left out" for name in submodules[:_NOTES_MAX]]
    more = len(submodules) - len(shown)
    return (*shown, *((f"and {more} more submodules",) if more else ()))


def _check_names(entries: Sequence[Entry], bounds: Bounds) -> None:
    leaves: set[str] = set()
    folders: set[str] = set()
    for entry in entries:
        if problem := path_problem(entry.name):
            raise SourceError(f"the path {printable(entry.name)} {problem}")
        parts = entry.name.split("/")
        if len(parts) > bounds.depth:
            raise SourceError(f"the path {printable(entry.name)} is more than {bounds.depth} folders deep")
        if entry.name in leaves:
            raise SourceError(f"the path {printable(entry.name)} is there twice")
        leaves.add(entry.name)
        folders.update("/".join(parts[:count]) for count in range(1, len(parts)))
    if both := leaves & folders:
        raise SourceError(f"the path {printable(min(both))} is a file and a folder")


def _check_sizes(entries: Sequence[Entry], bounds: Bounds) -> None:
    total = 0
    for entry in entries:
        total += entry.size_bytes
        if total > bounds.bytes:
            many = f"with {printable(entry.name)} ({entry.size_bytes} bytes) the files have {total} bytes"
            raise SourceError(f"{many}; the limit is {bounds.bytes}")


def _check_link(name: str, targets: Mapping[str, str]) -> None:
    """Follow it as the kernel would, through other links too: no step may leave the folder."""
    problem = _escape(name, targets)
    if problem:
        raise SourceError(f'the link {printable(name)} to "{printable(targets[name])[:200]}" {problem}')


def _escape(name: str, targets: Mapping[str, str]) -> str:
    here = name.split("/")[:-1]
    waiting = targets[name].split("/")[::-1]
    hops = 1
    if "\0" in targets[name] or not targets[name]:
        return "points to nothing that can be named"
    if targets[name].startswith("/"):
        return "is absolute; only links inside the folder are possible"
    while waiting:
        part = waiting.pop()
        if part == "..":
            if not here:
                return "leaves the folder; only links inside it are possible"
            here.pop()
            continue
        if part in ("", "."):
            continue
        target = targets.get("/".join((*here, part)))
        if target is None:
            here.append(part)
            continue
        hops += 1
        if hops > _HOPS_MAX:
            return "goes round in circles"
        if target.startswith("/"):
            return "reaches an absolute link; only links inside the folder are possible"
        waiting += target.split("/")[::-1]
    return ".git is git's own" if any(part.lower() == ".git" for part in here) else ""
