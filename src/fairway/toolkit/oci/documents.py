"""The JSON documents of an image: index, manifest, configuration (OCI image spec 1.1; Docker's twins parse alike)."""

import platform as machine
from collections.abc import Mapping
from typing import TypeVar

import msgspec

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
INDEXES = (INDEX, DOCKER_LIST)
MANIFESTS = (MANIFEST, DOCKER_MANIFEST)

T = TypeVar("T")

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "ppc64le": "ppc64le"}


class BadDocument(ValueError):
    """An image document that cannot be used; the message says why."""


class Platform(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an image runs on."""

    architecture: str = ""
    os: str = ""
    variant: str = ""


class Descriptor(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A pointer to a blob."""

    media_type: str = ""
    digest: str = ""
    size: int = 0
    platform: Platform | None = None
    annotations: Mapping[str, str] | None = None


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """One image for one platform: a configuration and its layers, lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    schema_version: int = 2
    media_type: str = MANIFEST


class Index(msgspec.Struct, frozen=True, rename="camel"):
    """Manifests by platform."""

    manifests: tuple[Descriptor, ...]
    schema_version: int = 2
    media_type: str = INDEX


class RunConfig(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    """How a container of the image runs."""

    user: str | None = None
    exposed_ports: Mapping[str, Mapping[str, str]] | None = None
    env: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    working_dir: str | None = None
    labels: Mapping[str, str] | None = None
    stop_signal: str | None = None
    shell: tuple[str, ...] | None = None
    volumes: Mapping[str, Mapping[str, str]] | None = None
    on_build: tuple[str, ...] | None = None


class RootFs(msgspec.Struct, frozen=True):
    """Digests of the layers as plain tar, lowest first."""

    diff_ids: tuple[str, ...]
    type: str = "layers"


class History(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of the build; `empty_layer` steps have no layer."""

    created: str | None = None
    created_by: str | None = None
    comment: str | None = None
    empty_layer: bool = False


class ConfigFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """An image's configuration; its digest is the image's ID."""

    architecture: str = ""
    os: str = ""
    rootfs: RootFs = RootFs(())
    config: RunConfig | None = None
    created: str | None = None
    history: tuple[History, ...] | None = None
    variant: str | None = None


def encode(document: Manifest | Index | ConfigFile) -> bytes:
    """The same bytes for the same document."""
    return msgspec.json.encode(document, order="sorted")


def decode_manifest(data: bytes) -> Manifest:
    """Raises BadDocument."""
    return _decode(data, Manifest, "manifest")


def decode_index(data: bytes) -> Index:
    """Raises BadDocument."""
    return _decode(data, Index, "index")


def decode_config(data: bytes) -> ConfigFile:
    """Raises BadDocument."""
    return _decode(data, ConfigFile, "configuration")


def kind_of(data: bytes, media_type: str = "") -> str:
    """INDEX or MANIFEST, from the announced type or, where there is none, from the fields. Raises BadDocument."""
    declared = media_type.partition(";")[0].strip()
    if declared in INDEXES:
        return INDEX
    if declared in MANIFESTS:
        return MANIFEST
    fields = _decode(data, dict[str, msgspec.Raw], "manifest")
    if "manifests" in fields:
        return INDEX
    if "config" in fields and "layers" in fields:
        return MANIFEST
    if "fsLayers" in fields:
        raise BadDocument("the image has only a schema 1 manifest, which no current runtime accepts; push it again")
    raise BadDocument(f"unsupported manifest media type {declared or '(none)'!r}")


def here() -> Platform:
    """The platform of this machine."""
    name = machine.machine()
    return Platform(_ARCHITECTURES.get(name, name), "linux", {"armv7l": "v7"}.get(name, ""))


def choose(index: Index, wanted: Platform) -> Descriptor | None:
    """The manifest for a platform: one without a variant or with the same one comes first."""
    fitting = [
        entry
        for entry in index.manifests
        if entry.platform is not None
        and (entry.platform.os, entry.platform.architecture) == (wanted.os, wanted.architecture)
    ]
    exact = [entry for entry in fitting if entry.platform and entry.platform.variant in ("", wanted.variant)]
    untold = [entry for entry in index.manifests if entry.platform is None]
    return next(iter((*exact, *fitting, *(untold if len(index.manifests) == 1 else ()))), None)


def _decode(data: bytes, type: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(data, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadDocument(f"unreadable image {what}: {error}") from error
