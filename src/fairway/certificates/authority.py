"""The authority that sites are signed by: its own root, so that trusting sites never means trusting API clients.

Kept as files on a machine of ours, as a Secret on any other cluster; made once.
"""

import asyncio
import base64
import binascii
import fcntl
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from fairway.kube.api import noun
from fairway.kube.api.config import Secret
from fairway.kube.api.resource import NAMESPACES, SECRETS
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import AlreadyExists, NotFound
from fairway.toolkit import files, logs, signing
from fairway.toolkit.signing import Pair

COMMON_NAME = "Fairway sites"
SECRET_NAME = "fairway-web-ca"
_LEAST_LEFT = timedelta(days=180)

log = logs.get("certificates")


class Paths(msgspec.Struct, frozen=True):
    """Where the PEM files are."""

    certificate: Path
    key: Path


def paths(folder: Path) -> Paths:
    """The files in a folder; they may not exist yet."""
    return Paths(folder / "web-ca.crt", folder / "web-ca.key")


def from_files(folder: Path, now: datetime) -> Pair:
    """The authority in a folder, made when there is none or it ends within half a year (the old one stays as `.old`).

    Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "web-ca.lock").open("ab") as handle:  # `fairway trust` may come at the same moment
        fcntl.flock(handle, fcntl.LOCK_EX)
        return _from_files(paths(folder), now)


def _from_files(where: Paths, now: datetime) -> Pair:
    try:
        found = Pair(where.certificate.read_bytes(), where.key.read_bytes())
        if _usable(found, now):
            return found
        for path in (where.certificate, where.key):
            path.replace(path.with_name(f"{path.name}.old"))
    except FileNotFoundError:
        pass
    fresh = signing.authority(COMMON_NAME, now)
    files.replace(where.key, fresh.key, mode=0o600, durable=True)
    files.replace(where.certificate, fresh.certificate, durable=True)
    log.info("made an authority", file=where.certificate)
    return fresh


async def from_cluster(client: ApiClient, namespace: str, now: datetime) -> Pair:
    """The authority in the cluster, made when there is none. Raises ApiError, Unreachable.

    Of several that make one at the same moment, the API lets one win; the others use that one.
    """
    while True:
        secret = await _read(client, namespace)
        found = _pair(secret) if secret is not None else None
        if found is not None and _usable(found, now):
            return found
        if secret is not None:
            await client.delete(SECRETS, SECRET_NAME, namespace=namespace, uid=secret.metadata.uid)
        fresh = await asyncio.to_thread(signing.authority, COMMON_NAME, now)
        try:
            await _write(client, namespace, fresh)
        except AlreadyExists:
            continue
        log.info("made an authority", secret=f"{namespace}/{SECRET_NAME}")
        return fresh


async def _read(client: ApiClient, namespace: str) -> Secret | None:
    try:
        return noun.decode(Secret, await client.get(SECRETS, SECRET_NAME, namespace))
    except NotFound:
        return None


def _pair(secret: Secret) -> Pair | None:
    try:
        fields = [base64.b64decode(secret.data.get(name, ""), validate=True) for name in ("tls.crt", "tls.key")]
    except binascii.Error:
        return None
    return Pair(*fields)


async def _write(client: ApiClient, namespace: str, pair: Pair) -> None:
    data = {"tls.crt": pair.certificate, "tls.key": pair.key}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": SECRET_NAME, "namespace": namespace},
        "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
    }
    try:
        await client.create(SECRETS, secret)
    except NotFound:
        try:
            await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        except AlreadyExists:
            pass
        await client.create(SECRETS, secret)


def _usable(pair: Pair, now: datetime) -> bool:
    """A key that does not fit would make certificates that nobody accepts."""
    try:
        return signing.fits(pair) and signing.not_after(pair.certificate) - now > _LEAST_LEFT
    except ValueError:
        return False
