"""Sessions in memory: every program is like `cat`, which gives back what it is given and ends with its input."""

import asyncio
from collections.abc import Callable

from fairway.engine.kubelet.runtime.model import ExecResult
from fairway.engine.kubelet.runtime.sessions import STDERR, STDOUT, Write


class FakeCommand:
    """A command: first the output that it was made with, then what it is given until that ends."""

    def __init__(self, result: ExecResult, *, stdin: bool) -> None:
        self._code = result.exit_code
        self._pieces: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()
        self._takes = stdin
        for stream, data in ((STDOUT, result.stdout), (STDERR, result.stderr)):
            if data:
                self._pieces.put_nowait((stream, data))
        if not stdin:
            self._pieces.put_nowait(None)
        self.sizes: list[tuple[int, int]] = []
        self.closed = False

    async def copy_output(self, write: Write) -> int | None:
        while piece := await self._pieces.get():
            await write(*piece)
        return self._code

    async def write(self, data: bytes) -> None:
        if self._takes:
            self._pieces.put_nowait((STDOUT, data))

    async def end_input(self) -> None:
        if self._takes:
            self._takes = False
            self._pieces.put_nowait(None)

    async def resize(self, columns: int, rows: int) -> None:
        self.sizes.append((columns, rows))

    def close(self) -> None:
        self.closed = True


class FakeAttached:
    """Somebody at a container; `give` takes its input to it, `wanted` are the outputs that are heard."""

    def __init__(self, wanted: frozenset[int], give: Callable[[bytes], None], leave: Callable[[], None]) -> None:
        self._wanted = wanted
        self._give = give
        self._leave = leave
        self._pieces: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()
        self.sizes: list[tuple[int, int]] = []

    def hear(self, stream: int, data: bytes) -> None:
        """The container has said something."""
        if stream in self._wanted:
            self._pieces.put_nowait((stream, data))

    def end(self) -> None:
        """The container has ended, or the visit."""
        self._pieces.put_nowait(None)

    async def copy_output(self, write: Write) -> int | None:
        while piece := await self._pieces.get():
            await write(*piece)
        return None

    async def write(self, data: bytes) -> None:
        self._give(data)

    async def end_input(self) -> None:
        self._leave()

    async def resize(self, columns: int, rows: int) -> None:
        self.sizes.append((columns, rows))

    def close(self) -> None:
        self._pieces.put_nowait(None)
