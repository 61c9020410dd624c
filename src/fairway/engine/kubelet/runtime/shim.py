"""The process beside one container: writes its log, waits for it, records how it ended.

It depends on nobody: zygote and engine may be killed and the container and its log go on. When the shim itself is
killed, the kernel kills the container (PR_SET_PDEATHSIG), so none runs unwatched. There is one per container, so it
does as little as it can before the end: see `starter`.
"""

import _socket
import os
import socket
import time

from fairway.engine.kubelet.runtime import attachment, cgroups, oci, records, starter
from fairway.engine.kubelet.runtime.console import Console
from fairway.engine.kubelet.runtime.logs import LogFile, Stream
from fairway.engine.kubelet.runtime.program import Stdio
from fairway.toolkit import fds, linux

_CHUNK_BYTES = 16 * 1024
_REHEARSALS = 12  # Python makes a function's code its own after eight calls


class _Pipes:
    """Between the container and its shim: pipes, a socket for its terminal, and the one to which others attach."""

    def __init__(self) -> None:
        stdin, self.stdin = os.pipe()
        self.stdout, stdout = os.pipe()
        self.stderr, stderr = os.pipe()
        self.handover, self.write_handover = os.pipe()
        # Not the wrappers of the module socket: their enumerations would cost every shim memory.
        self.console, self.write_console = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        self.listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self.theirs = Stdio(stdin, stdout, stderr)
        self._ends = (stdin, stdout, stderr, self.write_handover)

    def keep_theirs(self) -> None:
        """In the starter."""
        for fd in (self.stdin, self.stdout, self.stderr, self.handover):
            os.close(fd)
        self.console.close()

    def keep_ours(self) -> None:
        """In the shim."""
        for fd in self._ends:
            os.close(fd)
        self.write_console.close()


def rehearse() -> None:
    """In the zygote, before it forks: look after a process that has ended, a few times.

    What Python writes when code runs for the first time (caches of types and of instructions) is then written once, in
    pages that all shims share, and not in each of them: a third of a shim's memory.
    """
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    for _ in range(_REHEARSALS):
        pipes = _Pipes()
        os.write(pipes.theirs.stdout, b"a line\n")
        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 0)
        os.write(pipes.write_handover, f"{pid}\0\0/dev/null\0\0\0\0".encode())
        pipes.keep_ours()
        pipes.listener.bind("")  # the kernel's choice of an abstract name
        pipes.listener.listen()
        _console(starter.Handover(_read_all(pipes.handover)), pipes).follow(pid)
        os.close(pipes.stdout)
        os.close(pipes.stderr)
        pipes.listener.close()
    os.waitpid(pid, 0)


def serve(channel: _socket.socket, run_dir: str) -> None:
    """Have the container of a request started, then stay until it has ended."""
    pipes = _Pipes()
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)  # an OCI runtime makes the container and goes
    helper = os.fork()
    if helper == 0:
        pipes.keep_theirs()
        starter.run(channel, run_dir, pipes.theirs, pipes.write_console, pipes.listener, pipes.write_handover)
        return
    channel.close()
    pipes.keep_ours()
    message = _read_all(pipes.handover)
    os.waitpid(helper, 0)
    if message:
        _look_after(run_dir, starter.Handover(message), pipes)


def _look_after(run_dir: str, given: starter.Handover, pipes: _Pipes) -> None:
    _console(given, pipes).follow(given.pid)
    _, status = os.waitpid(given.pid, 0)
    group = cgroups.Group(cgroups.Layout(), given.cgroup)
    if given.shared:  # its children live on in the pod's PID namespace: they end with it, as elsewhere
        group.kill()
    ended = records.exit_fields(status, group.oom_kills() > 0, time.time_ns())
    group.remove()
    if given.bundle:
        oci.clean(run_dir, given.bundle, given.cgroup)
    os.unlink(given.socket_path)
    records.StateFile.load(given.state_path).write("exited", **ended)


def _console(given: starter.Handover, pipes: _Pipes) -> Console:
    master = _received(pipes.console) if given.terminal else None
    pipes.console.close()
    log = LogFile(given.log_path)
    stdout = attachment.STDOUT, Stream("stdout", log)
    if master is not None:
        for fd in (pipes.stdin, pipes.stdout, pipes.stderr):
            os.close(fd)
        stdin = master if given.stdin else None
        return Console({master: stdout}, stdin, pipes.listener, master=master, once=given.stdin_once)
    stderr = attachment.STDERR, Stream("stderr", log)
    if not given.stdin:
        os.close(pipes.stdin)
    stdin = pipes.stdin if given.stdin else None
    streams = {pipes.stdout: stdout, pipes.stderr: stderr}
    return Console(streams, stdin, pipes.listener, master=None, once=given.stdin_once)


def _received(console: _socket.socket) -> int:
    """The master of the container's terminal."""
    with socket.socket(fileno=os.dup(console.fileno())) as channel:
        _, given = fds.receive(channel, 1)
    return given[0]


def _read_all(fd: int) -> bytes:
    data = b""
    while part := os.read(fd, _CHUNK_BYTES):
        data += part
    os.close(fd)
    return data
