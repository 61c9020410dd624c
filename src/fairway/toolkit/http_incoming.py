"""The body of a request while it arrives, with backpressure: what nobody has taken yet stops the sender."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

_BUFFERED_BYTES_MAX = 1 << 20


class BodyLost(Exception):
    """The client went away, or stopped sending, before the end of its body."""


class Incoming:
    """Pieces of a body, fed by the connection and taken by the handler."""

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None], stall_seconds: float) -> None:
        self.complete = False
        """Whether the connection has seen the end."""
        self._pause = pause
        self._resume = resume
        self._stall_seconds = stall_seconds
        self._pieces: deque[bytes] = deque()
        self._buffered_bytes = 0
        self._lost = False
        self._changed = asyncio.Event()

    def feed(self, data: bytes) -> None:
        """A piece arrived."""
        self._pieces.append(data)
        self._buffered_bytes += len(data)
        if self._buffered_bytes > _BUFFERED_BYTES_MAX:
            self._pause()
        self._changed.set()

    def end(self) -> None:
        """The whole body arrived."""
        self.complete = True
        self._changed.set()

    def fail(self) -> None:
        """The connection is gone."""
        self._lost = not self.complete
        self._changed.set()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Everything that arrives, in large pieces. Raises BodyLost."""
        while True:
            while not self._pieces:
                if self.complete:
                    return
                if self._lost:
                    raise BodyLost("the connection was closed in the middle of the body")
                self._changed.clear()
                await self._wait()
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._buffered_bytes = 0
            self._resume()
            yield data

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._stall_seconds):
                await self._changed.wait()
        except TimeoutError:
            raise BodyLost(f"nothing arrived for {self._stall_seconds:g} s") from None
