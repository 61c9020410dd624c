"""Pipes, terminals and sockets by their descriptor in asyncio, without a transport: nothing is read ahead."""

import asyncio
import os


async def readable(fd: int) -> None:
    """Wait until a read would not block."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)


async def writable(fd: int) -> None:
    """Wait until a write would not block."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_writer(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(fd)


async def read_some(fd: int, most_bytes: int) -> bytes:
    """The next bytes of a non-blocking descriptor; empty at its end. Raises OSError (EIO: a terminal's end)."""
    while True:
        try:
            return os.read(fd, most_bytes)
        except BlockingIOError:
            await readable(fd)


async def write_all(fd: int, data: bytes) -> None:
    """Write everything to a non-blocking descriptor. Raises OSError."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            await writable(fd)
