"""A load that notices every failed request."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec


class Load(msgspec.Struct):
    """What the requests saw so far: answers by status and body, and failures with their reasons."""

    answered: int = 0
    bodies: Counter[bytes] = msgspec.field(default_factory=Counter)
    failures: list[str] = msgspec.field(default_factory=list)
    moment: asyncio.Event = msgspec.field(default_factory=asyncio.Event)

    async def more(self, count: int = 50) -> None:
        """Wait until that many further requests have been answered."""
        target = self.answered + count
        async with asyncio.timeout(60):
            while self.answered < target and len(self.failures) < 20:
                self.moment.clear()
                await self.moment.wait()


class Target(msgspec.Struct, frozen=True):
    """Where to send requests, and for which domain."""

    address: str
    port: int
    host: str
    path: str = "/"
    tls: ssl.SSLContext | None = None


@asynccontextmanager
async def load(target: Target, *, keep_alive: int = 4, closing: int = 2) -> AsyncIterator[Load]:
    """Send requests all the time: on kept connections, and on a new one each time."""
    seen = Load()
    tasks = [asyncio.create_task(_keep(target, seen)) for _ in range(keep_alive)]
    tasks += [asyncio.create_task(_close(target, seen)) for _ in range(closing)]
    try:
        yield seen
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep(target: Target, seen: Load) -> None:
    """Requests on one connection, until the server says it closes it."""
    while True:
        connection = await _connect(target, seen)
        if connection is None:
            continue
        try:
            while await _request(*connection, target, seen, "keep-alive"):
                await asyncio.sleep(0.005)
        finally:
            connection[1].close()


async def _close(target: Target, seen: Load) -> None:
    """Each request on a connection of its own."""
    while True:
        connection = await _connect(target, seen)
        if connection is None:
            continue
        try:
            await _request(*connection, target, seen, "close")
        finally:
            connection[1].close()
        await asyncio.sleep(0.01)


async def _connect(target: Target, seen: Load) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    name = target.host if target.tls else None
    try:
        return await asyncio.open_connection(target.address, target.port, ssl=target.tls, server_hostname=name)
    except OSError as error:
        _fail(seen, f"connect: {error}")
        await asyncio.sleep(0.05)
        return None


async def _request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: Target, seen: Load, connection: str
) -> bool:
    """One request; whether the connection can take another."""
    try:
        async with asyncio.timeout(60):
            writer.write(
                f"GET {target.path} HTTP/1.1\r\nHost: {target.host}\r\nConnection: {connection}\r\n\r\n".encode()
            )
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = next(line for line in head.split("\r\n") if line.startswith("content-length:"))
            body = await reader.readexactly(int(length.split(":")[1]))
    except (OSError, EOFError, TimeoutError, StopIteration) as error:
        _fail(seen, f"{type(error).__name__}: {error}")
        return False
    status = int(head.split()[1])
    if status != 200:
        _fail(seen, f"status {status}: {body[:100]!r}")
    seen.answered += 1
    seen.bodies[body] += 1
    seen.moment.set()
    return "connection: close" not in head and connection != "close"


def _fail(seen: Load, reason: str) -> None:
    seen.failures.append(reason)
    seen.moment.set()
