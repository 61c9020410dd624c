"""A disk that is soon full, for tests that run as root."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fairway.toolkit import linux


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """A new folder with so much room, such as `4m`."""
    place.mkdir()
    linux.mount("tmpfs", str(place), "tmpfs", 0, f"size={size}")
    try:
        yield place
    finally:
        linux.umount(str(place), linux.MNT_DETACH)


def fill(disk: Path) -> Path:
    """Take all room that is left; the file to remove for having it back."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while file.write(b"\0" * 4096):
            pass
    return filler
