"""Layer archives as plain bytes: decompressed in small steps, hashed on both sides in one pass."""

import hashlib
import importlib
import zlib
from collections.abc import Callable
from typing import BinaryIO, Protocol

_PIECE_BYTES = 256 * 1024
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"


class BadArchive(Exception):
    """A layer archive that is broken, hostile or of an unknown kind; the message says which."""


class _Inflater(Protocol):
    def __call__(self, data: bytes) -> tuple[bytes, bytes]:
        """Compressed bytes in; at most a piece of plain bytes and the compressed rest out."""
        ...


class LayerReader:
    """Reads a gzip, zstd or plain archive as plain bytes.

    `digest` and `diff_id` (compressed and plain sha256) are complete after `drain`. `limit_bytes` bounds the plain
    size, so a small archive cannot fill the disk; `allow` bounds what may be read before the next call of it.
    """

    def __init__(self, source: BinaryIO, limit_bytes: int) -> None:
        self._source = source
        self._limit_bytes = limit_bytes
        self._outer, self._inner = hashlib.sha256(), hashlib.sha256()
        self._rest = b""
        self._allowed_bytes = limit_bytes
        self.compressed_bytes = self.plain_bytes = 0
        self._inflate = self._detect()

    @property
    def digest(self) -> str:
        return "sha256:" + self._outer.hexdigest()

    @property
    def diff_id(self) -> str:
        return "sha256:" + self._inner.hexdigest()

    def allow(self, size_bytes: int) -> None:
        """Refuse the archive if more than this is read from now on."""
        self._allowed_bytes = size_bytes

    def read(self, size_bytes: int = _PIECE_BYTES) -> bytes:
        """Up to `size_bytes` plain bytes; empty at the end. Raises BadArchive."""
        while True:
            if not self._rest:
                self._rest = self._fetch()
            plain, rest = self._step(size_bytes)
            ended = not plain and not rest and not self._rest
            self._rest = rest
            if plain or ended:
                return self._count(plain)

    def drain(self) -> None:
        """Read to the end, so that the digests are complete."""
        self.allow(self._limit_bytes)
        while self.read():
            pass

    def _step(self, size_bytes: int) -> tuple[bytes, bytes]:
        if self._inflate is None:
            return self._rest[:size_bytes], self._rest[size_bytes:]
        return self._inflate(self._rest)

    def _fetch(self) -> bytes:
        data = self._source.read(_PIECE_BYTES)
        self._outer.update(data)
        self.compressed_bytes += len(data)
        return data

    def _count(self, plain: bytes) -> bytes:
        self._inner.update(plain)
        self.plain_bytes += len(plain)
        self._allowed_bytes -= len(plain)
        if self.plain_bytes > self._limit_bytes:
            raise BadArchive(f"the archive unpacks to more than {self._limit_bytes} bytes")
        if self._allowed_bytes < 0:
            raise BadArchive("the archive has an entry with an unreasonably large header")
        return plain

    def _detect(self) -> "_Inflater | None":
        self._rest = self._fetch()
        if self._rest.startswith(_GZIP):
            return _Gunzip()
        if self._rest.startswith(_ZSTD):
            return _zstd()
        return None


class _Gunzip:
    """Any number of gzip members, a piece at a time."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(31)

    def __call__(self, data: bytes) -> tuple[bytes, bytes]:
        if not data:
            return self._last()
        if self._member.eof:
            if not data.startswith(_GZIP):
                return b"", b""  # padding after the last member, as gzip itself allows
            self._member = zlib.decompressobj(31)
        try:
            plain = self._member.decompress(data, _PIECE_BYTES)
        except zlib.error as error:
            raise BadArchive(f"broken gzip stream: {error}") from error
        return plain, self._member.unconsumed_tail or self._member.unused_data

    def _last(self) -> tuple[bytes, bytes]:
        plain = b"" if self._member.eof else self._member.decompress(b"", _PIECE_BYTES)
        if not plain and not self._member.eof:
            raise BadArchive("the gzip stream ends too early")
        return plain, b""


def _zstd() -> _Inflater:
    # Imported only here: an optional package that few images need.
    try:
        make: Callable[[], _ZstdObject] = importlib.import_module("zstandard").ZstdDecompressor().decompressobj
    except ImportError:
        raise BadArchive(
            "the layer is compressed with zstd; install the Python package 'zstandard', or build the image with gzip"
        ) from None
    stream = make()

    def inflate(data: bytes) -> tuple[bytes, bytes]:
        # zstandard has no output limit per call; small steps keep one step's output bounded.
        return (stream.decompress(data[:4096]), data[4096:]) if data else (b"", b"")

    return inflate


class _ZstdObject(Protocol):
    def decompress(self, data: bytes) -> bytes: ...
