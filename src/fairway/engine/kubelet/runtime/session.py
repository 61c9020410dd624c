"""A command inside a running container with somebody at the other end: `kubectl exec`.

The asking side gets the pipes, or the master of the terminal, as descriptors; no byte passes through this process. It
stays only to wait for the command and, when the asking side goes away, to end it with all its children.
"""

import os
import select
import socket

from fairway.engine.kubelet.runtime import joined, processes, wire
from fairway.engine.kubelet.runtime.program import Stdio
from fairway.toolkit import fds

_HANGUP_MILLISECONDS = 1000  # what a shell whose terminal was closed gets to end by itself


def serve(channel: socket.socket, run_dir: str, request: dict[str, object]) -> None:
    """Start the command, hand its streams over, and report its end."""
    try:
        pid, given = _with_terminal(run_dir, request) if request["tty"] else _with_pipes(run_dir, request)
    except (OSError, joined.ExecFailure) as error:
        wire.send(channel, {"error": str(error)})
        return
    try:
        wire.send(channel, {}, given)
    finally:
        for fd in given:
            os.close(fd)
        status = _wait(channel, pid, patient=bool(request["tty"]))
    if status is None:
        return
    code = os.waitstatus_to_exitcode(status)
    try:
        wire.send(channel, {"exit_code": code if code >= 0 else 128 - code})
    except ConnectionError:
        return  # nobody wants to know any more


def _with_terminal(run_dir: str, request: dict[str, object]) -> tuple[int, tuple[int, ...]]:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    pid = joined.start(run_dir, request, None, there)
    _, given = fds.receive(here, 1)
    here.close()
    there.close()
    return pid, given


def _with_pipes(run_dir: str, request: dict[str, object]) -> tuple[int, tuple[int, ...]]:
    stdout, write_stdout = os.pipe()
    stderr, write_stderr = os.pipe()
    stdin, write_stdin = os.pipe() if request["stdin"] else (None, None)
    pid = joined.start(run_dir, request, Stdio(stdin, write_stdout, write_stderr))
    for fd in (write_stdout, write_stderr, stdin):
        if fd is not None:
            os.close(fd)
    return pid, (stdout, stderr) if write_stdin is None else (stdout, stderr, write_stdin)


def _wait(channel: socket.socket, pid: int, *, patient: bool) -> int | None:
    """The wait status; None when the asking side went away first."""
    ended = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(channel, select.POLLRDHUP)
    left = ended not in [fd for fd, _ in poll.poll()]
    if left:
        poll.unregister(channel)
        if not (patient and poll.poll(_HANGUP_MILLISECONDS)):
            processes.kill_tree(pid)
    _, status = os.waitpid(pid, 0)
    return None if left else status
