"""Content-addressed blobs and durable names for them, shared by processes without a daemon.

Layout under one root folder: `blobs/sha256/<hex>` finished blobs, `ingest/` unfinished ones, `lock` for removers.
A blob appears whole or not at all (rename). Bytes are not synced one by one: `sync` makes everything written so far
durable, and a name is recorded only after that.
"""

import ctypes
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec

from fairway.toolkit import files

_PIECE_BYTES = 1 << 20
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_LIBC = ctypes.CDLL(None, use_errno=True)


class StoreError(Exception):
    """Content that cannot be stored or found."""


class BlobNotFound(StoreError):
    """No such blob here."""


class DigestMismatch(StoreError):
    """The bytes are not those that the digest names."""


class BadDigest(StoreError):
    """Not a digest of the form sha256:<64 hex digits>."""


def sha256(data: bytes) -> str:
    """The digest of `data`, with its algorithm."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def checked_digest(text: str) -> str:
    """`text` if it is a sha256 digest; it is then safe as a file name. Raises BadDigest."""
    if not _DIGEST.match(text):
        raise BadDigest(f"{text[:80]!r} is not a digest of the form sha256:<64 hex digits>")
    return text


class BlobWriter:
    """A blob on its way in; gone unless `commit` was called."""

    def __init__(self, store: "ContentStore") -> None:
        self._store = store
        self._file, self._path = store.ingest_file()
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def write(self, data: bytes) -> None:
        """Append. Raises OSError (a full disk, for example)."""
        self._hash.update(data)
        self.size_bytes += len(data)
        self._file.write(data)

    def restart(self) -> None:
        """Forget what was written."""
        self._file.seek(0)
        self._file.truncate()
        self._hash, self.size_bytes = hashlib.sha256(), 0

    def digest(self) -> str:
        """The digest of what was written so far."""
        return "sha256:" + self._hash.hexdigest()

    def commit(self, expected: str | None = None) -> str:
        """Let the blob appear under its digest. Raises DigestMismatch if it is not the `expected` one."""
        digest = self.digest()
        if expected is not None and digest != expected:
            raise DigestMismatch(f"expected {expected}, got {digest} ({self.size_bytes} bytes)")
        self._file.flush()
        os.replace(self._path, self._store.path(digest))
        self._file.close()
        return digest

    def abort(self) -> None:
        """Drop an unfinished blob; does nothing after `commit`."""
        if not self._file.closed:
            self._path.unlink(missing_ok=True)
            self._file.close()


class ContentStore:
    """Blobs by sha256. Any number of threads and processes may write at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._blobs = root / "blobs" / "sha256"
        self._ingest = root / "ingest"
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._blobs.mkdir(parents=True, exist_ok=True)
        self._ingest.mkdir(exist_ok=True)

    def path(self, digest: str) -> Path:
        """Where the blob is or would be. Raises BadDigest."""
        return self._blobs / checked_digest(digest).removeprefix("sha256:")

    def has(self, digest: str) -> bool:
        return self.path(digest).is_file()

    def size_bytes(self, digest: str) -> int:
        """Raises BlobNotFound."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            raise BlobNotFound(digest) from None

    def open(self, digest: str) -> BinaryIO:
        """The blob to read from. Raises BlobNotFound."""
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError:
            raise BlobNotFound(digest) from None

    def read(self, digest: str) -> bytes:
        """A whole (small) blob. Raises BlobNotFound."""
        with self.open(digest) as blob:
            return blob.read()

    def writer(self) -> BlobWriter:
        return BlobWriter(self)

    def put(self, data: bytes, expected: str | None = None) -> str:
        """Store a small blob; returns its digest. Raises DigestMismatch."""
        with self.writer() as writer:
            writer.write(data)
            return writer.commit(expected)

    def verify(self, digest: str) -> bool:
        """Whether the stored bytes still are what the digest says. Raises BlobNotFound."""
        seen = hashlib.sha256()
        with self.open(digest) as blob:
            while piece := blob.read(_PIECE_BYTES):
                seen.update(piece)
        return "sha256:" + seen.hexdigest() == digest

    def remove(self, digest: str) -> int:
        """Remove a blob that may be there; returns the bytes freed."""
        path = self.path(digest)
        try:
            size_bytes = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return 0
        return size_bytes

    def digests(self) -> Iterator[str]:
        for entry in os.scandir(self._blobs):
            if _DIGEST.match(f"sha256:{entry.name}"):
                yield f"sha256:{entry.name}"

    def sync(self) -> None:
        """Make everything written so far survive a power cut."""
        handle = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if _LIBC.syncfs(handle) != 0:
                raise OSError(ctypes.get_errno(), f"syncfs {self.root}")
        finally:
            os.close(handle)

    @contextmanager
    def lock(self, *, exclusive: bool) -> Iterator[None]:
        """Adders hold it shared, removers exclusively; blocks until it is free."""
        with (self.root / "lock").open("ab") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            yield

    def ingest_file(self) -> tuple[BinaryIO, Path]:
        """A fresh locked file; the lock tells `sweep` that its writer lives."""
        while True:
            path = self._ingest / secrets.token_hex(8)
            file = path.open("xb+")
            if try_lock(file.fileno()):
                return file, path
            file.close()

    def sweep(self) -> int:
        """Remove unfinished blobs whose writer is gone; returns how many."""
        count = 0
        for entry in os.scandir(self._ingest):
            try:
                handle = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                if try_lock(handle):
                    Path(entry.path).unlink(missing_ok=True)
                    count += 1
            finally:
                os.close(handle)
        return count


def try_lock(handle: int) -> bool:
    """Take an exclusive lock on an open file or folder if nobody holds it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Name(msgspec.Struct, frozen=True):
    """A name for a blob, with a few facts about it."""

    name: str
    digest: str
    facts: Mapping[str, str] = {}


class Names:
    """Durable names, one small file each, so that every process sees a change at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str) -> Name | None:
        return self._read(self._path(name))

    def set(self, record: Name) -> None:
        """Record or move a name; durable when this returns."""
        files.replace(self._path(record.name), msgspec.json.encode(record), durable=True)

    def delete(self, name: str) -> bool:
        """Whether there was such a name."""
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            return False
        return True

    def all(self) -> tuple[Name, ...]:
        """Every name, sorted."""
        found = (self._read(path) for path in self._folder.glob("[!.]*.json"))
        return tuple(sorted((record for record in found if record), key=lambda record: record.name))

    def _path(self, name: str) -> Path:
        return self._folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"

    def _read(self, path: Path) -> Name | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=Name)
        except FileNotFoundError:
            return None
