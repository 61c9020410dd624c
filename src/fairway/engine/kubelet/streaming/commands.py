"""A client's channels joined to a command or an attached container."""

import asyncio
from collections.abc import Mapping

import msgspec

from fairway.engine.kubelet.runtime.sessions import STDERR, STDOUT, Session
from fairway.engine.kubelet.streaming.channels import Channel

_MOST_RESIZE_BYTES = 4096


class _Size(msgspec.Struct, rename="pascal"):
    """A `TerminalSize`."""

    width: int = 0
    height: int = 0


async def converse(session: Session, channels: Mapping[str, Channel]) -> int | None:
    """Carry bytes until the command has ended and its output is sent; its exit code, None after a visit.

    `channels` are those of stdin, stdout, stderr, resize that the client asked for. Raises OSError when it is gone.
    """
    tasks = []
    if "stdin" in channels:
        tasks.append(asyncio.create_task(_copy_input(session, channels["stdin"])))
    if "resize" in channels:
        tasks.append(asyncio.create_task(_follow_size(session, channels["resize"])))
    outputs = {STDOUT: channels.get("stdout"), STDERR: channels.get("stderr")}

    async def write(stream: int, data: bytes) -> None:
        channel = outputs[stream]
        if channel is not None:
            await channel.write(data)

    try:
        return await session.copy_output(write)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy_input(session: Session, channel: Channel) -> None:
    while data := await channel.inbox.read():
        await session.write(data)
    await session.end_input()


async def _follow_size(session: Session, channel: Channel) -> None:
    """Sizes come as JSON objects one after another, cut anywhere."""
    text = b""
    while data := await channel.inbox.read():
        *whole, text = (text + data).replace(b"}", b"}\n").split(b"\n")
        for each in whole:
            await _resize(session, each)
        if len(text) > _MOST_RESIZE_BYTES:
            await channel.inbox.discard()


async def _resize(session: Session, text: bytes) -> None:
    try:
        size = msgspec.json.decode(text, type=_Size)
    except msgspec.DecodeError:
        return
    if 0 < size.width < 1 << 16 and 0 < size.height < 1 << 16:
        await session.resize(size.width, size.height)
