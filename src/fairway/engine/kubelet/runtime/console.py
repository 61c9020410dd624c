"""The streams of one container in its shim: output to the log and to everybody attached, input from them.

Nothing is held back but one piece for each client: while a client has not taken its piece, the container's output is
not read, so a slow reader slows the container down, as it would at a real terminal.
"""

import _socket
import os
import select
import socket

from fairway.engine.kubelet.runtime import attachment, terminal
from fairway.engine.kubelet.runtime.attachment import END, HEAD, HELLO, MOST_BYTES, RESIZE, SIZE, STDIN
from fairway.engine.kubelet.runtime.logs import Stream

_CHUNK_BYTES = 16 * 1024
_MOST_LAST_CHUNKS = 256  # more than a pipe holds: a leaked writing end must not keep the shim for ever
_LAST_BUFFER_BYTES = 4 * 1024 * 1024
_SO_SNDBUFFORCE = 32


class _Client:
    """Somebody attached."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.wanted = b""
        self.unsent = b""
        self.unread = b""


class Console:
    """`streams` are the container's outputs by descriptor, with the kind that clients know them by."""

    def __init__(
        self,
        streams: dict[int, tuple[bytes, Stream]],
        stdin: int | None,
        listener: _socket.socket,
        *,
        master: int | None,
        once: bool,
    ) -> None:
        self._streams = streams
        self._stdin = stdin
        self._master = master
        self._once = once and master is None
        self._listener = listener
        self._clients: dict[int, _Client] = {}
        self._input = b""
        self._closing = False
        self._open = list(streams)  # output before errors when both have something
        for fd in (*streams, *((stdin,) if stdin is not None else ())):
            os.set_blocking(fd, False)
        listener.setblocking(False)

    def follow(self, pid: int) -> None:
        """Until process 1 has ended and its streams are empty; the log is complete then."""
        ended = os.pidfd_open(pid)
        alive = True
        while alive:
            ready = dict(self._waiting(ended).poll())
            alive = ended not in ready
            for fd, events in ready.items():
                self._handle(fd, events)
        os.close(ended)
        for fd in tuple(self._open):
            for _ in range(_MOST_LAST_CHUNKS):
                if not self._read(fd, last=True):
                    break
        for _, stream in self._streams.values():
            stream.close()
        for client in tuple(self._clients.values()):
            self._send(client, last=True)

    def _waiting(self, ended: int) -> select.poll:
        """What to wait for next; made anew each time, as it is a handful of descriptors."""
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        poll.register(self._listener, select.POLLIN)
        blocked = any(client.unsent for client in self._clients.values())
        for fd in () if blocked else self._open:
            poll.register(fd, select.POLLIN)
        if self._stdin is not None and self._input:
            poll.register(
                self._stdin, select.POLLOUT | (select.POLLIN if self._stdin in self._open and not blocked else 0)
            )
        for fd, client in self._clients.items():
            reading = 0 if self._input else select.POLLIN
            poll.register(fd, reading | select.POLLRDHUP | (select.POLLOUT if client.unsent else 0))
        return poll

    def _handle(self, fd: int, events: int) -> None:
        if fd == self._stdin and self._input:
            self._feed()
        if fd in self._open:
            if events & ~select.POLLOUT and not self._read(fd):
                self._open.remove(fd)
        elif fd == self._listener.fileno():
            self._greet()
        elif fd in self._clients:
            self._serve(self._clients[fd], events)

    # --- output

    def _read(self, fd: int, *, last: bool = False) -> bool:
        """Copy what is there; False at the end, or with `last` when there is nothing now."""
        try:
            data = os.read(fd, _CHUNK_BYTES)
        except BlockingIOError:
            return not last
        except OSError:
            return False  # a terminal without anybody at its other end
        kind, stream = self._streams[fd]
        stream.feed(data)
        for client in tuple(self._clients.values()):
            if data and kind in client.wanted:
                client.unsent += attachment.frame(kind, data)
                self._send(client, last=last)
        return bool(data)

    def _send(self, client: _Client, *, last: bool = False) -> None:
        try:
            if last:  # the kernel keeps it for a reader that is late; this process will be gone
                client.channel.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _LAST_BUFFER_BYTES)
            client.unsent = client.unsent[client.channel.send(client.unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)

    # --- clients

    def _greet(self) -> None:
        """Take in everybody who has come so far and hear what they want."""
        while self._accept():
            pass
        for client in tuple(self._clients.values()):
            if not client.wanted:
                self._receive(client)

    def _accept(self) -> bool:
        try:
            with socket.socket(fileno=os.dup(self._listener.fileno())) as listener:
                channel, _ = listener.accept()
        except OSError:
            return False
        channel.setblocking(False)
        self._clients[channel.fileno()] = _Client(channel)
        return True

    def _serve(self, client: _Client, events: int) -> None:
        if events & select.POLLOUT and client.unsent:
            self._send(client)
        if events & select.POLLIN and not self._input:
            self._receive(client)
        elif events & (select.POLLHUP | select.POLLERR) or (events & select.POLLRDHUP and not events & select.POLLIN):
            self._drop(client)

    def _receive(self, client: _Client) -> None:
        try:
            data = client.channel.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(client)
            return
        client.unread += data
        self._parse(client)

    def _parse(self, client: _Client) -> None:
        while len(client.unread) >= HEAD.size:
            kind, length = HEAD.unpack_from(client.unread)
            if length > MOST_BYTES:
                self._drop(client)
                return
            if len(client.unread) < HEAD.size + length:
                return
            payload = client.unread[HEAD.size : HEAD.size + length]
            client.unread = client.unread[HEAD.size + length :]
            self._obey(client, kind, payload)

    def _obey(self, client: _Client, kind: bytes, payload: bytes) -> None:
        if kind == HELLO:
            client.wanted = payload
        elif kind == STDIN and STDIN in client.wanted:
            self._greet()  # who came before this input sees what it leads to
            self._input += payload if self._stdin is not None else b""
            self._feed()
        elif kind == RESIZE and self._master is not None and len(payload) == SIZE.size:
            try:
                terminal.resize(self._master, *SIZE.unpack(payload))
            except OSError:
                return
        elif kind == END and STDIN in client.wanted:
            self._end_input(client)

    def _end_input(self, client: _Client) -> None:
        """As containerd: with `stdinOnce` the program's input ends, otherwise only this client's visit."""
        if self._once:
            self._closing = True
            self._feed()
        else:
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        self._clients.pop(client.channel.fileno(), None)
        client.channel.close()
        if self._once and STDIN in client.wanted:
            self._closing = True
            self._feed()

    # --- input

    def _feed(self) -> None:
        """Write what the container takes; the rest waits, and nobody's input is read until then."""
        if self._stdin is None:
            self._input = b""
            return
        try:
            while self._input:
                self._input = self._input[os.write(self._stdin, self._input) :]
        except BlockingIOError:
            return
        except OSError:
            self._input = b""  # the program has closed its input
        if self._closing and self._master is None:
            os.close(self._stdin)
            self._stdin = None
