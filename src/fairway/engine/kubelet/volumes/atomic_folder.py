"""A folder whose files change all at once: a reader sees the old set or the new one.

The layout is upstream's AtomicWriter: `..data` is a link to a folder named after the time, each file is a link through
`..data`, and an update swaps that one link.
"""

import os
import shutil
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from fairway.engine.kubelet.volumes.ownership import give_to_group
from fairway.engine.kubelet.volumes.payload import File

_DATA = "..data"
_FRESH = "..data_tmp"


def write(folder: Path, files: Iterable[File], now: datetime, *, group: int | None = None) -> bool:
    """Make `folder` hold exactly these files, readable by `group`; whether anything changed.

    Raises OSError; ValueError for a path that would leave the folder.
    """
    wanted = {_checked(file.path): file for file in files}
    old = _target(folder)
    if old is not None and _same(folder / old, wanted):
        return False
    name = _fill(folder, wanted, now)
    if group is not None:
        give_to_group(folder / name, group, read_only=True)
    _swap(folder, name)
    _link(folder, wanted)
    if old is not None and old != name:
        shutil.rmtree(folder / old, ignore_errors=True)
    return True


def _checked(path: str) -> str:
    parts = path.split("/")
    if not path or path.startswith("/") or ".." in parts or parts[0].startswith(".."):
        raise ValueError(f'invalid path "{path}": must be relative, without ".." and not begin with ".."')
    return path


def _target(folder: Path) -> str | None:
    try:
        return os.readlink(folder / _DATA)
    except OSError:
        return None


def _same(folder: Path, wanted: dict[str, File]) -> bool:
    present = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    if present != wanted.keys():
        return False
    return all(
        (folder / path).read_bytes() == file.data and (folder / path).stat().st_mode & 0o777 & file.mode == file.mode
        for path, file in wanted.items()
    )


def _fill(folder: Path, wanted: dict[str, File], now: datetime) -> str:
    """A new folder with the files, readable by whoever the modes say."""
    stem = now.strftime("..%Y_%m_%d_%H_%M_%S.%f")
    name = next(each for number in range(1000) if not (folder / (each := f"{stem}.{number}")).exists())
    fresh = folder / name
    fresh.mkdir()
    fresh.chmod(0o755)
    for path, file in wanted.items():
        target = fresh / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.data)
        target.chmod(file.mode)
    return name


def _swap(folder: Path, name: str) -> None:
    fresh = folder / _FRESH
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(name)
    fresh.rename(folder / _DATA)


def _link(folder: Path, wanted: dict[str, File]) -> None:
    """The names that users see; a path with folders is linked at its first one."""
    names = {path.split("/")[0] for path in wanted}
    for name in names:
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(f"{_DATA}/{name}")
    for entry in os.listdir(folder):
        if not entry.startswith("..") and entry not in names:
            (folder / entry).unlink()
