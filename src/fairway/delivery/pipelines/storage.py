"""Files that runs leave for each other: artifacts for the time of a run, caches from run to run of an App."""

import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec

from fairway.kube.api.meta import ObjectKey


class TooLarge(Exception):
    """More bytes than are taken; the message says how many are."""


class Limits(msgspec.Struct, frozen=True):
    """How much a run may leave, in bytes."""

    artifact_bytes_max: int = 1 << 30
    cache_bytes_max: int = 512 << 20
    app_cache_bytes_max: int = 2 << 30
    """All caches of one App; the ones that were written longest ago go first."""


class Storage:
    """`artifacts/<namespace>/<run>/<step>.tgz` and `caches/<namespace>/<app>/<key>.tgz` below the room's folder.

    Names come from Kubernetes or are hashes: none of them can lead elsewhere.
    """

    def __init__(self, root: Path, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._artifacts = root / "artifacts"
        self._caches = root / "caches"
        self._work = root / "work"

    def artifact(self, run: ObjectKey, step: str) -> Path:
        """Where the artifacts of a step are or would be."""
        return self._artifacts / run.namespace / run.name / f"{step}.tgz"

    def note(self, run: ObjectKey, step: str) -> Path:
        """Where the platform keeps what it must know of a step of a run besides its files."""
        return self._artifacts / run.namespace / run.name / f"{step}.note"

    def changes(self, run: ObjectKey, step: str) -> Path:
        """Where the objects are noted, or would be, that a step changed in the cluster."""
        return self._artifacts / run.namespace / run.name / f"{step}.changes.json"

    def cache(self, app: ObjectKey, name: str) -> Path:
        """Where a cache of an App is or would be."""
        return self._caches / app.namespace / app.name / f"{name}.tgz"

    def work_folder(self, run: ObjectKey) -> Path:
        """A fresh empty folder for a step that the platform does itself."""
        folder = self._work / run.namespace / run.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        return folder

    def ran_folder(self, run: ObjectKey) -> Path:
        """A folder beside the workspace of a step that the platform does itself."""
        folder = self._work / run.namespace / run.name / "ran"
        folder.mkdir(parents=True, mode=0o700)
        return folder

    async def write(self, path: Path, pieces: AsyncIterator[bytes], bytes_max: int) -> int:
        """Store a stream, whole or not at all. Raises TooLarge, OSError and what the stream raises."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        size_bytes = 0
        try:
            with fresh.open("wb") as file:
                async for piece in pieces:
                    size_bytes += len(piece)
                    if size_bytes > bytes_max:
                        raise TooLarge(f"more than {bytes_max} bytes")
                    file.write(piece)
            os.replace(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)
        return size_bytes

    def trim_caches(self, app: ObjectKey) -> int:
        """Remove the oldest caches of an App until the rest fits; returns how many went."""
        found = sorted(_files(self._caches / app.namespace / app.name), key=lambda one: -one[1])
        total, removed = 0, 0
        for path, _, size_bytes in found:
            total += size_bytes
            if total > self.limits.app_cache_bytes_max:
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def forget_run(self, run: ObjectKey) -> None:
        """Remove what only the run itself needed."""
        for folder in (self._artifacts, self._work):
            shutil.rmtree(folder / run.namespace / run.name, ignore_errors=True)

    def forget_app(self, app: ObjectKey) -> None:
        """Remove the caches of an App that is gone; there are only a few files."""
        shutil.rmtree(self._caches / app.namespace / app.name, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what was being written when the process before was killed. Only before anything is written."""
        for folder in (self._artifacts, self._caches):
            for path in folder.glob("*/*/.*.tgz.*"):
                path.unlink(missing_ok=True)

    def runs(self) -> Iterator[ObjectKey]:
        """The runs that have something here."""
        for folder in (self._artifacts, self._work):
            for path in folder.glob("*/*"):
                yield ObjectKey(path.parent.name, path.name)

    def apps(self) -> Iterator[ObjectKey]:
        """The Apps that have caches."""
        for path in self._caches.glob("*/*"):
            yield ObjectKey(path.parent.name, path.name)


def _files(folder: Path) -> Iterator[tuple[Path, float, int]]:
    """Files with their times and sizes."""
    for path in folder.glob("*.tgz"):
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        yield path, found.st_mtime, found.st_size
