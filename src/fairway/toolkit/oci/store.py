"""Images on this machine: names, documents, blobs, and layers unpacked for overlayfs.

Under the root folder, beside the content store's own: `names/` one file per image name, `layers/<32 hex digits of the
diff ID>/` one folder per unpacked layer (short, because all lower folders of a mount share one page of options),
`links/` files of whoever else keeps content: one anywhere below with a name of 64 hex digits keeps that blob.
A layer folder appears whole or not at all; a name appears after everything it needs is durable.
"""

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from fairway.toolkit.content_store import BlobNotFound, ContentStore, Name, Names, checked_digest, try_lock
from fairway.toolkit.oci import documents
from fairway.toolkit.oci.documents import BadDocument, ConfigFile, Manifest, RunConfig
from fairway.toolkit.oci.reference import Reference, parse
from fairway.toolkit.oci.streams import BadArchive
from fairway.toolkit.oci.unpack import unpack

_LINK_NAME = re.compile(r"[0-9a-f]{64}\Z")
Origin = Literal["local", "pulled"]
_LAYER_NAME = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")


class ImageIncomplete(Exception):
    """A named image lacks some of its content here."""


class ImageConfig(msgspec.Struct, frozen=True):
    """How a container of the image runs, in the image's own words; nothing is None."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    exposed_ports: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}
    stop_signal: str = ""


class Image(msgspec.Struct, frozen=True):
    """An image that can run: `layers` are folders for overlayfs, topmost first.

    `id` is the digest of the configuration, `digest` the one the registry knows the name by (of an index, if it is
    one), `manifest_digest` the one for this platform. `size_bytes` counts compressed content.
    """

    reference: str
    id: str
    digest: str
    manifest_digest: str
    layers: tuple[str, ...]
    config: ImageConfig
    size_bytes: int
    created: str
    origin: Origin

    @property
    def repo_digest(self) -> str:
        """`docker.io/library/nginx@sha256:…`."""
        reference = parse(self.reference)
        return f"{reference.name}@{self.digest}"


class ImageStore:
    """The images under one folder; any number of processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = ContentStore(root)
        self.names = Names(root / "names")
        self._layers = root / "layers"
        self._layers.mkdir(exist_ok=True)

    def sweep(self) -> int:
        """Remove what writers that are gone left unfinished; returns how many things."""
        count = self.blobs.sweep()
        for folder in self._layers.glob(".*"):
            count += self._sweep_folder(folder)
        return count

    def find(self, reference: Reference) -> Name | None:
        """The record of a name; a digest also matches a tag of the same repository that points to it."""
        exact = self.names.get(str(reference))
        if exact is not None or reference.digest is None:
            return exact
        fitting = (name for name in self.names.all() if name.digest == reference.digest)
        return next((name for name in fitting if parse(name.name).name == reference.name), None)

    def record(self, reference: Reference, digest: str, manifest_digest: str, origin: Origin) -> None:
        """Name an image whose content is here; durable when this returns. Raises OSError."""
        self.blobs.sync()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.names.set(Name(str(reference), digest, {"manifest": manifest_digest, "origin": origin, "since": now}))

    def manifest(self, digest: str) -> Manifest:
        """Raises BlobNotFound, BadDocument."""
        return documents.decode_manifest(self.blobs.read(digest))

    def config(self, manifest: Manifest) -> ConfigFile:
        """Raises BlobNotFound, BadDocument."""
        config = documents.decode_config(self.blobs.read(manifest.config.digest))
        if len(config.rootfs.diff_ids) != len(manifest.layers):
            raise BadDocument(
                f"the configuration names {len(config.rootfs.diff_ids)} layers, the manifest {len(manifest.layers)}"
            )
        return config

    def load(self, name: Name) -> Image:
        """The image behind a name. Raises ImageIncomplete when content or an unpacked layer is missing."""
        manifest_digest = name.facts.get("manifest", name.digest)
        try:
            manifest = self.manifest(manifest_digest)
            config = self.config(manifest)
        except (BlobNotFound, BadDocument) as error:
            raise ImageIncomplete(f"{name.name}: {error}") from error
        folders = [self.layer_folder(diff_id) for diff_id in reversed(config.rootfs.diff_ids)]
        for folder in folders:
            if not folder.is_dir():
                raise ImageIncomplete(f"{name.name}: layer {folder.name} is not unpacked")
        return Image(
            reference=name.name,
            id=manifest.config.digest,
            digest=name.digest,
            manifest_digest=manifest_digest,
            layers=tuple(map(str, folders)),
            config=_run_config(config.config or RunConfig()),
            size_bytes=manifest.config.size + sum(layer.size for layer in manifest.layers),
            created=config.created or name.facts.get("since", ""),
            origin="pulled" if name.facts.get("origin") == "pulled" else "local",
        )

    def list(self) -> tuple[Image, ...]:
        """Every complete image, one entry per name, sorted by name."""
        found = []
        for name in self.names.all():
            try:
                found.append(self.load(name))
            except ImageIncomplete:
                continue
        return tuple(found)

    def layer_folder(self, diff_id: str) -> Path:
        """Where the unpacked layer is or would be. Raises BadDigest."""
        return self._layers / checked_digest(diff_id)[7 : 7 + 32]

    def unpack_layer(self, digest: str, diff_id: str) -> Path:
        """Unpack a stored layer unless it is already there. Raises BadArchive, BlobNotFound, OSError."""
        target = self.layer_folder(diff_id)
        if target.is_dir():
            return target
        with self.unfinished_layer(diff_id) as folder, self.blobs.open(digest) as archive:
            done = unpack(archive, folder)
            self.finish_layer(folder, diff_id, done.diff_id)
        return target

    def unpack_all(self, manifest: Manifest) -> None:
        """Unpack every layer of an image. Raises BadArchive, BlobNotFound, BadDocument, OSError."""
        for layer, diff_id in zip(manifest.layers, self.config(manifest).rootfs.diff_ids, strict=True):
            self.unpack_layer(layer.digest, diff_id)

    @contextmanager
    def unfinished_layer(self, diff_id: str) -> Iterator[Path]:
        """A fresh locked folder to unpack into; removed at the end unless `finish_layer` moved it."""
        folder, handle = self._fresh_folder(self.layer_folder(diff_id).name)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(handle)

    def finish_layer(self, folder: Path, diff_id: str, unpacked_diff_id: str) -> None:
        """Let an unpacked layer appear. Raises BadArchive if it is not the one the configuration names."""
        if unpacked_diff_id != diff_id:
            raise BadArchive(f"the layer unpacks to {unpacked_diff_id}, the configuration says {diff_id}")
        target = self.layer_folder(diff_id)
        try:
            folder.rename(target)
        except OSError:
            if not target.is_dir():  # somebody else unpacked the same layer meanwhile
                raise

    def remove(self, reference: Reference) -> bool:
        """Remove a name; whether there was one. Its content stays until `collect`."""
        return self.names.delete(str(reference))

    def collect(self) -> int:
        """Remove content that no name, link or mount on this machine needs; returns the bytes of blobs freed."""
        with self.blobs.lock(exclusive=True):
            blobs, folders = self._needed()
            blobs |= self._linked()
            mounted = mounted_layers()
            freed_bytes = sum(self.blobs.remove(digest) for digest in [*self.blobs.digests()] if digest not in blobs)
            for folder in self._layers.glob("[!.]*"):
                if folder.name not in folders and folder.name not in mounted:
                    doomed = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
                    folder.rename(doomed)
                    shutil.rmtree(doomed)
        return freed_bytes

    def _needed(self) -> tuple[set[str], set[str]]:
        blobs: set[str] = set()
        folders: set[str] = set()
        for name in self.names.all():
            manifest_digest = name.facts.get("manifest", name.digest)
            blobs |= {name.digest, manifest_digest}
            try:
                manifest = self.manifest(manifest_digest)
                blobs |= {manifest.config.digest, *(layer.digest for layer in manifest.layers)}
                folders |= {self.layer_folder(diff_id).name for diff_id in self.config(manifest).rootfs.diff_ids}
            except (BlobNotFound, BadDocument):
                continue
        return blobs, folders

    def _linked(self) -> set[str]:
        files = (name for _, _, names in os.walk(self.root / "links") for name in names)
        return {f"sha256:{name}" for name in files if _LINK_NAME.match(name)}

    def _fresh_folder(self, name: str) -> tuple[Path, int]:
        while True:
            folder = self._layers / f".{name}.{secrets.token_hex(4)}"
            folder.mkdir(mode=0o755)
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if try_lock(handle):
                return folder, handle
            os.close(handle)

    @staticmethod
    def _sweep_folder(folder: Path) -> int:
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        try:
            if not try_lock(handle):
                return 0
            shutil.rmtree(folder, ignore_errors=True)
            return 1
        finally:
            os.close(handle)


def store_documents(store: ImageStore, config: ConfigFile, layers: tuple[documents.Descriptor, ...]) -> str:
    """Store the configuration and manifest of an image whose layers are stored; returns the manifest's digest."""
    data = documents.encode(config)
    descriptor = documents.Descriptor(documents.CONFIG, store.blobs.put(data), len(data))
    return store.blobs.put(documents.encode(Manifest(descriptor, layers)))


def mounted_layers() -> set[str]:
    """Names of layer folders in any overlay mount that this process can see, in whatever namespace."""
    found: set[str] = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            lines = (folder / "mountinfo").read_bytes().splitlines()
        except OSError:
            continue  # ended meanwhile, or not ours to read
        for line in lines:
            if b" - overlay " in line:
                found |= {name.decode() for name in _LAYER_NAME.findall(line)}
    return found


def _run_config(config: RunConfig) -> ImageConfig:
    return ImageConfig(
        entrypoint=config.entrypoint or (),
        cmd=config.cmd or (),
        env=config.env or (),
        working_dir=config.working_dir or "",
        user=config.user or "",
        exposed_ports=tuple(sorted(config.exposed_ports or {})),
        labels=config.labels or {},
        stop_signal=config.stop_signal or "",
    )
