"""Images that no pod uses go when the disk fills, the longest unused first."""

import asyncio
from collections.abc import Callable
from datetime import datetime

import msgspec

from fairway.engine.kubelet.images import Image
from fairway.engine.kubelet.interfaces import Images
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock
from fairway.toolkit.oci.reference import InvalidReference, parse

log = logs.get("kubelet")
_AGE_SECONDS_MIN = 120.0  # upstream's imageMinimumGCAge


class Freed(msgspec.Struct, frozen=True):
    """What a collection reached."""

    bytes: int
    images: tuple[str, ...]


class ImageCollector:
    """Remembers when each image was last seen in use; a restart forgets that, so every image is young then.

    An image that was built or imported on this machine stays: nothing could bring it back.
    """

    def __init__(self, images: Images, used: Callable[[], frozenset[str]], clock: Clock) -> None:
        self._images = images
        self._used = used
        self._clock = clock
        self._last_used: dict[str, datetime] = {}
        self._first_seen: dict[str, datetime] = {}

    async def look(self) -> tuple[Image, ...]:
        """Note what is there and what is in use now; returns what may go, oldest use first.  Raises OSError."""
        images = await asyncio.to_thread(self._images.list)
        now, used = self._clock.now(), normal(self._used())
        for image in images:
            self._first_seen.setdefault(image.reference, now)
            if image.reference in used or image.repo_digest in used:
                self._last_used[image.reference] = now
        young = [image.reference for image in images if self._age_seconds(image, now) < _AGE_SECONDS_MIN]
        free = [image for image in images if image.origin == "pulled" and image.reference not in young]
        idle = [image for image in free if image.reference not in used and image.repo_digest not in used]
        return tuple(sorted(idle, key=lambda image: self._used_at(image)))

    async def free(self, wanted_bytes: int) -> Freed:
        """Remove images until that much is free.  Raises OSError."""
        gone: list[str] = []
        freed_bytes = 0
        for image in await self.look():
            if freed_bytes >= wanted_bytes:
                break
            await asyncio.to_thread(self._images.remove, image.reference)
            freed_bytes += image.size_bytes
            gone.append(image.reference)
            log.info("collected", image=image.reference, bytes=image.size_bytes)
        return Freed(freed_bytes, tuple(gone))

    def _used_at(self, image: Image) -> datetime:
        return self._last_used.get(image.reference, self._first_seen[image.reference])

    def _age_seconds(self, image: Image, now: datetime) -> float:
        return (now - self._first_seen[image.reference]).total_seconds()


def normal(names: frozenset[str]) -> frozenset[str]:
    """Names as the store has them: `nginx` is `docker.io/library/nginx:latest`."""
    found = set()
    for name in names:
        try:
            found.add(str(parse(name)))
        except InvalidReference:
            continue  # such a container never started
    return frozenset(found)
