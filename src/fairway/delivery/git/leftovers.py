"""What processes leave behind when they are killed, and what people leave behind when they delete an App."""

import math
import os
import secrets
import shutil
from pathlib import Path

UNFINISHED = ".unfinished"
"""Repositories that were never moved to their place."""
REMOVED = ".removed"
"""Repositories of deleted Apps."""

_LOCKS = ("*.lock", "refs/**/*.lock", "objects/info/**/*.lock", "gc.pid")
_HALF_WRITTEN = ("objects/tmp_objdir-*", "objects/pack/tmp_*", "objects/pack/.tmp-*", "objects/??/tmp_obj_*")


def clear(repository: Path, before_seconds: float = math.inf) -> int:
    """Remove locks and half-written objects; returns how many. Git itself would wait for such locks for ever.

    While git may run there, only what has not been touched since a time long ago. Raises OSError.
    """
    paths = (path for pattern in (*_LOCKS, *_HALF_WRITTEN) for path in repository.glob(pattern))
    found = [path for path in paths if path.lstat().st_mtime < before_seconds]
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(found)


def put_aside(root: Path, repository: Path) -> None:
    """Move a repository out of the way; its new folder has the time of this moment. Raises OSError."""
    if not repository.exists():
        return
    folder = root / REMOVED
    folder.mkdir(exist_ok=True, mode=0o755)
    aside = folder / f"{repository.parent.name}.{repository.stem}.{secrets.token_hex(4)}.git"
    repository.rename(aside)
    os.utime(aside)


def sweep(root: Path, now_seconds: float, kept_seconds: float) -> int:
    """Delete what was never finished, and what was put aside long enough ago; returns how many. Raises OSError."""
    old = [path for path in (root / REMOVED).glob("*") if path.stat().st_mtime + kept_seconds < now_seconds]
    broken = [path for path in (root / UNFINISHED).glob("*") if path.stat().st_mtime + 3600 < now_seconds]
    for path in (*old, *broken):
        shutil.rmtree(path)
    return len(old) + len(broken)
