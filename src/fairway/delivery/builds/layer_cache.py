"""Layers of RUN that are kept for the next build: small files that name blobs of the store, by App and key.

They lie below the store's `links/`, where a file with a blob's name keeps that blob from being collected:
`links/builds/<namespace>/<app>/<key>/<digest>`, or `…/<key>/nothing` for commands that changed nothing.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from fairway.kube.api.meta import ObjectKey
from fairway.toolkit import files
from fairway.toolkit.oci.layers import Layer
from fairway.toolkit.oci.store import ImageStore

KEY_LENGTH = 40
BYTES_MAX = 4 << 30
LAYERS_MAX = 500
_NOTHING = "nothing"


class Kept(msgspec.Struct, frozen=True):
    """What commands left the last time; no layer when they changed nothing."""

    layer: Layer | None


class LayerCache:
    """The layers of one App. Used while the store is locked against collecting."""

    def __init__(self, store: ImageStore, app: ObjectKey, bytes_max: int = BYTES_MAX) -> None:
        self._store = store
        self._folder = folder_of(store.root, app)
        self._bytes_max = bytes_max

    def find(self, key: str) -> Kept | None:
        """What there is under a key; it counts as used now."""
        for path in self._entries(key):
            kept = self._read(path)
            if kept is not None:
                os.utime(path)
                return kept
        return None

    def keep(self, key: str, layer: Layer | None) -> int:
        """Keep a layer, and let the ones go that were used longest ago until the rest fits; returns how many."""
        name = layer.descriptor.digest.removeprefix("sha256:") if layer else _NOTHING
        path = self._folder / key / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        files.replace(path, msgspec.json.encode(layer))
        return self._trim(path)

    def _entries(self, key: str) -> Iterator[Path]:
        yield from sorted((self._folder / key).glob("[!.]*"))

    def _read(self, path: Path) -> Kept | None:
        try:
            kept = Kept(msgspec.json.decode(path.read_bytes(), type=Layer | None))
        except (OSError, msgspec.DecodeError):
            return None
        if kept.layer is not None and not self._store.blobs.has(kept.layer.descriptor.digest):
            path.unlink(missing_ok=True)
            return None
        return kept

    def _trim(self, fresh: Path) -> int:
        found = sorted(self._folder.glob("*/[!.]*"), key=lambda path: (path != fresh, -path.stat().st_mtime_ns))
        size_bytes, removed = 0, 0
        for count, path in enumerate(found):
            kept = self._read(path)
            size_bytes += kept.layer.descriptor.size if kept and kept.layer else 0
            if path != fresh and (size_bytes > self._bytes_max or count >= LAYERS_MAX):
                shutil.rmtree(path.parent, ignore_errors=True)
                removed += 1
        return removed


def folder_of(root: Path, app: ObjectKey) -> Path:
    """Names come from Kubernetes: none of them can lead elsewhere."""
    return root / "links" / "builds" / app.namespace / app.name


def forget(root: Path, app: ObjectKey) -> None:
    """Remove what was kept for an App that is gone."""
    shutil.rmtree(folder_of(root, app), ignore_errors=True)


def apps(root: Path) -> Iterator[ObjectKey]:
    """The Apps for which something is kept."""
    for path in (root / "links" / "builds").glob("*/*"):
        yield ObjectKey(path.parent.name, path.name)
