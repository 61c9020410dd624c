"""A person's repository, used through the real git, for tests of delivery."""

import asyncio
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

_SECONDS = 120


class Done(msgspec.Struct, frozen=True):
    """How a git command ended; `said` is its standard error, where git talks to people."""

    code: int
    output: str
    said: str


def write_branches(repository: Path, count: int, commit: str) -> None:
    """The same in a repository without a work tree. Starting git for each would take minutes."""
    names = sorted(f"refs/heads/b{number}" for number in range(count))
    rows = "".join(f"{commit} {name}\n" for name in names)
    (repository / "packed-refs").write_text(f"# pack-refs with: peeled fully-peeled sorted \n{rows}")


class Work:
    """A folder with a repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.git("init", "-q", "-b", "main")
        self.git("config", "core.fsync", "none")

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run a command that must end well."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment(),
            input=stdin,
            capture_output=True,
            check=True,
            timeout=_SECONDS,
        )
        return done.stdout.decode().strip()

    async def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Done:
        """Run a command that may end as it likes, while the event loop goes on."""
        process = await self.start(*arguments, environment=environment)
        async with asyncio.timeout(_SECONDS):
            output, said = await process.communicate()
        return Done(process.returncode or 0, output.decode(), said.decode())

    async def start(self, *arguments: str, environment: Mapping[str, str] | None = None) -> asyncio.subprocess.Process:
        """A command, running."""
        return await asyncio.create_subprocess_exec(
            *self.command(*arguments),
            cwd=self.folder,
            env={**self.environment(), **(environment or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )

    def command(self, *arguments: str) -> Sequence[str]:
        return ("git", *arguments)

    def environment(self) -> dict[str, str]:
        who = {"NAME": "A Person", "EMAIL": "person@example.com", "DATE": "2026-01-01T00:00:00Z"}
        named = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}
        plain = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}
        return {**plain, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", **named}

    def commit(self, message: str = "a change", **files: str) -> str:
        """Write files and commit all there is; returns the commit."""
        for name, text in files.items():
            (self.folder / name).write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def branches(self, count: int, commit: str) -> None:
        """So many branches `b0`, `b1`, … of one commit, written as git itself packs them."""
        write_branches(self.folder / ".git", count, commit)

    def blob(self, data: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", stdin=data)

    def tree(self, *rows: tuple[str, str, bytes]) -> str:
        """A tree written byte by byte, so that no check of git's is in the way: (mode, id, name)."""
        data = b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(held) for mode, held, name in rows)
        return self.git("hash-object", "-w", "-t", "tree", "--literally", "--stdin", stdin=data)

    def commit_tree(self, tree: str) -> str:
        """Make a tree the head of `main`."""
        commit = self.git("commit-tree", tree, "-m", "made by hand")
        self.git("update-ref", "refs/heads/main", commit)
        return commit
