"""The settings of the room."""

import ssl
from pathlib import Path

import msgspec


class Service(msgspec.Struct, frozen=True):
    """The registry as a Service inside the cluster, and the address behind it."""

    cluster_ip: str = "10.96.0.20"
    port: int = 443
    address: str = "10.42.0.1"
    target_port: int = 5000
    namespace: str = "kube-system"
    name: str = "registry"


class Listener(msgspec.Struct, frozen=True):
    """A bound socket (its descriptor) to serve on; without `tls` it speaks plain HTTP."""

    name: str
    fd: int
    tls: ssl.SSLContext | None = None


class Config(msgspec.Struct, frozen=True):
    """What is stored where, who may, and how much.

    `images_dir` is the node's image store. `names` are the hosts (with port where needed) by which people name this
    registry: what is pushed gets each of them in the index of images. `tokens_file` is the token table; a missing one
    is an empty one. `anonymous` is what everybody may do: "none", "pull" or "all".
    Manifests without a tag are kept for ever when `untagged_seconds` is None.
    """

    images_dir: Path
    tokens_file: Path
    names: tuple[str, ...] = ("registry.fairway.local",)
    service: Service | None = None
    anonymous: str = "none"
    manifest_bytes_max: int = 4 << 20
    blob_bytes_max: int = 32 << 30
    uploads_max: int = 256
    upload_idle_seconds: float = 3600.0
    sweep_seconds: float = 3600.0
    untagged_seconds: float | None = None
    garbage_seconds: float = 24 * 3600.0
    """How long a blob may wait for the manifest that names it."""
