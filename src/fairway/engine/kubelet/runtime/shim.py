"""The process beside one container: starts it, writes its log, waits for it, records how it ended.

It depends on nobody: zygote and engine may be killed and the container and its log go on. When the shim itself is
killed, the kernel kills the container (PR_SET_PDEATHSIG), so none runs unwatched.
"""

import json
import os
import select
import socket
import time

from fairway.engine.kubelet.runtime import cgroups, container, processes, records, sandbox, wire
from fairway.engine.kubelet.runtime.logs import LogFile, Stream, timestamp
from fairway.engine.kubelet.runtime.privileges import UnknownCapability
from fairway.toolkit import linux

_CHUNK_BYTES = 64 * 1024
_MOST_LAST_CHUNKS = 64  # more than a pipe holds: a leaked writing end must not keep the shim for ever
_START_FAILED = 128  # the exit code that containerd gives a program that never ran


def serve(channel: socket.socket, run_dir: str, encoded: str) -> None:
    """Start the container of a spec, answer with its state, then stay until it has ended."""
    spec = wire.Spec(encoded)
    records.create(run_dir, spec.id, encoded)
    linux.set_process_name(f"shim {spec.id}")
    state = records.StateFile(spec.state_path, spec.id)
    state.write("created")
    group = cgroups.Group(cgroups.Layout(), spec.cgroup)
    try:
        log = LogFile(spec.log_path)
        joined = sandbox.Handles(run_dir, spec.sandbox)
        group.create(spec.limits)
        running = _start(spec, joined, group, channel)
    except (OSError, UnknownCapability, _StartFailed) as error:
        group.remove()
        wire.send(channel, {"state": _failed(state, str(error))})
        return
    ticks = processes.start_ticks(running.pid)
    started = timestamp(time.time_ns())
    answer = state.write("running", pid=running.pid, pid_start_ticks=ticks, started_at=started)
    _answer(channel, {"state": answer})
    _follow(running, log)
    _, status = os.waitpid(running.pid, 0)
    state.write("exited", **records.exit_fields(status, group.oom_kills() > 0, time.time_ns()))
    group.remove()


class _StartFailed(Exception):
    """The container could not be made or its program not executed."""


class _Running:
    """A started container: its process 1 and the reading ends of its output."""

    def __init__(self, pid: int, stdout: int, stderr: int) -> None:
        self.pid = pid
        self.stdout = stdout
        self.stderr = stderr


def _answer(channel: socket.socket, message: dict[str, object]) -> None:
    try:
        wire.send(channel, message)
    except OSError:
        pass  # the engine was killed meanwhile; it will find the state on disk
    channel.close()


def _failed(state: records.StateFile, message: str) -> dict[str, object]:
    ended = timestamp(time.time_ns())
    return state.write("failed", exit_code=_START_FAILED, reason="StartError", message=message, finished_at=ended)


def _start(spec: wire.Spec, joined: sandbox.Handles, group: cgroups.Group, channel: socket.socket) -> _Running:
    """Fork process 1 of a new PID namespace and wait until its program runs."""
    who = container.identity(spec)
    entrances = group.entrances()
    stdout, write_stdout = os.pipe()
    stderr, write_stderr = os.pipe()
    report, write_report = os.pipe()
    linux.unshare(linux.CLONE_NEWPID)
    pid = os.fork()
    if pid == 0:
        channel.close()
        container.become(spec, joined, entrances, who, (write_stdout, write_stderr), write_report)
    for fd in (write_stdout, write_stderr, write_report, *entrances):
        os.close(fd)
    with os.fdopen(report, "rb") as file:
        problem = file.read()
    if problem:
        os.waitpid(pid, 0)
        raise _StartFailed(json.loads(problem))
    return _Running(pid, stdout, stderr)


def _follow(running: _Running, log: LogFile) -> None:
    """Write the log until process 1, and with it the whole container, has ended and its pipes are empty."""
    streams = {running.stdout: Stream("stdout", log), running.stderr: Stream("stderr", log)}
    ended = os.pidfd_open(running.pid)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    for fd in streams:
        os.set_blocking(fd, False)
        poll.register(fd, select.POLLIN)
    alive = True
    while alive:
        ready = [fd for fd, _ in poll.poll()]
        alive = ended not in ready
        for fd in ready:
            if fd in streams and not _read(fd, streams[fd]):
                poll.unregister(fd)
    for fd, stream in streams.items():
        for _ in range(_MOST_LAST_CHUNKS):
            if not _read(fd, stream):
                break
        stream.close()


def _read(fd: int, stream: Stream) -> bool:
    """Copy what is there; False when there is nothing more, now or for ever."""
    try:
        data = os.read(fd, _CHUNK_BYTES)
    except BlockingIOError:
        return False
    stream.feed(data)
    return bool(data)
