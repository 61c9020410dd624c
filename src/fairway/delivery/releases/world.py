"""What making a Release needs from around it."""

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import msgspec

from fairway.kube.api.meta import ObjectKey
from fairway.kube.client.client import ApiClient
from fairway.toolkit.clock import Clock

IsGone = Callable[[str], Awaitable[bool]]
"""Whether an image, by its digest, is sure to be had nowhere any more."""


class ReleaseRefused(Exception):
    """No Release can be made of this; the text is for people: what is wrong, where, and what to do."""


class Problem(msgspec.Struct, frozen=True):
    """A user's mistake, as text for people."""

    text: str


class Sources(Protocol):
    """Where the files of a commit come from."""

    async def checkout(
        self, key: ObjectKey, commit: str, path: str, destination: Path, *, bytes_max: int
    ) -> object: ...


class ReleaseWorld(msgspec.Struct, frozen=True):
    """`scratch_dir` is where work trees live for a moment; every user may enter it, as renderers run as nobody.

    `helm` and `kubectl` are looked for on PATH when empty.
    """

    client: ApiClient
    clock: Clock
    repositories: Sources
    scratch_dir: Path = Path(tempfile.gettempdir())
    kubectl: str = ""
    helm: str = ""
