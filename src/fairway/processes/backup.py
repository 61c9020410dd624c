"""`fairway backup` and `fairway restore`: the objects and the keys of an instance in one file.

A backup is a tar archive of `api/` (a consistent copy of the objects, the keys of encrypted Secrets) and `pki/`.
Images, logs and the content of volumes are not in it.
"""

import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from fairway.cli import terminal
from fairway.engine.apiserver.store import StoreError, copies
from fairway.engine.apiserver.store.copies import Contents
from fairway.processes import instance

_DATABASE = "objects.db"
_FOLDERS = ("api", "pki")
_LEFT_OUT = ("objects.", "audit.", ".")
"""Beginnings of file names in `api/`: the database itself (its copy goes in), the audit log, unfinished files."""
_PROBLEMS = (StoreError, OSError, tarfile.TarError)


class NoBackup(Exception):
    """The file cannot be made or used; the message says why."""


def back_up(state_dir: Path, file: Path) -> int:
    """Write the archive, whether the instance runs or not; returns the exit code."""
    try:
        contents = write(state_dir, file)
    except (*_PROBLEMS, NoBackup) as error:
        terminal.fail(f"no backup: {error}")
        return 1
    terminal.ok(f"{file}: {contents.objects} objects at revision {contents.revision}; it holds keys, keep it secret")
    return 0


def restore(state_dir: Path, file: Path) -> int:
    """Put the archive's state in place of the present one, which is kept aside; returns the exit code."""
    try:
        lock = instance.claim(state_dir)
    except instance.Busy as error:
        terminal.fail(f"{error}\n    → fairway down --state-dir {state_dir}")
        return 1
    except OSError as error:
        terminal.fail(f"not restored, nothing has changed: {error}")
        return 1
    try:
        contents, aside = put_back(state_dir, file)
    except (*_PROBLEMS, NoBackup) as error:
        terminal.fail(f"not restored, nothing has changed: {error}")
        return 1
    finally:
        os.close(lock)
    terminal.ok(f"restored {contents.objects} objects; the revision goes on at {contents.revision}")
    if aside is not None:
        terminal.ok(f"what was there before is in {aside}")
    return 0


def write(state_dir: Path, file: Path) -> Contents:
    """Raises NoBackup, StoreError, OSError."""
    database = state_dir / "api" / _DATABASE
    if not database.exists():
        raise NoBackup(f"{state_dir} holds no cluster (there is no {database})")
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    with _scratch(file.parent) as folder:
        contents = copies.copy(database, folder / _DATABASE)
        try:
            _pack(state_dir, folder / _DATABASE, unfinished)
            os.replace(unfinished, file)
        finally:
            unfinished.unlink(missing_ok=True)
    return contents


def _pack(state_dir: Path, database: Path, target: Path) -> None:
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as stream:
        with tarfile.open(fileobj=stream, mode="w:gz") as archive:
            archive.add(database, f"api/{_DATABASE}")
            for path in _keys(state_dir):
                archive.add(path, str(path.relative_to(state_dir)))
        stream.flush()
        os.fsync(stream.fileno())


def _keys(state_dir: Path) -> Iterator[Path]:
    for folder in _FOLDERS:
        for path in sorted((state_dir / folder).glob("*")):
            if path.is_file() and not path.name.startswith(_LEFT_OUT):
                yield path


def put_back(state_dir: Path, file: Path) -> tuple[Contents, Path | None]:
    """What was restored, and where the old state is. Raises NoBackup, StoreError, OSError, tarfile.TarError."""
    with _scratch(state_dir) as folder:
        with tarfile.open(file) as archive:
            archive.extractall(folder, members=_members(archive, file), filter="data")
        if not (folder / "api" / _DATABASE).is_file():
            raise NoBackup(f"{file} is no backup: it has no api/{_DATABASE}")
        contents = copies.make_successor(folder / "api" / _DATABASE)
        return contents, _swap(state_dir, folder)


def _members(archive: tarfile.TarFile, file: Path) -> Iterator[tarfile.TarInfo]:
    for member in archive:
        place = Path(member.name).parts
        if not member.isfile() or len(place) != 2 or place[0] not in _FOLDERS:
            raise NoBackup(f"{file} is no backup: it holds {member.name}")
        yield member


def _swap(state_dir: Path, restored: Path) -> Path | None:
    aside = state_dir / f"replaced-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    for folder in _FOLDERS:
        if (state_dir / folder).exists():
            aside.mkdir(mode=0o700, exist_ok=True)
            os.rename(state_dir / folder, aside / folder)
        if (restored / folder).exists():
            os.chmod(restored / folder, 0o700)
            os.rename(restored / folder, state_dir / folder)
    return aside if aside.exists() else None


@contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    """A folder on the same file system, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=".backup-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
