"""Manifests as clients push them: what they are, and what they point to. Only these fields are read; bytes stay."""

from collections.abc import Mapping

import msgspec

from fairway.registry.errors import RegistryProblem
from fairway.registry.paths import checked_digest
from fairway.toolkit.oci.documents import INDEXES, MANIFESTS


class Pointer(msgspec.Struct, frozen=True, rename="camel"):
    """A descriptor; content with `urls` is fetched from there and need not be here."""

    media_type: str = ""
    digest: str = ""
    size: int = -1
    urls: tuple[str, ...] | None = None


class _Document(msgspec.Struct, frozen=True, rename="camel"):
    schema_version: int = 0
    media_type: str = ""
    artifact_type: str = ""
    config: Pointer | None = None
    layers: tuple[Pointer, ...] | None = None
    manifests: tuple[Pointer, ...] | None = None
    subject: Pointer | None = None
    annotations: Mapping[str, str] | None = None


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is remembered of a manifest beside its bytes. `blobs` and `manifests` are digests it needs to be whole."""

    digest: str
    media_type: str
    size_bytes: int
    blobs: tuple[str, ...] = ()
    manifests: tuple[str, ...] = ()
    subject: str = ""
    artifact_type: str = ""
    annotations: Mapping[str, str] = {}

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEXES


class Reading(msgspec.Struct, frozen=True):
    """A record and the pointers behind it, for whoever checks that they are here."""

    record: Record
    blobs: tuple[Pointer, ...] = ()
    manifests: tuple[Pointer, ...] = ()


def read(data: bytes, content_type: str, digest: str) -> Reading:
    """A pushed manifest. Raises RegistryProblem that says what is wrong with it."""
    try:
        found = msgspec.json.decode(data, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RegistryProblem("MANIFEST_INVALID", f"the manifest cannot be read: {error}") from error
    media_type = _media_type(found, content_type.partition(";")[0].strip())
    blobs: tuple[Pointer, ...] = ()
    manifests: tuple[Pointer, ...] = ()
    if media_type in INDEXES:
        if found.manifests is None or found.layers is not None:
            raise RegistryProblem("MANIFEST_INVALID", "an index has manifests and no layers")
        manifests = found.manifests
    else:
        if found.config is None or found.layers is None or found.manifests is not None:
            raise RegistryProblem("MANIFEST_INVALID", "an image manifest has config and layers, and no manifests")
        blobs = (found.config, *found.layers)
    for pointer in (*blobs, *manifests, *((found.subject,) if found.subject else ())):
        _check(pointer)
    kind = found.artifact_type or (found.config.media_type if found.config else "")
    subject = found.subject.digest if found.subject else ""
    here = tuple(dict.fromkeys(blob.digest for blob in blobs if not blob.urls))
    children = tuple(dict.fromkeys(child.digest for child in manifests))
    notes = found.annotations or {}
    return Reading(Record(digest, media_type, len(data), here, children, subject, kind, notes), blobs, manifests)


def _media_type(found: _Document, announced: str) -> str:
    if found.schema_version != 2:
        raise RegistryProblem("MANIFEST_INVALID", f"schemaVersion is {found.schema_version}; only 2 is supported")
    if announced and found.media_type and announced != found.media_type:
        text = f"Content-Type is {announced[:100]}, but mediaType in the manifest is {found.media_type[:100]}"
        raise RegistryProblem("MANIFEST_INVALID", text)
    media_type = announced or found.media_type
    if media_type not in (*INDEXES, *MANIFESTS):
        raise RegistryProblem("MANIFEST_INVALID", f"unsupported manifest media type {media_type[:100] or '(none)'!r}")
    return media_type


def _check(pointer: Pointer) -> None:
    checked_digest(pointer.digest)
    if pointer.size < 0:
        raise RegistryProblem("MANIFEST_INVALID", f"the descriptor of {pointer.digest} has no size")
