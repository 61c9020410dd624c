"""From work that goes on by itself to a client that may go away: bytes in one end, a stream out of the other."""

import asyncio
from collections import deque

from fairway.toolkit.http_messages import Sink

_KEEPALIVE_SECONDS = 5.0
_BUFFERED_BYTES_MAX = 1 << 20


class Relay:
    """Holds a bounded number of bytes. Whoever puts never waits for a client that is gone."""

    def __init__(self, keepalive: bytes) -> None:
        self.keepalive = keepalive
        """What is sent when there is nothing to say for a while; may be empty."""
        self._pieces: deque[bytes] = deque()
        self._bytes = 0
        self._ended = False
        self._gone = False
        self._taken = asyncio.Event()
        self._put = asyncio.Event()

    def put(self, data: bytes) -> None:
        """Keep bytes for the client, without waiting."""
        if not self._gone and data:
            self._pieces.append(data)
            self._bytes += len(data)
            self._put.set()

    @property
    def full(self) -> bool:
        return self._bytes > _BUFFERED_BYTES_MAX

    async def room(self) -> None:
        """Wait until the client has taken enough, or is gone."""
        while self.full and not self._gone:
            self._taken.clear()
            await self._taken.wait()

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._put.set()

    def leave(self) -> None:
        """The client is gone; what still comes is dropped."""
        self._gone = True
        self._pieces.clear()
        self._bytes = 0
        self._taken.set()

    async def run(self, sink: Sink) -> None:
        """Write everything to the client, to the end."""
        try:
            while not self._ended or self._pieces:
                await self._wait(sink)
                while self._pieces:
                    data = self._pieces.popleft()
                    self._bytes -= len(data)
                    sink.write(data)
                    await sink.drain()
                self._taken.set()
        finally:
            self.leave()

    async def _wait(self, sink: Sink) -> None:
        if self._pieces or self._ended:
            return
        self._put.clear()
        try:
            async with asyncio.timeout(_KEEPALIVE_SECONDS):
                await self._put.wait()
        except TimeoutError:
            sink.write(self.keepalive)
            await sink.drain()
