"""The engine's end of a command with streams, and of a container that somebody attaches to."""

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

import msgspec

from fairway.engine.kubelet.runtime import attachment, terminal, wire
from fairway.engine.kubelet.runtime.errors import ExecFailed, RuntimeUnavailable
from fairway.toolkit import descriptors, fds, linux

STDOUT, STDERR = 1, 2
Write = Callable[[int, bytes], Awaitable[None]]
"""Takes bytes of STDOUT or STDERR; what it does not take yet is not read."""

_PIECE_BYTES = 32 * 1024
_MOST_LAST_PIECES = 64  # more than a pipe holds: a process left in the background may go on writing


class Session(Protocol):
    """A command or container with somebody at the other end of its streams; `close` it in any case."""

    async def copy_output(self, write: Write) -> int | None:
        """Give all output to `write`; the exit code when it has ended, None when only the visit is over."""
        ...

    async def write(self, data: bytes) -> None:
        """Give it input; what it does not want is dropped."""
        ...

    async def end_input(self) -> None:
        """There is no more input."""
        ...

    async def resize(self, columns: int, rows: int) -> None:
        """Change the size of its terminal, if it has one."""
        ...

    def close(self) -> None:
        """Let go of it: a command that still runs is killed with its children, a container goes on."""
        ...


class Command:
    """A command in a container. The zygote's child at the other end of `channel` waits for it."""

    def __init__(self, channel: socket.socket, given: tuple[int, ...], *, tty: bool) -> None:
        self._channel = channel
        self._fds = set(given)
        for fd in given:
            os.set_blocking(fd, False)
        self._master = given[0] if tty else None
        self._outputs = {given[0]: STDOUT} if tty else {given[0]: STDOUT, given[1]: STDERR}
        self._stdin = given[0] if tty else given[2] if len(given) > 2 else None

    async def copy_output(self, write: Write) -> int | None:
        """See Session. Raises RuntimeUnavailable when the waiting process was killed."""
        ended = asyncio.ensure_future(self._exit_code())
        try:
            async with asyncio.TaskGroup() as tasks:
                for fd, stream in self._outputs.items():
                    tasks.create_task(self._copy(fd, stream, write, ended))
            return await ended
        finally:
            ended.cancel()

    async def _copy(self, fd: int, stream: int, write: Write, ended: asyncio.Future[int]) -> None:
        """Until the stream ends, or the command has and nothing is left in the pipe."""
        last_pieces = 0
        while last_pieces < _MOST_LAST_PIECES:
            last_pieces += ended.done()
            try:
                data = os.read(fd, _PIECE_BYTES)
            except BlockingIOError:
                if ended.done():
                    return
                await _either(descriptors.readable(fd), ended)
                continue
            except OSError:
                return  # EIO: nobody has the terminal open any more
            if not data:
                return
            await write(stream, data)

    async def _exit_code(self) -> int:
        try:
            answer = await _receive(self._channel)
        except ConnectionError as error:
            raise RuntimeUnavailable("the process that waited for the command was killed") from error
        return int(answer["exit_code"])

    async def write(self, data: bytes) -> None:
        if self._stdin is None:
            return
        with contextlib.suppress(OSError):  # it has closed its input, or ended
            await descriptors.write_all(self._stdin, data)

    async def end_input(self) -> None:
        if self._stdin is not None and self._master is None:
            self._fds.discard(self._stdin)
            os.close(self._stdin)
            self._stdin = None

    async def resize(self, columns: int, rows: int) -> None:
        if self._master is not None:
            with contextlib.suppress(OSError):
                terminal.resize(self._master, columns, rows)

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()
        self._stdin = self._master = None
        self._channel.close()


class Attached:
    """A running container, through its shim."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def copy_output(self, write: Write) -> int | None:
        """See Session."""
        streams = {attachment.STDOUT: STDOUT, attachment.STDERR: STDERR}
        try:
            while True:
                head = await self._reader.readexactly(attachment.HEAD.size)
                kind, length = attachment.HEAD.unpack(head)
                await write(streams[kind], await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def write(self, data: bytes) -> None:
        for start in range(0, len(data), attachment.MOST_BYTES):
            await self._send(attachment.STDIN, data[start : start + attachment.MOST_BYTES])

    async def end_input(self) -> None:
        await self._send(attachment.END)

    async def resize(self, columns: int, rows: int) -> None:
        await self._send(attachment.RESIZE, attachment.SIZE.pack(columns, rows))

    async def _send(self, kind: bytes, payload: bytes = b"") -> None:
        with contextlib.suppress(OSError, RuntimeError):  # the container has ended
            self._writer.write(attachment.frame(kind, payload))
            await self._writer.drain()

    def close(self) -> None:
        self._writer.close()


async def start_command(zygote: Path, request: dict[str, Any], *, tty: bool) -> Command:
    """Have the zygote start a command. Raises ExecFailed, RuntimeUnavailable."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    channel.setblocking(False)
    loop, body = asyncio.get_running_loop(), msgspec.json.encode(request)
    given = _Given(b"", ())
    try:
        await loop.sock_connect(channel, str(zygote))
        await loop.sock_sendall(channel, wire.SESSION + wire.LENGTH.pack(len(body)) + body)
        given = await _receive_descriptors(channel)
        answer = await _receive(channel, given.head)
        if "error" in answer:
            raise ExecFailed(answer["error"])
    except OSError as error:
        _close(channel, given)
        raise RuntimeUnavailable(f"the zygote does not answer: {error}") from error
    except BaseException:
        _close(channel, given)
        raise
    return Command(channel, given.fds, tty=tty)


def _close(channel: socket.socket, given: "_Given") -> None:
    channel.close()
    for fd in given.fds:
        os.close(fd)


async def attach(run_dir: Path, id: str, *, stdin: bool, stdout: bool, stderr: bool) -> Attached:
    """Join the streams of a running container. Raises OSError when it does not run."""
    address = attachment.Address(attachment.path(str(run_dir), id))
    try:
        reader, writer = await asyncio.open_unix_connection(address.short, limit=attachment.MOST_BYTES)
    finally:
        address.close()
    wanted = b"".join(
        kind
        for kind, given in ((attachment.STDIN, stdin), (attachment.STDOUT, stdout), (attachment.STDERR, stderr))
        if given
    )
    writer.write(attachment.frame(attachment.HELLO, wanted))
    return Attached(reader, writer)


async def pod_socket(netns: str, family: int) -> socket.socket:
    """A TCP socket inside a pod's network. Raises OSError when there is no such network any more."""
    made: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()

    def settle(sock: socket.socket | None, error: OSError | None) -> None:
        if made.done():
            if sock is not None:
                sock.close()
        elif sock is not None:
            made.set_result(sock)
        else:
            made.set_exception(error or OSError("no socket"))

    def make() -> None:
        sock, problem = None, None
        try:
            namespace = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
            try:
                linux.setns(namespace, linux.CLONE_NEWNET)
            finally:
                os.close(namespace)
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setblocking(False)
        except OSError as error:
            problem = error
        loop.call_soon_threadsafe(settle, sock, problem)

    # A thread of its own, which ends: so none of the engine's can ever be left in the wrong network.
    threading.Thread(target=make, name="pod-socket", daemon=True).start()
    return await made


async def _either(waiting: Coroutine[None, None, None], ended: asyncio.Future[int]) -> None:
    task = asyncio.ensure_future(waiting)
    try:
        await asyncio.wait((task, ended), return_when=asyncio.FIRST_COMPLETED)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)  # so that the descriptor is no longer watched


class _Given(msgspec.Struct, frozen=True):
    head: bytes
    fds: tuple[int, ...]


async def _receive_descriptors(channel: socket.socket) -> _Given:
    while True:
        try:
            return _Given(*fds.receive(channel, wire.LENGTH.size))
        except BlockingIOError:
            await descriptors.readable(channel.fileno())


async def _receive(channel: socket.socket, begun: bytes = b"") -> dict[str, Any]:
    """One message of the zygote's child. Raises ConnectionError when it is gone."""
    (length,) = wire.LENGTH.unpack(begun + await _exactly(channel, wire.LENGTH.size - len(begun)))
    answer: dict[str, Any] = msgspec.json.decode(await _exactly(channel, length))
    return answer


async def _exactly(channel: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = await asyncio.get_running_loop().sock_recv(channel, count - len(data))
        if not part:
            raise ConnectionResetError("the zygote closed the connection without an answer")
        data += part
    return data
