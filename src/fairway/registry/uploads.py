"""Blobs on their way in: each upload is a session with an own lock, and ends by its digest or by its age."""

import asyncio
import secrets
from collections.abc import AsyncIterator

from fairway.registry.errors import RegistryProblem
from fairway.toolkit.clock import Clock
from fairway.toolkit.content_store import BlobWriter, ContentStore

_WRITE_BYTES = 1 << 20


class Upload:
    """One session. What was written stays when a request breaks off, so that the client may go on from there."""

    def __init__(self, id: str, repository: str, writer: BlobWriter, now_seconds: float) -> None:
        self.id = id
        self.repository = repository
        self.writer = writer
        self.lock = asyncio.Lock()
        self.touched_seconds = now_seconds

    @property
    def path(self) -> str:
        return f"/v2/{self.repository}/blobs/uploads/{self.id}"

    @property
    def range(self) -> str:
        """`0-<last byte>`, as the spec words it; an empty upload says 0-0, as registries do."""
        return f"0-{max(self.writer.size_bytes - 1, 0)}"

    async def append(self, pieces: AsyncIterator[bytes], size_bytes_max: int) -> int:
        """Write what arrives; returns how many bytes. Raises RegistryProblem, BodyLost, OSError."""
        waiting: list[bytes] = []
        waiting_bytes = written_bytes = 0
        async for piece in pieces:
            waiting.append(piece)
            waiting_bytes += len(piece)
            if self.writer.size_bytes + waiting_bytes > size_bytes_max:
                raise RegistryProblem("SIZE_INVALID", f"a blob has at most {size_bytes_max} bytes", status=413)
            if waiting_bytes >= _WRITE_BYTES:
                written_bytes += await self._write(waiting)
                waiting, waiting_bytes = [], 0
        return written_bytes + await self._write(waiting)

    async def _write(self, pieces: list[bytes]) -> int:
        data = b"".join(pieces)
        if data:
            await asyncio.to_thread(self.writer.write, data)
        return len(data)


class Uploads:
    """The sessions of this process; after a restart clients begin again, and the store sweeps what was written."""

    def __init__(self, blobs: ContentStore, clock: Clock, most: int) -> None:
        self._blobs = blobs
        self._clock = clock
        self._most = most
        self._open: dict[str, Upload] = {}

    def begin(self, repository: str) -> Upload:
        """A new session. Raises RegistryProblem when there are too many, OSError."""
        if len(self._open) >= self._most:
            raise RegistryProblem("TOOMANYREQUESTS", f"{self._most} uploads are open already; try again later")
        upload = Upload(secrets.token_urlsafe(24), repository, self._blobs.writer(), self._clock.monotonic())
        self._open[upload.id] = upload
        return upload

    def get(self, repository: str, id: str) -> Upload:
        """Raises RegistryProblem."""
        upload = self._open.get(id)
        if upload is None or upload.repository != repository:
            raise RegistryProblem("BLOB_UPLOAD_UNKNOWN", "there is no such upload here; begin again with POST")
        upload.touched_seconds = self._clock.monotonic()
        return upload

    def end(self, upload: Upload) -> None:
        """Forget a session and, unless it was committed, what it wrote."""
        self._open.pop(upload.id, None)
        upload.writer.abort()

    def expire(self, idle_seconds: float) -> int:
        """End what nobody has touched for long and nobody is writing to; returns how many."""
        limit = self._clock.monotonic() - idle_seconds
        old = [upload for upload in self._open.values() if upload.touched_seconds <= limit and not upload.lock.locked()]
        for upload in old:
            self.end(upload)
        return len(old)

    def close(self) -> None:
        """End all of them."""
        for upload in list(self._open.values()):
            self.end(upload)
