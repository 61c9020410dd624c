"""Pass open file descriptors over a Unix socket, never leaking them to a later exec."""

import _socket
import array
import socket


def send(channel: _socket.socket, payload: bytes, fds: tuple[int, ...] = ()) -> None:
    """Send one message with descriptors attached; the payload must not be empty and must fit one message."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    channel.sendmsg([payload], rights)


def receive(channel: _socket.socket, size: int, most_fds: int = 16) -> tuple[bytes, tuple[int, ...]]:
    """One message and its descriptors, close-on-exec; empty bytes at the end of the stream.

    Raises ConnectionError when the kernel cut off descriptors that did not fit.
    """
    integer = array.array("i").itemsize
    payload, ancillary, flags, _ = channel.recvmsg(size, socket.CMSG_SPACE(most_fds * integer), socket.MSG_CMSG_CLOEXEC)
    fds: tuple[int, ...] = ()
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers = array.array("i")
            numbers.frombytes(data[: len(data) - len(data) % integer])
            fds += tuple(numbers)
    if flags & socket.MSG_CTRUNC:
        for fd in fds:
            socket.close(fd)
        raise ConnectionError("more file descriptors were sent than can be taken")
    return payload, fds
