"""The body of a request as git needs it: unpacked, bounded, and readable to a point."""

import zlib
from collections.abc import AsyncIterator

from fairway.toolkit.http_messages import Request

_PIECE_BYTES = 256 * 1024
_GZIP = 31


class BodyRefused(Exception):
    """Too large, or not what its headers say."""


async def pieces(request: Request) -> AsyncIterator[bytes]:
    """What was sent, without its gzip. A small body may unfold to any size: in pieces. Raises BodyRefused, BodyLost."""
    if request.header("content-encoding").lower() not in ("gzip", "x-gzip"):
        async for piece in request.pieces():
            yield piece
        return
    inflate = zlib.decompressobj(_GZIP)
    try:
        async for piece in request.pieces():
            waiting = piece
            while waiting:
                if unpacked := inflate.decompress(waiting, _PIECE_BYTES):
                    yield unpacked
                waiting = inflate.unconsumed_tail
        while rest := inflate.decompress(inflate.unconsumed_tail, _PIECE_BYTES):
            yield rest
    except zlib.error:
        raise BodyRefused("the body is not gzip, as its Content-Encoding says") from None


async def whole(request: Request, bytes_max: int) -> bytes:
    """All of it. Raises BodyRefused, BodyLost."""
    found = bytearray()
    async for piece in pieces(request):
        found += piece
        if len(found) > bytes_max:
            raise BodyRefused(f"the request is larger than {bytes_max} bytes")
    return bytes(found)
