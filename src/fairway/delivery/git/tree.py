"""The tree of a commit, read in full and checked before anything is written."""

from contextlib import aclosing
from pathlib import Path

from fairway.delivery.git import plan
from fairway.delivery.git.blobs import blobs
from fairway.delivery.git.errors import GitFailed, SourceError, printable
from fairway.delivery.git.objects import LINK, Entry, entry
from fairway.delivery.git.plan import Bounds, Tree
from fairway.delivery.git.process import Git

__all__ = ["Tree", "read_tree"]

_LINK_BYTES_MAX = 4096


async def read_tree(git: Git, repository: Path, commit: str, path: str, bytes_max: int) -> Tree:
    """Raises SourceError."""
    if problem := plan.path_problem(path):
        raise SourceError(f"the folder {printable(path)} {problem}")
    bounds = Bounds(git.limits.files_max, git.limits.depth_max, bytes_max)
    try:
        found = await _entries(git, repository, f"{commit}:{path}", bounds)
        targets = await _targets(git, repository, tuple(one for one in found if one.kind == LINK))
    except GitFailed as error:
        where = f"the folder {printable(path)} of the commit" if path else "the commit"
        raise SourceError(f"{where} {commit[:12]} cannot be read: {error}") from error
    return plan.checked(found, targets, bounds)


async def _entries(git: Git, repository: Path, tree: str, bounds: Bounds) -> tuple[Entry, ...]:
    """Row by row: a small tree can unfold to any number of files, so it is stopped at the limit, not afterwards."""
    found: list[Entry] = []
    rest = b""
    async with git.start(("ls-tree", "-r", "-z", "--long", tree), repository) as child:
        async for piece in child.pieces():
            *rows, rest = (rest + piece).split(b"\0")
            found += [entry(row) for row in rows]
            if problem := plan.count_problem(len(found), bounds):
                raise SourceError(problem)
        await child.end()
    return tuple(found)


async def _targets(git: Git, repository: Path, links: tuple[Entry, ...]) -> dict[str, str]:
    """Where links point."""
    for link in links:
        if link.size_bytes > _LINK_BYTES_MAX:
            raise SourceError(f"the link {printable(link.name)} points to more than {_LINK_BYTES_MAX} bytes")
    found: dict[str, bytes] = {}
    async with aclosing(blobs(git, repository, links)) as pieces:
        async for link, data in pieces:
            found[link.name] = found.get(link.name, b"") + data
    return {name: data.decode("utf-8", "surrogateescape") for name, data in found.items()}
