"""Checks against real sockets, and when they are made."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from fairway.engine.kubelet.probes import Prober, Result, grpc, http, tcp
from fairway.engine.kubelet.probes.prober import Kind, Plan
from fairway.kube.api.pods import ExecAction, Probe, TcpSocketAction
from fairway.toolkit.clock import FakeClock

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[int]:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    listener = await asyncio.start_server(once, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()


@contextmanager
def nobody() -> Iterator[int]:
    """A port that is taken and that nobody listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def answer(text: str, seen: list[str] | None = None) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        if seen is not None:
            seen.append(request)
        writer.write(text.replace("\n", "\r\n").encode())

    return serve


async def get(port: int, path: str = "/", timeout_seconds: float = 60, **changes: object) -> Result:
    target = http.Target(scheme="HTTP", host="127.0.0.1", port=port, path=path, **changes)
    return await http.check(target, version="v1.34.0", timeout_seconds=timeout_seconds)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("200 OK", Result(True)),
        ("399 Odd", Result(True)),
        ("301 Moved", Result(True)),
        ("404 Not Found", Result(False, "HTTP probe failed with statuscode: 404")),
        ("500 Broken", Result(False, "HTTP probe failed with statuscode: 500")),
    ],
)
async def test_http_statuses(status: str, expected: Result) -> None:
    async with server(answer(f"HTTP/1.1 {status}\nContent-Length: 0\n\n")) as port:
        assert await get(port) == expected


async def test_http_requests_look_like_the_kubelets() -> None:
    seen: list[str] = []
    async with server(answer("HTTP/1.1 200 OK\nContent-Length: 0\n\n", seen)) as port:
        await get(port, "/health?a=b c", headers=(("X-A", "1"), ("Host", "shop.example")))
    head, *lines = seen[0].splitlines()
    assert head == "GET /health?a=b%20c HTTP/1.1"
    assert {"Host: shop.example", "X-A: 1", "User-Agent: kube-probe/v1.34.0", "Connection: close"} <= set(lines)


async def test_http_redirects_are_followed_on_the_same_host_only() -> None:
    async with server(answer("HTTP/1.1 500 Broken\nContent-Length: 0\n\n")) as end:
        here = answer(f"HTTP/1.1 302 Found\nLocation: http://127.0.0.1:{end}/x\nContent-Length: 0\n\n")
        async with server(here) as port:
            assert await get(port) == Result(False, "HTTP probe failed with statuscode: 500")
    async with server(answer("HTTP/1.1 302 Found\nLocation: http://other.example/\nContent-Length: 0\n\n")) as port:
        result = await get(port)
        assert result.ok and result.warning


async def test_http_failures_are_worded_as_go_words_them() -> None:
    with nobody() as port:
        result = await get(port)
    assert result == Result(
        False, f'Get "http://127.0.0.1:{port}/": dial tcp 127.0.0.1:{port}: connect: connection refused'
    )

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with server(silence) as port:
        result = await get(port, timeout_seconds=0.05)
    assert "context deadline exceeded (Client.Timeout exceeded while awaiting headers)" in result.message


async def test_tcp() -> None:
    async with server(answer("")) as port:
        assert await tcp.check("127.0.0.1", port, timeout_seconds=60) == Result(True)
    with nobody() as port:
        result = await tcp.check("127.0.0.1", port, timeout_seconds=60)
    assert result == Result(False, f"dial tcp 127.0.0.1:{port}: connect: connection refused")


def grpc_answer(status: int) -> Serve:
    """A health server that sends the answer in pieces, between frames that a client must skip."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(24) == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        message = b"\x00\x00\x00\x00\x02\x08" + bytes([status])
        writer.write(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")  # SETTINGS
        writer.write(b"\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678")  # PING
        writer.write(b"\x00\x00\x01\x01\x04\x00\x00\x00\x01\x88")  # HEADERS: 200
        for part in (message[:3], message[3:]):
            writer.write(bytes([0, 0, len(part), 0, 0, 0, 0, 0, 1]) + part)
        await reader.read()

    return serve


@pytest.mark.parametrize(
    ("status", "expected"),
    [(1, Result(True)), (2, Result(False, 'service unhealthy (responded with "NOT_SERVING")'))],
)
async def test_grpc(status: int, expected: Result) -> None:
    async with server(grpc_answer(status)) as port:
        found = await grpc.check("127.0.0.1", port, "x" * 200, version="v1", timeout_seconds=60)
    assert found == expected


async def test_grpc_to_something_else_fails() -> None:
    async with server(answer("HTTP/1.1 400 Bad Request\n\n")) as port:
        found = await grpc.check("127.0.0.1", port, "", version="v1", timeout_seconds=60)
    assert not found.ok and "does not implement the grpc health protocol" in found.message


class Timeline:
    """A probe on a clock that the test moves; `healthy` is what the program answers."""

    def __init__(self, kind: Kind, probe: Probe, known: bool | None = None) -> None:
        self.clock = FakeClock()
        self.healthy = False
        self.asked: list[float] = []
        self.verdicts: list[bool] = []
        self.observed: list[bool] = []
        prober = Prober(
            Plan(kind, probe, self.clock.now()),
            self.check,
            clock=self.clock,
            verdict=lambda _, ok: self.verdicts.append(ok),
            observe=lambda _, result: self.observed.append(result.ok),
            known=known,
        )
        self.task = asyncio.create_task(prober.run())

    async def check(self) -> Result:
        self.asked.append(round(self.clock.monotonic(), 3))
        return Result(self.healthy)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


TCP = Probe(tcp_socket=TcpSocketAction(port=1))
EXEC = Probe(exec=ExecAction(command=("true",)))


async def test_the_first_check_comes_at_once_and_then_every_period() -> None:
    line = Timeline("readiness", EXEC)
    await line.clock.advance(25)
    assert line.asked == [0, 10, 20]
    assert line.verdicts == [False] and line.observed == [False] * 3
    await line.stop()


async def test_the_initial_delay_is_honoured() -> None:
    line = Timeline("readiness", Probe(exec=ExecAction(command=("true",)), initial_delay_seconds=7))
    await line.clock.advance(8)
    assert line.asked == [7]
    await line.stop()


async def test_readiness_needs_as_many_failures_as_it_says() -> None:
    line = Timeline("readiness", EXEC)
    line.healthy = True
    await line.clock.advance(1)
    assert line.verdicts == [True]
    line.healthy = False
    await line.clock.advance(20)
    assert line.verdicts == [True]
    await line.clock.advance(10)
    assert line.verdicts == [True, False]
    line.healthy = True
    await line.clock.advance(10)
    assert line.verdicts == [True, False, True]
    await line.stop()


async def test_extra_looks_find_a_quick_start_but_count_no_failure() -> None:
    line = Timeline("readiness", TCP)
    await line.clock.advance(0.3)
    assert line.asked == [0, 0.05, 0.15] and line.observed == [False]
    line.healthy = True
    await line.clock.advance(0.1)
    assert line.verdicts == [True]
    await line.clock.advance(9)
    assert line.asked == [0, 0.05, 0.15, 0.35]
    await line.clock.advance(1)
    assert line.asked[-1] == 10
    await line.stop()


async def test_liveness_is_over_with_its_verdict() -> None:
    line = Timeline("liveness", TCP)
    await line.clock.advance(60)
    assert line.asked == [0, 10, 20] and line.verdicts == [False] and line.task.done()


async def test_a_startup_probe_ends_with_success() -> None:
    line = Timeline("startup", Probe(tcp_socket=TcpSocketAction(port=1), failure_threshold=30))
    await line.clock.advance(25)
    assert line.verdicts == [] and line.observed == [False] * 3
    line.healthy = True
    await line.clock.advance(1)
    assert line.verdicts == [True] and line.task.done()


async def test_an_adopted_container_stays_ready_until_it_fails() -> None:
    line = Timeline("readiness", TCP, known=True)
    await line.clock.advance(15)
    assert line.verdicts == [] and line.asked == [0, 10]
    await line.clock.advance(10)
    assert line.verdicts == [False]
    await line.stop()


async def test_a_startup_probe_that_fails_condemns_once() -> None:
    line = Timeline("startup", Probe(exec=ExecAction(command=("true",)), failure_threshold=2))
    await line.clock.advance(60)
    assert line.asked == [0, 10] and line.verdicts == [False] and line.task.done()
