"""The process beside one container: writes its log, waits for it, records how it ended.

It depends on nobody: zygote and engine may be killed and the container and its log go on. When the shim itself is
killed, the kernel kills the container (PR_SET_PDEATHSIG), so none runs unwatched. There is one per container, so it
does as little as it can before the end: see `starter`.
"""

import os
import select
import socket
import time

from fairway.engine.kubelet.runtime import cgroups, records, starter
from fairway.engine.kubelet.runtime.logs import LogFile, Stream

_CHUNK_BYTES = 16 * 1024
_MOST_LAST_CHUNKS = 256  # more than a pipe holds: a leaked writing end must not keep the shim for ever


def serve(channel: socket.socket, run_dir: str) -> None:
    """Have the container of a request started, then stay until it has ended."""
    stdout, write_stdout = os.pipe()
    stderr, write_stderr = os.pipe()
    handover, write_handover = os.pipe()
    helper = os.fork()
    if helper == 0:
        for fd in (stdout, stderr, handover):
            os.close(fd)
        starter.run(channel, run_dir, (write_stdout, write_stderr), write_handover)
        return
    channel.close()
    for fd in (write_stdout, write_stderr, write_handover):
        os.close(fd)
    message = _read_all(handover)
    os.waitpid(helper, 0)
    if message:
        _look_after(message, stdout, stderr)


def _look_after(message: bytes, stdout: int, stderr: int) -> None:
    pid, log_path, state_path, group_name = starter.handover_fields(message)
    log = LogFile(log_path)
    _follow(pid, {stdout: Stream("stdout", log), stderr: Stream("stderr", log)})
    _, status = os.waitpid(pid, 0)
    group = cgroups.Group(cgroups.Layout(), group_name)
    ended = records.exit_fields(status, group.oom_kills() > 0, time.time_ns())
    group.remove()
    records.StateFile.load(state_path).write("exited", **ended)


def _read_all(fd: int) -> bytes:
    data = b""
    while part := os.read(fd, _CHUNK_BYTES):
        data += part
    os.close(fd)
    return data


def _follow(pid: int, streams: dict[int, Stream]) -> None:
    """Write the log until process 1, and with it the whole container, has ended and its pipes are empty."""
    ended = os.pidfd_open(pid)
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
