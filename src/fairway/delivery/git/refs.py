"""Branches read from a repository's files, without a process."""

from collections.abc import Mapping
from pathlib import Path

from fairway.delivery.git import names


def read(repository: Path, ref: str) -> str | None:
    """The commit of a ref: loose if there is such a file, else packed (git packs before it removes the loose one)."""
    try:
        loose = (repository / ref).read_bytes().strip().decode("ascii", "replace")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return packed(repository).get(ref)
    return loose if names.is_commit(loose) else None


def packed(repository: Path) -> Mapping[str, str]:
    """The refs of `packed-refs`: rows of id and name; others are comments and what tags point to."""
    try:
        text = (repository / "packed-refs").read_bytes()
    except FileNotFoundError:
        return {}
    rows = (line.decode("utf-8", "surrogateescape").partition(" ") for line in text.splitlines())
    return {name: commit for commit, _, name in rows if names.is_commit(commit)}


def all_names(repository: Path) -> frozenset[str]:
    """Every branch and tag."""
    folder = repository / "refs"
    loose = (path.relative_to(repository).as_posix() for path in folder.rglob("*") if path.is_file())
    return frozenset((*loose, *packed(repository)))
