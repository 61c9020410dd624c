"""Wake those who wait for news about a key."""

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Bells(Generic[K]):
    """One bell for each key; ringing wakes all who listen at that moment, and costs nothing when nobody does."""

    def __init__(self) -> None:
        self._listening: dict[K, list[asyncio.Future[None]]] = {}

    def ring(self, key: K) -> None:
        """Something about `key` changed."""
        for future in self._listening.pop(key, ()):
            if not future.done():
                future.set_result(None)

    def listen(self, key: K) -> "asyncio.Future[None]":
        """Done at the next ring. To miss nothing: listen, look, and only then wait."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = [one for one in self._listening.get(key, ()) if not one.done()]
        self._listening[key] = [*waiting, future]
        return future
