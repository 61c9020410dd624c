"""The kubelet's streaming endpoints over a real socket, in front of sessions in memory: SPDY, WebSocket, nonsense."""

import asyncio
import base64
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairway.engine.kubelet.runtime.sessions import STDOUT, Write
from fairway.engine.kubelet.streaming.endpoints import Place, Streaming
from fairway.engine.kubelet.streaming.protocols import Refusal
from fairway.kube.api.meta import ObjectKey
from fairway.toolkit import logs, spdy, websocket
from fairway.toolkit.http_messages import Reply, Request, refusal
from fairway.toolkit.http_server import HttpServer


class Echo:
    """A command that repeats its input and ends with it; the size of its terminal is its exit code."""

    def __init__(self) -> None:
        self.pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self.closed = asyncio.Event()
        self.written = 0
        self.code = 0

    async def copy_output(self, write: Write) -> int | None:
        while data := await self.pieces.get():
            await write(STDOUT, data)
            self.written += len(data)
        return self.code

    async def write(self, data: bytes) -> None:
        self.pieces.put_nowait(data)

    async def end_input(self) -> None:
        self.pieces.put_nowait(b"")

    async def resize(self, columns: int, rows: int) -> None:
        self.code = columns + rows

    def close(self) -> None:
        self.closed.set()


class EchoRuntime:
    """Gives out one echo after another."""

    def __init__(self) -> None:
        self.sessions: list[Echo] = []

    async def open_command(self, *arguments: object, **options: object) -> Echo:
        self.sessions.append(Echo())
        return self.sessions[-1]

    async def pod_socket(self, sandbox: str, family: int) -> socket.socket:
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setblocking(False)
        return made


def place(key: ObjectKey, container: str) -> Place:
    if key.name != "box":
        raise Refusal(404, "no such pod")
    return Place("uid", "sandbox", container)


class Kubelet:
    """A server and what went wrong in it."""

    def __init__(self, path: Path, runtime: EchoRuntime, problems: list[dict[str, Any]]) -> None:
        self.path, self.runtime, self.problems = path, runtime, problems

    async def upgrade(self, target: str, *headers: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        lines = [f"GET {target} HTTP/1.1", "Host: kubelet", "Connection: Upgrade", *headers, "", ""]
        writer.write("\r\n".join(lines).encode())
        return reader, writer, (await reader.readuntil(b"\r\n\r\n")).decode()

    async def spdy(self, query: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        offered = "X-Stream-Protocol-Version: v4.channel.k8s.io"
        reader, writer, head = await self.upgrade(f"/exec/default/box/main?{query}", "Upgrade: SPDY/3.1", offered)
        assert head.startswith("HTTP/1.1 101 ") and "v4.channel.k8s.io" in head
        return reader, writer

    async def websocket(self, query: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        lines = ("Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13")
        offered = "Sec-WebSocket-Protocol: v5.channel.k8s.io"
        reader, writer, head = await self.upgrade(f"/exec/default/box/main?{query}", *lines, offered)
        assert head.startswith("HTTP/1.1 101 ")
        return reader, writer


@asynccontextmanager
async def kubelet(folder: Path) -> AsyncIterator[Kubelet]:
    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))
    runtime = EchoRuntime()
    streaming = Streaming(runtime, place)  # type: ignore[arg-type]

    def answer(request: Request) -> Reply:
        return streaming.answer(request, request.path.strip("/").split("/")) or refusal(404, "nothing")

    server = HttpServer(answer, logs.get("test"))
    path = folder / "kubelet.sock"
    await server.listen_unix(path, name="kubelet")
    try:
        yield Kubelet(path, runtime, problems)
    finally:
        await server.stop(0.1)
    assert problems == []


async def test_a_command_over_spdy(tmp_path: Path) -> None:
    async with kubelet(tmp_path) as node, asyncio.timeout(60):
        reader, writer = await node.spdy("command=echo&stdin=true&stdout=true&tty=true")
        encoder, decoder = spdy.Encoder(), spdy.Decoder()
        for number, name in ((1, "error"), (3, "stdin"), (5, "stdout"), (7, "resize")):
            writer.write(encoder.open(number, {"streamType": name}))
        writer.write(encoder.ping(1))
        writer.write(encoder.data(7, b'{"Width":40,"Hei') + encoder.data(7, b'ght":2}{'))
        data = os.urandom(200_000)
        while node.runtime.sessions == [] or node.runtime.sessions[0].code == 0:
            await asyncio.sleep(0)
        writer.write(encoder.data(3, data))
        writer.write(encoder.data(3, b"", fin=True))
        got: dict[int, bytes] = {}
        replies, ended, pings = [], [], []
        while piece := await reader.read(65536):
            for event in decoder.feed(piece):
                match event:
                    case spdy.Replied():
                        replies.append(event.stream)
                    case spdy.Data():
                        got[event.stream] = got.get(event.stream, b"") + event.data
                        ended += [event.stream] if event.fin else []
                    case spdy.Pinged():
                        pings.append(event.id)
        assert (replies, ended, pings) == ([1, 3, 5, 7], [5, 1], [1])
        assert got[5] == data
        assert json.loads(got[1])["details"]["causes"] == [{"reason": "ExitCode", "message": "42"}]
        writer.close()


@pytest.mark.parametrize("kind", ["spdy", "websocket"])
async def test_memory_is_bounded_when_the_client_does_not_read(tmp_path: Path, kind: str) -> None:
    async with kubelet(tmp_path) as node, asyncio.timeout(60):
        _, writer = await getattr(node, kind)("command=echo&stdin=true&stdout=true&stderr=false")
        if kind == "spdy":
            encoder = spdy.Encoder()
            for number, name in ((1, "error"), (3, "stdin"), (5, "stdout")):
                writer.write(encoder.open(number, {"streamType": name}))
        while not node.runtime.sessions:
            await asyncio.sleep(0)
        session = node.runtime.sessions[0]
        for _ in range(200):
            session.pieces.put_nowait(bytes(65536))
        seen = [-1, 0]
        while seen[-1] != seen[-2]:
            await asyncio.sleep(0.1)
            seen.append(session.written)
        assert session.written < 4_000_000
        writer.transport.abort()  # the client is killed
        await session.closed.wait()


@pytest.mark.parametrize("kind", ["spdy", "websocket"])
async def test_a_client_that_goes_while_its_input_waits_is_noticed(tmp_path: Path, kind: str) -> None:
    class Stubborn(Echo):
        async def write(self, data: bytes) -> None:
            await asyncio.get_running_loop().create_future()

    async with kubelet(tmp_path) as node, asyncio.timeout(60):
        stubborn = Stubborn()

        async def open_command(*arguments: object, **options: object) -> Echo:
            return stubborn

        node.runtime.open_command = open_command  # type: ignore[method-assign]
        _, writer = await getattr(node, kind)("command=echo&stdin=true&stdout=true&stderr=false")
        encoder = spdy.Encoder()
        if kind == "spdy":
            for number, name in ((1, "error"), (3, "stdin"), (5, "stdout")):
                writer.write(encoder.open(number, {"streamType": name}))
        frame: Callable[[bytes], bytes] = (
            (lambda data: encoder.data(3, data))
            if kind == "spdy"
            else (lambda data: websocket.encode(websocket.BINARY, b"\0" + data, mask=b"1234"))
        )
        for _ in range(60):
            writer.write(frame(bytes(65000)))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await writer.drain()  # nobody takes it
        writer.transport.abort()
        await stubborn.closed.wait()


@pytest.mark.parametrize("offered", ["", "v4.channel.k8s.io", "v4.base64.channel.k8s.io"])
async def test_ports_forwarded_over_a_websocket(tmp_path: Path, offered: str) -> None:
    """Each channel begins with its port, and a pod that closes ends its connection though the client goes on."""

    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readuntil(b"\n")).upper())
        writer.close()

    encoded = "base64" in offered
    async with kubelet(tmp_path) as node, asyncio.timeout(60), await asyncio.start_server(shout, "127.0.0.1") as pod:
        held = socket.socket()
        held.bind(("127.0.0.1", 0))  # nobody listens there
        port, closed = pod.sockets[0].getsockname()[1], held.getsockname()[1]
        lines = ["Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13"]
        lines += [f"Sec-WebSocket-Protocol: {offered}"] if offered else []
        reader, writer, head = await node.upgrade(f"/portforward/default/box?ports={port},{closed}", *lines)
        assert head.startswith("HTTP/1.1 101 ") and ("sec-websocket-protocol" in head.lower()) == bool(offered)
        message = b"0" + base64.b64encode(b"hello\n") if encoded else b"\0hello\n"
        writer.write(websocket.encode(websocket.BINARY, message, mask=b"1234"))
        decoder, got = websocket.Decoder(masked=False), dict[int, bytes]()
        while data := await reader.read(65536):
            for piece in decoder.feed(data):
                if piece.opcode == websocket.CLOSE:
                    writer.close()
                    continue
                number = piece.data[0] - (ord("0") if encoded else 0)
                rest = base64.b64decode(piece.data[1:]) if encoded else piece.data[1:]
                got[number] = got.get(number, b"") + rest
        first, second = port.to_bytes(2, "little"), closed.to_bytes(2, "little")
        assert (got[0], got[1], got[2]) == (first + b"HELLO\n", first, second)
        assert got[3].startswith(second + f"error forwarding port {closed} to pod ".encode())
        held.close()


async def test_requests_that_cannot_be_upgraded(tmp_path: Path) -> None:
    async with kubelet(tmp_path) as node, asyncio.timeout(60):
        for target, headers, expected in (
            ("/exec/default/none/main?command=a", ("Upgrade: SPDY/3.1",), "404"),
            ("/exec/default/box/main?command=a", ("Upgrade: h2c",), "400"),
            ("/exec/default/box/main", ("Upgrade: SPDY/3.1",), "400"),
            ("/exec/default/box/main?command=a", ("Upgrade: websocket",), "400"),
            ("/exec/default/box/main?command=a", ("Upgrade: SPDY/3.1", "X-Stream-Protocol-Version: v9"), "403"),
        ):
            _, writer, head = await node.upgrade(target, *headers)
            assert head.split()[1] == expected, (target, head)
            writer.close()


@given(st.sampled_from(["spdy", "websocket"]), st.lists(st.binary(max_size=80), max_size=6), st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nonsense_ends_the_connection_and_nothing_else(
    tmp_path: Path, kind: str, chunks: list[bytes], plausible: bool
) -> None:
    async def body() -> None:
        async with kubelet(tmp_path) as node, asyncio.timeout(60):
            reader, writer = await getattr(node, kind)("command=echo&stdin=true&stdout=true&stderr=false")
            for chunk in chunks:
                start = b"\x80\x03\x00\x01\x00\x00\x00" if kind == "spdy" else b"\x82"
                writer.write((start if plausible else b"") + chunk)
            writer.write_eof()
            while await reader.read(65536):
                pass
            writer.close()
            for session in node.runtime.sessions:
                await session.closed.wait()

    asyncio.run(body())
