"""Process 1 of the cluster: holds the listening sockets, starts the engine and the zygote, reaps, restarts.

When it ends, the kernel ends every process, link, rule and mount of the cluster with it. It ends when it is told to,
when the launcher dies (PR_SET_PDEATHSIG), or when the launcher's lifeline pipe closes.
"""

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from fairway.toolkit import linux

CGROUPS = Path("/sys/fs/cgroup")
RUN_DIR = Path("/run/fairway")
ZYGOTE_SOCKET = RUN_DIR / "zygote.sock"
_BACKOFF_SECONDS_MAX = 5.0
_STABLE_SECONDS = 10.0
_ENGINE_AHEAD_SECONDS = 0.3
_STOP_SECONDS = 2.5  # with what the kernel and the launcher need afterwards, `fairway down` stays below 3 s


class Program(msgspec.Struct):
    """One child that is kept running."""

    name: str
    arguments: tuple[str, ...]
    fds: Mapping[str, int]
    pid: int = 0
    started: float = 0.0
    backoff_seconds: float = 0.05
    restart_at: float = 0.0


def prepare_namespaces(groups: Path = CGROUPS) -> None:
    """Make the new mount namespace ours: nothing propagates out, /proc is ours, /run hides the host's sockets.

    `groups` is the part of the control groups that is lent to us: the only one in sight.
    """
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    if groups != CGROUPS:
        linux.mount(str(groups), str(CGROUPS), None, linux.MS_BIND)
    linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    linux.mount("tmpfs", "/run", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=0755")
    RUN_DIR.mkdir(mode=0o711)
    socket.sethostname("fairway")


def run(programs: tuple[Program, ...], lifeline: int) -> None:
    """Keep the programs running until told to stop; never returns."""
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    stopping = False
    while not stopping:
        _reap(programs)
        wait_seconds = _start_due(programs)
        readable, _, _ = select.select([wake_read, lifeline], [], [], wait_seconds)
        if wake_read in readable:
            signals = os.read(wake_read, 4096)
            stopping = signal.SIGTERM in signals or signal.SIGINT in signals
        if lifeline in readable:
            stopping = True  # nothing is ever written to it: readable means closed
    _stop(programs)
    os._exit(0)


def _start_due(programs: tuple[Program, ...]) -> float | None:
    """Start what should run and may; returns the seconds until the next one may, None when all run."""
    now = time.monotonic()
    waits = []
    for program in programs:
        if program.pid:
            continue
        if program.restart_at > now:
            waits.append(program.restart_at - now)
        else:
            program.pid, program.started = _spawn(program), now
    return min(waits) if waits else None


def _spawn(program: Program) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        for fd in program.fds.values():
            os.set_inheritable(fd, True)
        named = ",".join(f"{name}={fd}" for name, fd in program.fds.items())
        environment = {**os.environ, "FAIRWAY_FDS": named}
        os.execve(program.arguments[0], program.arguments, environment)
    except OSError as error:
        print(f"fairway: cannot start {program.name}: {error}", file=sys.stderr, flush=True)
    os._exit(127)


def _reap(programs: tuple[Program, ...]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        for program in programs:
            if program.pid == pid:
                _note_exit(program, status)


def _note_exit(program: Program, status: int) -> None:
    ran_seconds = time.monotonic() - program.started
    backoff = 0.05 if ran_seconds > _STABLE_SECONDS else min(program.backoff_seconds * 2, _BACKOFF_SECONDS_MAX)
    program.backoff_seconds = backoff
    program.restart_at = time.monotonic() + (0 if ran_seconds > _STABLE_SECONDS else backoff)
    program.pid = 0
    code = os.waitstatus_to_exitcode(status)
    print(f"level=warning room=supervisor did=restart program={program.name} exit={code}", file=sys.stderr, flush=True)


def _stop(programs: tuple[Program, ...]) -> None:
    """The engine first, so that it restarts nothing; then containers get SIGTERM; the kernel ends what is left.

    The engine may still be ending its streams when the containers are told: all together takes `_STOP_SECONDS` at most.
    """
    deadline = time.monotonic() + _STOP_SECONDS
    engine = [program.pid for program in programs if program.name == "engine" and program.pid]
    _terminate(engine)
    _wait_gone(lambda: _alive(engine), time.monotonic() + _ENGINE_AHEAD_SECONDS)
    _terminate(_contained())
    _wait_gone(lambda: _alive(engine) + _contained(), deadline)


def _terminate(pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass


def _alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def _contained() -> list[int]:
    """Processes in a PID namespace below ours: those of containers."""
    ours = os.stat("/proc/self/ns/pid").st_ino
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                if os.stat(f"/proc/{name}/ns/pid").st_ino != ours:
                    found.append(int(name))
            except OSError:
                pass
    return found


def _wait_gone(remaining: Callable[[], list[int]], deadline: float) -> None:
    while time.monotonic() < deadline:
        while True:
            try:
                if not os.waitpid(-1, os.WNOHANG)[0]:
                    break
            except ChildProcessError:
                break
        if not remaining():
            return
        time.sleep(0.01)
