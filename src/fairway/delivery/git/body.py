"""The body of a request as git needs it: unpacked, bounded in size and time, and readable to a point."""

import asyncio
import zlib
from collections.abc import AsyncIterator

from fairway.delivery.git.limits import Limits
from fairway.toolkit.http_messages import Request

_PIECE_BYTES = 256 * 1024
_GZIP = 31


class BodyRefused(Exception):
    """Too large, or not what its headers say."""


class TooSlow(BodyRefused):
    """Whoever sends would never come to an end, and keeps a place that others wait for."""


async def pieces(request: Request, limits: Limits) -> AsyncIterator[bytes]:
    """What was sent, without its gzip. A small body may unfold to any size: in pieces. Raises BodyRefused, BodyLost."""
    if request.header("content-encoding").lower() not in ("gzip", "x-gzip"):
        async for piece in _in_time(request, limits):
            yield piece
        return
    inflate = zlib.decompressobj(_GZIP)
    try:
        async for piece in _in_time(request, limits):
            waiting = piece
            while waiting:
                if unpacked := inflate.decompress(waiting, _PIECE_BYTES):
                    yield unpacked
                waiting = inflate.unconsumed_tail
        while rest := inflate.decompress(inflate.unconsumed_tail, _PIECE_BYTES):
            yield rest
    except zlib.error:
        raise BodyRefused("the body is not gzip, as its Content-Encoding says") from None


async def _in_time(request: Request, limits: Limits) -> AsyncIterator[bytes]:
    """What arrives, from a client that is fast enough. What we take to work on it is not the client's time.

    There are `slow_seconds` to begin with; waiting takes of them, bytes give them back. Raises TooSlow, BodyLost.
    """
    now, rate = asyncio.get_running_loop().time, limits.bytes_per_second_min
    left, all_left = limits.slow_seconds, limits.transfer_timeout_seconds
    arriving = aiter(request.pieces())
    while True:
        began = now()
        try:
            async with asyncio.timeout(min(left, all_left)):
                piece = await anext(arriving, None)
        except TimeoutError:
            if left < all_left:
                slow = f"fewer than {rate} bytes a second for {limits.slow_seconds:g} s"
                raise TooSlow(f"the request arrives too slowly: {slow}") from None
            raise TooSlow(f"the request takes longer than {limits.transfer_timeout_seconds:g} s") from None
        if piece is None:
            return
        waited = now() - began
        left, all_left = min(left - waited + len(piece) / rate, limits.slow_seconds), all_left - waited
        yield piece


async def whole(request: Request, limits: Limits, bytes_max: int) -> bytes:
    """All of it. Raises BodyRefused, BodyLost."""
    found = bytearray()
    async for piece in pieces(request, limits):
        found += piece
        if len(found) > bytes_max:
            raise BodyRefused(f"the request is larger than {bytes_max} bytes")
    return bytes(found)
