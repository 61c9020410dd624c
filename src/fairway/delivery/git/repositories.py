"""Bare repositories below one folder, one for each App, and what can be asked of them."""

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from fairway.delivery.git import checkout, fetch, guard, hooks, leftovers, names, refs
from fairway.delivery.git.errors import GitFailed, SourceError, printable
from fairway.delivery.git.limits import Limits
from fairway.delivery.git.objects import Entry, entry
from fairway.delivery.git.process import Git
from fairway.delivery.git.tree import Tree, read_tree
from fairway.kube.api.meta import ObjectKey
from fairway.toolkit import files

_SUBJECT_CHARS_MAX = 200
_CHECKOUT_BYTES_MAX = 2 << 30
_FOLDERS = ("branches", "hooks", "info", "objects/info", "objects/pack", "refs/heads", "refs/tags")
_CONFIG = b"[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"


class Repositories:
    """`root/<namespace>/<app>.git`. Contents are hostile: every answer is bounded, every path is checked.

    `allowed_hosts` are forges that may be asked although their addresses are in `networks`, where the cluster is, or
    this machine's (see guard.py); `local` lets `fetch` read folders of this machine, for tests.
    """

    def __init__(
        self,
        root: Path,
        *,
        limits: Limits | None = None,
        allowed_hosts: frozenset[str] = frozenset(),
        networks: guard.Networks | None = None,
        local: bool = False,
    ) -> None:
        self.limits = limits or Limits()
        self.root = root
        root.mkdir(parents=True, exist_ok=True, mode=0o755)
        self.git = Git(root, self.limits)
        allowed = guard.Allowed(allowed_hosts, networks) if networks else guard.Allowed(allowed_hosts)
        self._reach = fetch.Reach(allowed, local=local)
        self._locks: dict[ObjectKey, asyncio.Lock] = {}
        self._ready: set[Path] = set()
        self._making = asyncio.Lock()

    def path(self, key: ObjectKey) -> Path:
        """Where a repository is or would be. Raises SourceError for a name that Kubernetes would not have."""
        if not names.is_repository(key.namespace, key.name):
            raise SourceError(f"{printable(str(key))} is not a name of an App")
        return self.root / key.namespace / f"{key.name}.git"

    async def ensure(self, key: ObjectKey) -> Path:
        """Make the repository if there is none; returns its folder. Raises SourceError, OSError.

        The first time it is used, what a killed process may have left in it is cleared. Only one process may do so.
        """
        path = self.path(key)
        if path in self._ready and path.exists():
            return path
        async with self._making:  # nobody uses it before it is cleared
            if path not in self._ready or not path.exists():
                await asyncio.to_thread(self._make, path)
                self._ready.add(path)
        return path

    async def head(self, key: ObjectKey, branch: str) -> str | None:
        """The commit of a branch, if there is one. Costs no process."""
        if not names.is_branch(branch):
            return None
        return await asyncio.to_thread(refs.read, self.path(key), f"refs/heads/{branch}")

    async def subject(self, key: ObjectKey, commit: str) -> str:
        """The first line of a commit's message, cut, without control characters. Raises SourceError."""
        found = await self._ask(key, commit, "show", "-s", "--no-show-signature", "--format=%s", commit)
        return printable(found.decode("utf-8", "replace"))[:_SUBJECT_CHARS_MAX]

    async def fetch(
        self, key: ObjectKey, url: str, branch: str, login: fetch.Login | None = None, *, authority: str = ""
    ) -> str:
        """Get a branch from a forge, with its newest commit only; returns that commit. Raises SourceError, OSError.

        `authority` are PEM certificates to trust there instead of the public authorities.
        """
        if not names.is_branch(branch):
            raise SourceError(f'"{printable(branch)}" is not the name of a branch')
        path = await self.ensure(key)
        async with self._locks.setdefault(key, asyncio.Lock()):
            await fetch.fetch(self.git, path, fetch.Wish(url, branch, login, authority), self._reach)
        found = await self.head(key, branch)
        if found is None:
            raise SourceError(f'the branch "{branch}" went away while it was fetched')
        return found

    async def read_file(self, key: ObjectKey, commit: str, path: str, bytes_max: int = 1 << 20) -> bytes | None:
        """A file's bytes; None when there is no regular file. Raises SourceError when it is larger than `bytes_max`."""
        folder, _, name = path.rpartition("/")
        found = next((one for one in await self.entries(key, commit, folder) if one.name == name), None)
        if found is None or found.kind != "file":
            return None
        if found.size_bytes > bytes_max:
            size = f"it has {found.size_bytes} bytes; at most {bytes_max} are read"
            raise SourceError(f"{printable(path)} is too large: {size}")
        return await self._ask(key, commit, "cat-file", "blob", found.id, bytes_max=bytes_max)

    async def entries(self, key: ObjectKey, commit: str, path: str = "") -> tuple[Entry, ...]:
        """What a folder holds; nothing when there is no such folder. Raises SourceError."""
        if names.path_problem(path):
            return ()
        try:
            found = await self._ask(key, commit, "ls-tree", "-z", "--long", f"{commit}:{path}", missing_raises=True)
        except GitFailed:
            return ()
        return tuple(entry(row) for row in found.split(b"\0") if row)

    async def tree(self, key: ObjectKey, commit: str, path: str = "", *, bytes_max: int = _CHECKOUT_BYTES_MAX) -> Tree:
        """All that is below a folder, checked. Raises SourceError that names the path and the limit."""
        if not names.is_commit(commit):
            raise SourceError(f'"{printable(commit)[:80]}" is not the id of a commit')
        return await read_tree(self.git, self.path(key), commit, path.strip("/"), bytes_max)

    async def checkout(
        self, key: ObjectKey, commit: str, path: str, destination: Path, *, bytes_max: int = _CHECKOUT_BYTES_MAX
    ) -> tuple[str, ...]:
        """Write the files below `path` into `destination`, which must be empty or absent and nobody else's.

        Only files and links that stay inside; returns notes about what was left out. Raises SourceError, OSError.
        """
        tree = await self.tree(key, commit, path, bytes_max=bytes_max)
        await checkout.write(self.git, self.path(key), tree, destination)
        return tree.notes

    async def tarball(
        self, key: ObjectKey, commit: str, path: str = "", *, bytes_max: int = _CHECKOUT_BYTES_MAX
    ) -> AsyncIterator[bytes]:
        """The same files as a .tar.gz, the same bytes each time. Raises SourceError before the first piece."""
        tree = await self.tree(key, commit, path, bytes_max=bytes_max)
        async for piece in checkout.tarball(self.git, self.path(key), tree):
            yield piece

    async def remove(self, key: ObjectKey) -> None:
        """Take a repository away, at once for all who look. It is put aside for a week (see upkeep.py)."""
        path = self.path(key)
        self._ready.discard(path)
        await asyncio.to_thread(leftovers.put_aside, self.root, path)

    async def set_default_branch(self, key: ObjectKey, branch: str) -> None:
        """The branch that a clone checks out."""
        if names.is_branch(branch):
            await asyncio.to_thread(self._point, self.path(key) / "HEAD", f"ref: refs/heads/{branch}\n".encode())

    def apps(self) -> tuple[ObjectKey, ...]:
        """The Apps that have a repository."""
        found = self.root.glob("[a-z0-9]*/*.git")
        return tuple(sorted(ObjectKey(path.parent.name, path.name.removesuffix(".git")) for path in found))

    async def _ask(
        self, key: ObjectKey, commit: str, *arguments: str, bytes_max: int = 8 << 20, missing_raises: bool = False
    ) -> bytes:
        path = self.path(key)
        if not names.is_commit(commit):
            raise SourceError(f'"{printable(commit)[:80]}" is not the id of a commit')
        if not path.exists():
            raise SourceError(f"there is no repository {key}")
        try:
            return await self.git.output(arguments, path, bytes_max=bytes_max)
        except GitFailed as error:
            if missing_raises:
                raise
            raise SourceError(f"the commit {commit[:12]} cannot be read: {error}") from error

    def _make(self, path: Path) -> None:
        """All of it or nothing: it is made beside and moved to its place."""
        if path.exists():
            leftovers.clear(path)
            hooks.install(path)  # the one that is there may be of an older version of us
            return
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        scratch = _folder(self.root / leftovers.UNFINISHED) / secrets.token_hex(8)
        for name in _FOLDERS:
            (scratch / name).mkdir(parents=True)
        (scratch / "config").write_bytes(_CONFIG)
        (scratch / "HEAD").write_bytes(b"ref: refs/heads/main\n")
        self.git.own_all(scratch)
        (scratch / "hooks").chmod(0o755)
        self.git.keep(scratch / "hooks")
        hooks.install(scratch)
        try:
            scratch.rename(path)
        except OSError:
            shutil.rmtree(scratch)
            if not path.exists():
                raise

    def _point(self, head: Path, text: bytes) -> None:
        if head.read_bytes() != text:
            files.replace(head, text)
            self.git.own(head)


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True, mode=0o755)
    return path
