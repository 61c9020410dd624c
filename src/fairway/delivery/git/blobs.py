"""The contents of many objects from one git process, in bounded memory."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from pathlib import Path

from fairway.delivery.git.errors import GitFailed
from fairway.delivery.git.objects import Entry
from fairway.delivery.git.process import Child, Git

_PIECE_BYTES = 256 * 1024


async def blobs(git: Git, repository: Path, entries: Sequence[Entry]) -> AsyncGenerator[tuple[Entry, bytes], None]:
    """Each entry with its content, in pieces and in order; an empty one has one empty piece. Raises GitFailed."""
    if not entries:
        return
    seconds = git.limits.transfer_timeout_seconds
    async with git.start(("cat-file", "--batch", "--buffer"), repository, timeout_seconds=seconds) as child:
        asking = asyncio.create_task(_ask(child, entries))
        try:
            for entry in entries:
                async for data in _content(child, entry):
                    yield entry, data
        except asyncio.IncompleteReadError:
            raise GitFailed("git cat-file ended too early") from None
        finally:
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking


async def _ask(child: Child, entries: Sequence[Entry]) -> None:
    """Beside reading: git answers while it is asked, and would wait for us else."""
    for start in range(0, len(entries), 1000):
        ids = "".join(f"{entry.id}\n" for entry in entries[start : start + 1000])
        if not await child.write(ids.encode()):
            return
    child.stdin.close()


async def _content(child: Child, entry: Entry) -> AsyncGenerator[bytes, None]:
    header = (await child.stdout.readuntil(b"\n")).split()
    if len(header) != 3 or header[1] != b"blob" or int(header[2]) != entry.size_bytes:
        raise GitFailed(f"the object {entry.id} is not the file that it should be")
    left = entry.size_bytes
    if not left:
        yield b""
    while left:
        data = await child.stdout.readexactly(min(left, _PIECE_BYTES))
        left -= len(data)
        yield data
    await child.stdout.readexactly(1)
