"""port-forward: a client's channels joined to TCP connections inside a pod's network."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

import msgspec

from fairway.engine.kubelet.streaming.channels import Channel
from fairway.engine.kubelet.streaming.spdy_channels import SpdyChannel, SpdyChannels
from fairway.toolkit import logs, spdy

log = logs.get("kubelet")

MakeSocket = Callable[[int], Awaitable[socket.socket]]
"""A TCP socket of an address family in the pod's network. Raises OSError."""

_PIECE_BYTES = 64 * 1024
_CONNECT_SECONDS = 30.0
_PARTNER_SECONDS = 30.0
_LOOPBACK = ((socket.AF_INET, "127.0.0.1", "tcp4"), (socket.AF_INET6, "::1", "tcp6"))


class Pod(msgspec.Struct, frozen=True):
    """The pod as its messages name it, and the way into its network."""

    name: str
    uid: str
    sandbox: str
    socket: MakeSocket


class Refused(Exception):
    """Nothing listens there; the message is for the user."""


async def forward(pod: Pod, port: int, data: Channel, error: Channel, gone: asyncio.Event | None = None) -> None:
    """One connection, until both directions have ended or `gone`; a problem goes to the error channel.

    Raises OSError when the client is gone.
    """
    try:
        connection = await _connect(pod, port)
    except Refused as refused:
        what = f"error forwarding port {port} to pod {pod.sandbox}, uid {pod.uid}: {refused}"
        log.info("not forwarded", pod=pod.name, port=port, error=str(refused))
        await data.inbox.discard()
        await error.write(what.encode())
        return
    try:
        await _join(connection, data, gone)
    finally:
        await data.inbox.discard()
        connection.close()


async def _connect(pod: Pod, port: int) -> socket.socket:
    """A connection to the port on the pod's loopback, by IPv4 or else IPv6. Raises Refused."""
    loop, problems = asyncio.get_running_loop(), []
    for family, address, name in _LOOPBACK:
        try:
            connection = await pod.socket(family)
        except OSError as error:
            raise Refused(f"failed to open network namespace of sandbox {pod.sandbox}: {error.strerror}") from error
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await loop.sock_connect(connection, (address, port))
            return connection
        except OSError as error:  # a timeout is one too
            connection.close()
            shown = f"[{address}]" if ":" in address else address
            problems.append(f"dial {name} {shown}:{port}: connect: {_reason(error)}")
        except BaseException:
            connection.close()
            raise
    where = f'failed to connect to localhost:{port} inside namespace "{pod.sandbox}"'
    raise Refused(f"failed to execute portforward in network namespace: {where}, IPv4: {' IPv6 '.join(problems)}")


def _reason(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else "connection timed out"


async def _join(connection: socket.socket, data: Channel, gone: asyncio.Event | None) -> None:
    both = asyncio.create_task(_both(connection, data))
    waiting: list[asyncio.Task[None]] = [both]
    if gone is not None:
        waiting.append(asyncio.create_task(_happens(gone)))
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if both in done:
            await both
    finally:
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _both(connection: socket.socket, data: Channel) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_send(connection, data))
        tasks.create_task(_receive(connection, data))


async def _happens(event: asyncio.Event) -> None:
    await event.wait()


async def _send(connection: socket.socket, data: Channel) -> None:
    """Client to pod; the end of the client's data is passed on, the other direction goes on."""
    with suppress(OSError):  # the pod has closed, which `_receive` sees too
        while piece := await data.inbox.read():
            await asyncio.get_running_loop().sock_sendall(connection, piece)
        connection.shutdown(socket.SHUT_WR)
        return
    await data.inbox.discard()


async def _receive(connection: socket.socket, data: Channel) -> None:
    """Pod to client."""
    loop = asyncio.get_running_loop()
    while piece := await _some(loop, connection):
        await data.write(piece)
    await data.end()


async def _some(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> bytes:
    try:
        return await loop.sock_recv(connection, _PIECE_BYTES)
    except OSError:
        return b""  # reset by the pod


class SpdyForwarder:
    """Pairs the streams that a client opens: a data and an error stream with the same request id are one connection."""

    def __init__(self, pod: Pod, connection: SpdyChannels) -> None:
        self._pod = pod
        self._connection = connection
        self._waiting: dict[str, tuple[SpdyChannel, asyncio.TimerHandle]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                self._take(await self._connection.accepted.get())
        finally:
            for _, timer in self._waiting.values():
                timer.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take(self, stream: SpdyChannel) -> None:
        request, kind = stream.headers.get("requestid", str(stream.id)), stream.headers.get("streamtype", "")
        if kind not in ("data", "error") or _port(stream) is None:
            stream.cancel(spdy.PROTOCOL_ERROR)
            return
        partner, timer = self._waiting.pop(request, (None, None))
        if timer is not None:
            timer.cancel()
        if partner is None or partner.headers["streamtype"] == kind:
            timer = asyncio.get_running_loop().call_later(_PARTNER_SECONDS, self._expire, request)
            self._waiting[request] = stream, timer
            return
        data, error = (stream, partner) if kind == "data" else (partner, stream)
        task = asyncio.create_task(self._forward(data, error))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _expire(self, request: str) -> None:
        """A stream whose partner does not come is given up."""
        stream, _ = self._waiting.pop(request)
        stream.cancel(spdy.CANCEL)

    async def _forward(self, data: SpdyChannel, error: SpdyChannel) -> None:
        port = _port(data)
        assert port is not None
        with suppress(OSError, ExceptionGroup):  # the client has reset the stream or is gone
            await forward(self._pod, port, data, error, data.reset)
        with suppress(OSError):
            await data.end()
            await error.end()
        await error.inbox.discard()
        self._connection.forget(data)
        self._connection.forget(error)


def _port(stream: SpdyChannel) -> int | None:
    text = stream.headers.get("port", "")
    return int(text) if text.isdecimal() and 0 < int(text) < 1 << 16 else None


async def forward_ports(pod: Pod, ports: Iterable[int], channels: dict[int, Channel]) -> None:
    """The WebSocket form: a data and an error channel for each port, each beginning with the port's number."""
    async with asyncio.TaskGroup() as tasks:
        for index, port in enumerate(ports):
            data, error = channels[2 * index], channels[2 * index + 1]
            for channel in (data, error):
                await channel.write(port.to_bytes(2, "little"))
            tasks.create_task(forward(pod, port, data, error))
