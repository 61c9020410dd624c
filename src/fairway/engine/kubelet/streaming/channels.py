"""Byte streams of one connection: each with a bounded inbox, so that a slow taker slows the sender down."""

import asyncio
from collections import deque
from typing import Protocol

_INBOX_BYTES = 128 * 1024


class Inbox:
    """What a client sent on one channel and nobody has taken yet."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._discarding = False
        self._changed = asyncio.Condition()

    async def put(self, data: bytes) -> None:
        """Add bytes; waits while there are too many."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._size < _INBOX_BYTES or self._discarding)
            if data and not self._discarding and not self._ended:
                self._pieces.append(data)
                self._size += len(data)
                self._changed.notify_all()

    async def end(self) -> None:
        """There will be no more."""
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._pieces) or self._ended or self._discarding)
            if not self._pieces:
                return b""
            data = self._pieces.popleft()
            self._size -= len(data)
            self._changed.notify_all()
            return data

    async def discard(self) -> None:
        """Nobody reads any more: drop what is there and what will come."""
        async with self._changed:
            self._discarding = True
            self._pieces.clear()
            self._size = 0
            self._changed.notify_all()


class Channel(Protocol):
    """One byte stream in both directions."""

    @property
    def inbox(self) -> Inbox:
        """What the client sends."""
        ...

    async def write(self, data: bytes) -> None:
        """Send bytes; waits until the client has taken enough. Raises OSError when it is gone."""
        ...

    async def end(self) -> None:
        """Say that no more will be sent, as far as the protocol can say that. Raises OSError."""
        ...
