"""Files that are either the old or the new one, never half."""

import os
from pathlib import Path


def replace(path: Path, data: bytes, *, mode: int = 0o644, durable: bool = False) -> None:
    """Write `data` to `path` atomically; with `durable` it also survives a power cut.

    Raises OSError as the file system gives it; the old file is then still there.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        try:
            os.fchmod(handle, mode)
            write_all(handle, data)
            if durable:
                os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(fresh, path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    if durable:
        _sync_folder(path.parent)


def write_all(handle: int, data: bytes) -> None:
    """One write may take a part only, and say nothing of a disk that is full. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
