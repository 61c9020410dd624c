"""A command inside a running container, for probes and hooks: its whole output at once."""

import os
import select
import socket
import time

from fairway.engine.kubelet.runtime import joined, processes, wire
from fairway.engine.kubelet.runtime.program import Stdio

_MOST_OUTPUT_BYTES = 4 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_MOST_LAST_CHUNKS = 64  # more than a pipe holds: a process left in the background may go on writing


def serve(channel: socket.socket, run_dir: str, request: dict[str, object]) -> None:
    """Run one command and answer with its output; when the asking side goes away the command is killed."""
    try:
        command = _Command(run_dir, request)
    except (OSError, joined.ExecFailure) as error:
        wire.send(channel, {"error": str(error)})
        return
    timeout = request["timeout_seconds"]
    deadline = time.monotonic() + float(str(timeout)) if timeout is not None else None
    wire.send(channel, command.wait(channel, deadline))


class _Command:
    """A started command and what it has written so far."""

    def __init__(self, run_dir: str, request: dict[str, object]) -> None:
        stdout, write_stdout = os.pipe()
        stderr, write_stderr = os.pipe()
        self._output = {stdout: bytearray(), stderr: bytearray()}
        self._order = (stdout, stderr)
        self._pid = joined.start(run_dir, request, Stdio(None, write_stdout, write_stderr))
        for fd in (write_stdout, write_stderr):
            os.close(fd)

    def wait(self, channel: socket.socket, deadline: float | None) -> dict[str, object]:
        """Collect output until the command ends, the deadline passes or the asking side is gone."""
        ended = os.pidfd_open(self._pid)
        poll = select.poll()
        for fd in (ended, *self._output):
            poll.register(fd, select.POLLIN)
        poll.register(channel, select.POLLRDHUP)
        for fd in self._output:
            os.set_blocking(fd, False)
        in_time = self._collect(poll, ended, channel.fileno(), deadline)
        if not in_time:
            processes.kill_tree(self._pid)
        _, status = os.waitpid(self._pid, 0)
        for fd in self._output:
            for _ in range(_MOST_LAST_CHUNKS):
                if not self._read(fd):
                    break
        return self._answer(status, in_time)

    def _collect(self, poll: select.poll, ended: int, channel: int, deadline: float | None) -> bool:
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            ready = [fd for fd, _ in poll.poll(None if left is None else left * 1000 + 1)]
            for fd in ready:
                if fd in self._output and not self._read(fd):
                    poll.unregister(fd)
            if ended in ready:
                return True
            if channel in ready:
                return False

    def _read(self, fd: int) -> bool:
        try:
            data = os.read(fd, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        room = _MOST_OUTPUT_BYTES - len(self._output[fd])
        self._output[fd] += data[: max(room, 0)]
        return bool(data)

    def _answer(self, status: int, in_time: bool) -> dict[str, object]:
        code = os.waitstatus_to_exitcode(status)
        # JSON has no bytes; latin-1 gives every byte one character.
        stdout, stderr = (self._output[fd].decode("latin-1") for fd in self._order)
        return {"exit_code": code if code >= 0 else 128 - code, "stdout": stdout, "stderr": stderr, "in_time": in_time}
