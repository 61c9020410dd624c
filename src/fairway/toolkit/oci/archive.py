"""Import image archives: what `docker save` and `podman save` write, and OCI layouts in a tar."""

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from fairway.toolkit.content_store import DigestMismatch
from fairway.toolkit.oci import documents
from fairway.toolkit.oci.documents import BadDocument, Descriptor, Manifest
from fairway.toolkit.oci.layers import copy_layer
from fairway.toolkit.oci.reference import InvalidReference, Reference, parse
from fairway.toolkit.oci.store import Image, ImageStore
from fairway.toolkit.oci.streams import BadArchive

Tell = Callable[[str], None]
_DOCUMENT_BYTES_MAX = 8 << 20
_NAME_NOTES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


class _Saved(msgspec.Struct, frozen=True, rename="pascal"):
    """One image of Docker's manifest.json."""

    config: str
    layers: tuple[str, ...] = ()
    repo_tags: tuple[str, ...] | None = None


def import_archive(store: ImageStore, path: Path, name: Reference | None, tell: Tell) -> tuple[Image, ...]:
    """Store the images of an archive under the names in it, or a single image under `name`.

    Raises BadArchive for what cannot be used, OSError.
    """
    try:
        with tarfile.open(path, "r:*") as tar:
            archive = _Archive(tar)
            found = [*_from_layout(store, archive, tell)] if "index.json" in archive else []
            if not any(reference for reference, _ in found) and "manifest.json" in archive:
                found = [*_from_saved(store, archive, tell)] or found
    except (tarfile.TarError, EOFError, DigestMismatch, BadDocument, InvalidReference) as error:
        raise BadArchive(f"{path}: {error}") from error
    if not found:
        raise BadArchive(f"{path}: neither index.json nor manifest.json in it; is it an image archive?")
    return tuple(_name(store, reference, digest) for reference, digest in _named(found, name, path))


class _Archive:
    """Members by name, whatever their order."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._members = {member.name.removeprefix("./"): member for member in tar.getmembers()}

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def open(self, name: str) -> BinaryIO:
        """Raises BadArchive if there is no such file."""
        member = self._members.get(name.removeprefix("./"))
        try:
            file = self._tar.extractfile(member) if member else None
        except KeyError:
            file = None
        if file is None:
            raise BadArchive(f"{name!r} is missing in the archive")
        return cast(BinaryIO, file)

    def read(self, name: str) -> bytes:
        """A whole small file. Raises BadArchive."""
        with self.open(name) as file:
            data = file.read(_DOCUMENT_BYTES_MAX + 1)
        if len(data) > _DOCUMENT_BYTES_MAX:
            raise BadArchive(f"{name!r} is larger than {_DOCUMENT_BYTES_MAX} bytes")
        return data


def _from_layout(store: ImageStore, archive: _Archive, tell: Tell) -> Iterator[tuple[Reference | None, str]]:
    """Names and manifest digests of an OCI layout."""
    for entry in documents.decode_index(archive.read("index.json")).manifests:
        named = [(entry.annotations or {}).get(note, "") for note in _NAME_NOTES]
        text = next((name for name in named if "/" in name or ":" in name), "")  # else it is only a tag
        digest = _platform_manifest(store, archive, entry)
        manifest = store.manifest(digest)
        for blob in (manifest.config, *manifest.layers):
            tell(f"{blob.digest[7:19]}  {blob.size / 1e6:.1f} MB")
            _copy_blob(store, archive, blob)
        store.unpack_all(manifest)
        yield (parse(text) if text else None), digest


def _platform_manifest(store: ImageStore, archive: _Archive, entry: Descriptor) -> str:
    data = archive.read(_blob_name(entry.digest))
    if documents.kind_of(data, entry.media_type) == documents.MANIFEST:
        return store.blobs.put(data, entry.digest)
    chosen = documents.choose(documents.decode_index(data), documents.here())
    if chosen is None:
        raise BadArchive(f"the archive has no image for {documents.here().architecture}")
    return store.blobs.put(archive.read(_blob_name(chosen.digest)), chosen.digest)


def _copy_blob(store: ImageStore, archive: _Archive, blob: Descriptor) -> None:
    if store.blobs.has(blob.digest):
        return
    with archive.open(_blob_name(blob.digest)) as source, store.blobs.writer() as writer:
        while piece := source.read(1 << 20):
            writer.write(piece)
        writer.commit(blob.digest)


def _blob_name(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/", 1)


def _from_saved(store: ImageStore, archive: _Archive, tell: Tell) -> Iterator[tuple[Reference | None, str]]:
    """Names and manifest digests of Docker's own format, whose layers are plain tar files."""
    try:
        images = msgspec.json.decode(archive.read("manifest.json"), type=tuple[_Saved, ...])
    except msgspec.DecodeError as error:
        raise BadArchive(f"manifest.json: {error}") from error
    for image in images:
        digest = _saved_image(store, archive, image, tell)
        names: list[Reference | None] = [parse(tag) for tag in image.repo_tags or ()]
        yield from ((name, digest) for name in names or [None])


def _saved_image(store: ImageStore, archive: _Archive, image: _Saved, tell: Tell) -> str:
    data = archive.read(image.config)
    config = documents.decode_config(data)
    if len(config.rootfs.diff_ids) != len(image.layers):
        raise BadArchive("the configuration and the archive disagree about the number of layers")
    layers = []
    for name, diff_id in zip(image.layers, config.rootfs.diff_ids, strict=True):
        tell(f"{diff_id[7:19]}  {name}")
        with archive.open(name) as source:
            layer = copy_layer(store.blobs, source)
        if layer.diff_id != diff_id:
            raise BadArchive(f"layer {name!r} is {layer.diff_id}, the configuration says {diff_id}")
        store.unpack_layer(layer.descriptor.digest, diff_id)
        layers.append(layer.descriptor)
    descriptor = Descriptor(documents.CONFIG, store.blobs.put(data), len(data))
    return store.blobs.put(documents.encode(Manifest(descriptor, tuple(layers))))


def _named(
    found: list[tuple[Reference | None, str]], name: Reference | None, path: Path
) -> Iterator[tuple[Reference, str]]:
    if name is not None:
        if len({digest for _, digest in found}) > 1:
            raise BadArchive(f"{path} has several images; they cannot all be named {name}")
        yield name, found[0][1]
        return
    for reference, digest in found:
        if reference is None:
            raise BadArchive(f"{path}: the image in it has no name; give it one with -t NAME")
        yield reference, digest


def _name(store: ImageStore, reference: Reference, digest: str) -> Image:
    store.record(reference, digest, digest, "local")
    record = store.find(reference)
    if record is None:
        raise BadArchive(f"{reference} was removed while it was imported")
    return store.load(record)
