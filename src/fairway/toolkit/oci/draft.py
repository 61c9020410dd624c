"""An image in the making: layers onto a base, and how to start the result.

Layers and documents depend on the content alone (sorted, without times), so the same input gives the same digest.
"""

import stat
from collections.abc import Iterable, Sequence

import msgspec

from fairway.toolkit.content_store import Name
from fairway.toolkit.oci import documents
from fairway.toolkit.oci.context import ContextError
from fairway.toolkit.oci.documents import ConfigFile, Descriptor, History, RootFs, RunConfig
from fairway.toolkit.oci.layers import Entry, Layer, write_layer
from fairway.toolkit.oci.reference import Reference
from fairway.toolkit.oci.stack import Place, look
from fairway.toolkit.oci.store import Image, ImageStore, store_documents


class Draft:
    """An image in the making: a base plus what was added so far."""

    def __init__(self, store: ImageStore, base: Image | None) -> None:
        """Start from a stored image or from nothing. Raises BlobNotFound, BadDocument."""
        self.store = store
        here = documents.here()
        manifest = store.manifest(base.manifest_digest) if base else None
        config = store.config(manifest) if manifest else ConfigFile(here.architecture, here.os)
        self._platform = config
        self.run = config.config or RunConfig()
        self._descriptors: list[Descriptor] = list(manifest.layers if manifest else ())
        self._diff_ids: list[str] = list(config.rootfs.diff_ids)
        self._history: list[History] = list(config.history or ())
        self.folders: list[str] = list(base.layers if base else ())

    def add(self, entries: Iterable[Entry], step: str, owner: tuple[int, int] = (0, 0)) -> None:
        """Add one layer and unpack it, so that later steps see it. Raises OSError, ContextError.

        `owner` is that of folders which must be made above the entries.
        """
        layer = write_layer(self.store.blobs, self._with_real_folders(entries, owner))
        self.add_layer(layer, step)

    def add_layer(self, layer: Layer, step: str) -> None:
        """Add a stored layer."""
        self.folders.insert(0, str(self.store.unpack_layer(layer.descriptor.digest, layer.diff_id)))
        self._descriptors.append(layer.descriptor)
        self._diff_ids.append(layer.diff_id)
        self._history.append(History(created_by=step))

    def note(self, step: str, **run: object) -> None:
        """Record a step without files, changing how the image runs."""
        self.run = msgspec.structs.replace(self.run, **run)
        self._history.append(History(created_by=step, empty_layer=True))

    def look(self, path: str) -> Place:
        """What is at a path of the image so far."""
        return look(self.folders, path)

    def commit(self, reference: Reference) -> Image:
        """Store and name the image. Raises OSError."""
        image = self.image(str(reference))
        self.store.record(reference, image.digest, image.digest, "local")
        name = self.store.find(reference)
        if name is None:
            raise FileNotFoundError(f"{reference} was removed at once")
        return self.store.load(name)

    def image(self, name: str = "") -> Image:
        """Store the image without naming it: it stays while the store is locked against collecting. Raises OSError."""
        config = msgspec.structs.replace(
            self._platform,
            created=None,
            config=self.run,
            rootfs=RootFs(tuple(self._diff_ids)),
            history=tuple(self._history),
        )
        digest = store_documents(self.store, config, tuple(self._descriptors))
        return self.store.load(Name(name, digest, {"manifest": digest, "origin": "local"}))

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """What all its layers are, lowest first."""
        return tuple(self._diff_ids)

    def _with_real_folders(self, entries: Iterable[Entry], owner: tuple[int, int]) -> Sequence[Entry]:
        """Entries with links among their parents followed, and folders that exist kept as they are."""
        found: dict[str, Entry] = {}
        real: dict[str, str] = {"": ""}
        for entry in entries:
            folder, _, name = entry.path.rpartition("/")
            parent = self._real_folder(folder, real, found, owner)
            path = f"{parent}/{name}" if parent else name
            place = self.look(path)
            if entry.is_folder and place.is_folder:
                real[entry.path] = place.path
                found.setdefault(place.path, _existing(place))
            else:
                real[entry.path] = path
                hard = self._real_file(entry.hard, real, found, owner) if entry.hard else None
                found[path] = msgspec.structs.replace(entry, path=path, hard=hard)
        return tuple(found.values())

    def _real_file(self, path: str, real: dict[str, str], found: dict[str, Entry], owner: tuple[int, int]) -> str:
        folder, _, name = path.rpartition("/")
        return f"{self._real_folder(folder, real, found, owner)}/{name}".lstrip("/")

    def _real_folder(self, folder: str, real: dict[str, str], found: dict[str, Entry], owner: tuple[int, int]) -> str:
        if folder in real:
            return real[folder]
        above, _, name = folder.rpartition("/")
        parent = self._real_folder(above, real, found, owner)
        place = self.look(f"{parent}/{name}")
        if place.mode is not None and not place.is_folder:
            raise ContextError(f"/{place.path} is a file in the image, not a folder")
        real[folder] = place.path
        found.setdefault(place.path, _existing(place) if place.is_folder else _made(place.path, owner))
        return place.path


def _made(path: str, owner: tuple[int, int]) -> Entry:
    return Entry(path, uid=owner[0], gid=owner[1])


def _existing(place: Place) -> Entry:
    return Entry(place.path, mode=stat.S_IMODE(place.mode or 0o755), uid=place.uid, gid=place.gid)
