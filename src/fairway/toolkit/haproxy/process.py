"""The HAProxy process: start it, replace it without losing a connection, find it again, notice its end.

It is a daemon on purpose: it serves on when the process that started it is gone, and can be adopted by the next one.
"""

import asyncio
import os
import re
import select
import signal
import subprocess
from pathlib import Path

from fairway.toolkit import command
from fairway.toolkit.haproxy.binary import Binary, Version
from fairway.toolkit.haproxy.errors import ConfigRefused, SocketUnreachable
from fairway.toolkit.haproxy.listening import held, listening
from fairway.toolkit.haproxy.runtime import RuntimeSocket

_START_SECONDS_MAX = 60.0
_LET_GO_SECONDS_MAX = 10.0
_LET_GO_STEP_SECONDS = 0.002


class Process:
    """HAProxy on the configuration `config` in `folder`; all names in that configuration are relative to it.

    `listeners` are open sockets that it inherits, `bind fd@N`. The configuration must have the runtime socket
    `unix@haproxy.sock`; where it binds addresses itself the socket needs `expose-fd listeners`.
    """

    def __init__(
        self, binary: Binary, folder: Path, *, listeners: tuple[int, ...] = (), config: str = "haproxy.cfg"
    ) -> None:
        self.socket = RuntimeSocket(folder)
        self.pid: int | None = None
        self._binary = binary
        self._folder = folder
        self._listeners = listeners
        self._config = config
        self._pidfd: int | None = None
        self._replaced: list[int] = []  # pidfds, because a number may meanwhile be somebody else

    @property
    def version(self) -> Version:
        """Of the program that is started."""
        return self._binary.version

    async def adopt(self) -> bool:
        """Take over the process that answers on the socket, if there is one."""
        try:
            pid = int((await self.socket.info())["Pid"])
        except (SocketUnreachable, KeyError, ValueError):
            return False
        return self._watch(pid)

    async def start(self) -> None:
        """Start a process; when one runs, the new one takes over and the old one finishes what it has.

        Returns when the new one listens and the old one accepts nothing more: what is asked from then on is answered by
        the new configuration. Raises ConfigRefused, and then the old one goes on as if nothing had happened.
        """
        old = self.pid if self.alive else None
        doors = listening(old) if old is not None else frozenset()
        arguments = ["-D", "-f", self._config, "-p", "haproxy.pid"]
        if self.pid is not None and self.alive:
            arguments += ["-sf", str(self.pid), *([] if self._listeners else ["-x", "haproxy.sock"])]
        await self._run(arguments)
        if old is not None:
            await _let_go(old, doors)
        self._retire()
        self._watch(int((self._folder / "haproxy.pid").read_text()))

    async def check(self) -> None:
        """Ask HAProxy what it thinks of the configuration, without touching what runs. Raises ConfigRefused."""
        await self._run(["-c", "-f", self._config])

    @property
    def alive(self) -> bool:
        return self._pidfd is not None and not _ended(self._pidfd)

    async def ended(self) -> None:
        """Wait until the process is gone; return at once when there is none. One that was replaced does not count."""
        while self._pidfd is not None:
            pid = self.pid
            await _wait(self._pidfd)
            if pid == self.pid:
                return

    def finish(self) -> None:
        """Have it take nothing new and end once what it has is done; it is no longer the current process."""
        if self._pidfd is not None and not _ended(self._pidfd):
            signal.pidfd_send_signal(self._pidfd, signal.SIGUSR1)
        self._retire()

    async def stop(self) -> None:
        """End it and those that it replaced, at once."""
        self._retire()
        for pidfd in self._replaced:
            if not _ended(pidfd):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                await _wait(pidfd)
        self.release()

    def release(self) -> None:
        """Forget all processes without ending them."""
        self._retire()
        for pidfd in self._replaced:
            os.close(pidfd)
        self._replaced.clear()

    def _watch(self, pid: int) -> bool:
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return False
        self._retire()
        self.pid, self._pidfd = pid, pidfd
        return True

    def _retire(self) -> None:
        """The current process becomes one that was replaced; those that have ended meanwhile are forgotten."""
        if self._pidfd is not None:
            self._replaced.append(self._pidfd)
        self._pidfd = self.pid = None
        for pidfd in [pidfd for pidfd in self._replaced if _ended(pidfd)]:
            self._replaced.remove(pidfd)
            os.close(pidfd)

    async def _run(self, arguments: list[str]) -> None:
        try:
            done = await command.run(
                [self._binary.path, *arguments],
                cwd=self._folder,
                pass_fds=self._listeners,
                new_session=True,
                timeout_seconds=_START_SECONDS_MAX,
            )
        except subprocess.TimeoutExpired:
            raise ConfigRefused(f"haproxy did not start within {_START_SECONDS_MAX:.0f} s") from None
        if done.returncode:
            raise ConfigRefused(_complaint(done.stderr.decode("utf-8", "replace")) or f"exit code {done.returncode}")


async def _let_go(pid: int, doors: frozenset[str]) -> None:
    """Wait until a process that was told to finish has closed its doors; one that is stuck is not waited for."""
    tries = int(_LET_GO_SECONDS_MAX / _LET_GO_STEP_SECONDS)
    while tries and not doors.isdisjoint(held(pid)):
        tries -= 1
        await asyncio.sleep(_LET_GO_STEP_SECONDS)


def _complaint(stderr: str) -> str:
    """The lines that say what is wrong."""
    joined = re.sub(r"\n[ \t]+", " ", stderr)  # from 3.0 on a complaint goes on over lines that are indented
    alerts = [line.partition(" : ")[2] for line in joined.splitlines() if "[ALERT]" in line]
    return "; ".join(alerts[:5])


def _ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)  # readable once it has ended, also while nobody has reaped it
    return bool(poll.poll(0))


async def _wait(pidfd: int) -> None:
    if _ended(pidfd):
        return
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    watched = os.dup(pidfd)
    loop.add_reader(watched, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(watched)
        os.close(watched)
