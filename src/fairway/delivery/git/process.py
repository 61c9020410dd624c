"""Git as a child process: no privileges, no configuration but ours, bounded in time, memory and output."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fairway.delivery.git.errors import GitFailed, TookTooLong
from fairway.delivery.git.limits import Limits

OWNER = 64900
"""User and group that own the repositories and run git, when we are root. Below 65536: user namespaces map that far."""

_PIECE_BYTES = 256 * 1024
_STDERR_BYTES_MAX = 64 * 1024
_BUFFER_BYTES = 1 << 20
_MOUNTED = "/mnt"
_NOFILE = 256
_GRACE_SECONDS = 2.0
_PATIENCE_SECONDS = 10.0
_PROCESSES_OF_OWNER = 512
_ENTER = f"""mount --rbind . {_MOUNTED} && cd {_MOUNTED} && exec "$@" """

_HARMLESS = ("zeroPaddedFilemode", "badTimezone", "badDateOverflow", "missingSpaceBeforeDate")
"""What old histories have, and nobody can repair without changing every commit."""

_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/false",
    "SSH_ASKPASS": "/bin/false",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_PROTOCOL_FROM_USER": "0",
    "GIT_ALLOW_PROTOCOL": "http:https",
    "GIT_DIR": ".",
}


def settings(limits: Limits) -> dict[str, str]:
    """The configuration of every git process. It comes by the environment, so that no file can change it."""
    return {
        "safe.directory": "*",
        "core.hooksPath": "/dev/null",
        "core.fsmonitor": "false",
        "core.fsync": "committed",
        "core.fsyncMethod": "batch",
        "core.bigFileThreshold": "16m",
        "core.packedGitWindowSize": "16m",
        "core.packedGitLimit": "256m",
        "core.deltaBaseCacheLimit": "32m",
        "pack.threads": "1",
        "pack.windowMemory": "64m",
        "transfer.fsckObjects": "true",
        **{f"{way}.fsck.{flaw}": "warn" for way in ("receive", "fetch") for flaw in _HARMLESS},
        "receive.maxInputSize": str(limits.push_bytes_max),
        "receive.autogc": "false",
        "receive.denyDeleteCurrent": "refuse",
        "receive.advertisePushOptions": "false",
        "receive.keepAlive": "5",
        "uploadpack.allowAnySHA1InWant": "false",
        "uploadpack.allowReachableSHA1InWant": "false",
        "uploadpack.allowFilter": "false",
        "uploadpack.keepAlive": "5",
        "gc.auto": "0",
        "maintenance.auto": "false",
        "credential.helper": "",
        "fetch.recurseSubmodules": "false",
        "http.followRedirects": "false",
        "http.lowSpeedLimit": "1000",
        "http.lowSpeedTime": "30",
    }


def _as_environment(configuration: Mapping[str, str]) -> dict[str, str]:
    made = {"GIT_CONFIG_COUNT": str(len(configuration))}
    for number, (key, value) in enumerate(configuration.items()):
        made |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return made


class Child:
    """One running git process."""

    def __init__(self, process: asyncio.subprocess.Process, name: str, *, patient: bool = False) -> None:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        self._process = process
        self._name = name
        self._patient = patient
        self.stdin = process.stdin
        self.stdout = process.stdout
        self._stderr = asyncio.create_task(_tail(process.stderr))

    async def write(self, data: bytes) -> bool:
        """Feed it; False once it takes no more."""
        try:
            self.stdin.write(data)
            await self.stdin.drain()
        except (OSError, RuntimeError):  # uvloop raises RuntimeError for a pipe that closed since
            return False
        return True

    async def pieces(self) -> AsyncIterator[bytes]:
        """What it writes, to its end."""
        while data := await self.stdout.read(_PIECE_BYTES):
            yield data

    async def end(self) -> str:
        """Wait for its good end; returns what it said on standard error. Raises GitFailed."""
        self.stdin.close()
        code = await self._process.wait()
        said = await self._stderr
        if code != 0:
            raise GitFailed(f"git {self._name} ended with {code}", said)
        return said

    async def kill(self) -> None:
        """End it and all that it started: git gets a moment to remove its lock files and what it has half written.

        A patient one first sees the end of its input: of a signal its processes would each clean up at once, and
        leave what the others still write.
        """
        self.stdin.close()
        try:
            if not (self._patient and await self._ended(_PATIENCE_SECONDS)):
                self._signal(signal.SIGTERM)
                if not await self._ended(_GRACE_SECONDS):
                    self._signal(signal.SIGKILL)
                    await self._process.wait()
        finally:
            self._stderr.cancel()
            # The pipes close by themselves when their end is read; a loop that ends before that would leave them open.
            self._process._transport.close()  # type: ignore[attr-defined]  # asyncio has no public way to say so

    async def _ended(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._process.wait()
        except TimeoutError:
            return False
        return True

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is not None:
            return  # the number may be another's by now
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            pass  # it ended meanwhile


async def _tail(stream: asyncio.StreamReader) -> str:
    """The end of what comes; the rest is dropped, so that nothing grows."""
    kept = b""
    while data := await stream.read(_PIECE_BYTES):
        kept = (kept + data)[-_STDERR_BYTES_MAX:]
    return kept.decode("utf-8", "replace")


class Git:
    """Starts git in a repository.

    As root, children become `OWNER`. Where that user cannot reach the repositories by their path, because a folder
    above them is closed, each child gets a mount namespace with its repository at a place it can reach.
    """

    def __init__(self, root: Path, limits: Limits) -> None:
        self.limits = limits
        self.drops = os.geteuid() == 0 and _is_mapped(OWNER)
        self._root = root
        self._slots = asyncio.Semaphore(limits.processes_max)

    def own(self, path: Path) -> None:
        """Give a file or folder to the user that runs git."""
        if self.drops:
            os.chown(path, OWNER, OWNER, follow_symlinks=False)

    def keep(self, path: Path) -> None:
        """Take a file or folder back: git's user may read it and not change it."""
        if self.drops:
            os.chown(path, os.geteuid(), os.getegid(), follow_symlinks=False)

    def own_all(self, folder: Path) -> None:
        """Give away a folder with all that is in it."""
        for path in (folder, *folder.rglob("*")):
            self.own(path)

    @asynccontextmanager
    async def start(
        self,
        arguments: Sequence[str],
        repository: Path,
        *,
        configuration: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
        file_bytes_max: int | None = None,
        as_owner: bool = True,
        patient: bool = False,
    ) -> AsyncIterator[Child]:
        """A child, which is killed with all it started if it still runs at the end of the block. Raises GitFailed.

        A patient one may end by itself first, when its input does. A turn comes when fewer than `processes_max` run.
        """
        told = {**settings(self.limits), **(configuration or {})}
        prefix = (*(self._prefix() if as_owner else ()), *self._limits(file_bytes_max))
        async with self._slots, _limited(arguments[0], timeout_seconds or self.limits.command_timeout_seconds):
            starting = asyncio.create_subprocess_exec(
                *prefix,
                "git",
                *arguments,
                cwd=repository,
                env={**_ENVIRONMENT, **_as_environment(told), **(environment or {})},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
                limit=_BUFFER_BYTES,
            )
            process = await _started(asyncio.ensure_future(starting))
            child = Child(process, arguments[0], patient=patient)
            try:
                yield child
            finally:
                await asyncio.shield(child.kill())

    async def output(
        self,
        arguments: Sequence[str],
        repository: Path,
        *,
        stdin: bytes = b"",
        bytes_max: int = 32 << 20,
        configuration: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
        file_bytes_max: int | None = None,
        as_owner: bool = True,
    ) -> bytes:
        """What a command writes. Raises GitFailed."""
        found = bytearray()
        async with self.start(
            arguments,
            repository,
            configuration=configuration,
            environment=environment,
            timeout_seconds=timeout_seconds,
            file_bytes_max=file_bytes_max,
            as_owner=as_owner,
        ) as child:
            if stdin:
                await child.write(stdin)
            child.stdin.close()
            async for piece in child.pieces():
                found += piece
                if len(found) > bytes_max:
                    raise GitFailed(f"git {arguments[0]} wrote more than {bytes_max} bytes")
            await child.end()
        return bytes(found)

    def _prefix(self) -> tuple[str, ...]:
        if not self.drops:
            return ()
        options = ("--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--pdeathsig=KILL")
        become = ("setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", *options)
        if all(parent.stat().st_mode & 0o001 for parent in (self._root, *self._root.resolve().parents)):
            return become
        return ("unshare", "--mount", "--propagation", "private", "sh", "-c", _ENTER, "sh", *become)

    def _limits(self, file_bytes_max: int | None) -> tuple[str, ...]:
        limits = self.limits
        bounds = [
            "prlimit",
            f"--cpu={limits.process_cpu_seconds}",
            f"--as={limits.process_memory_bytes}",
            f"--nofile={_NOFILE}",
            "--core=0",
            f"--fsize={file_bytes_max or limits.fetch_bytes_max}",
        ]
        if self.drops:  # else it would count all processes of the user who runs us
            bounds.append(f"--nproc={_PROCESSES_OF_OWNER}")
        return (*bounds, "--")


async def _started(starting: asyncio.Future[asyncio.subprocess.Process]) -> asyncio.subprocess.Process:
    """Not cancelled in the middle: asyncio would leave those pipes open that it has not come to yet."""
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        process = await starting
        await asyncio.shield(Child(process, "git", patient=False).kill())
        raise


@asynccontextmanager
async def _limited(name: str, seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise TookTooLong(f"git {name} took longer than {seconds:g} s") from None


def _is_mapped(uid: int) -> bool:
    """Whether this user namespace has that user at all."""
    rows = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return any(int(first) <= uid < int(first) + int(count) for first, _, count in rows)
