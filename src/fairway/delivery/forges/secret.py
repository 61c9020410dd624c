"""The Secret behind an App's webhook: what proves deliveries, and the part of the URL that cannot be guessed."""

import secrets
from typing import Any

import msgspec

from fairway.delivery.forges.credentials import key_of_secret
from fairway.delivery.kinds.apps import App
from fairway.delivery.kinds.resources import APP_LABEL, APPS
from fairway.kube.api.config import Secret
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.noun import decode
from fairway.kube.api.resource import SECRETS
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import AlreadyExists, NotFound

_PATH_BYTES = 24
_SECRET_BYTES = 32


class WebhookSecret(msgspec.Struct, frozen=True):
    """Never shown, never logged."""

    secret: str
    path: str

    def __repr__(self) -> str:
        return "WebhookSecret(…)"


async def read(client: ApiClient, app: ObjectKey) -> WebhookSecret | None:
    """None when there is none, or it lacks a part. Raises ApiError, Unreachable."""
    key = key_of_secret(app)
    try:
        found = decode(Secret, await client.get(SECRETS, key.name, key.namespace))
    except NotFound:
        return None
    secret, path = (found.value(name).decode(errors="replace").strip() for name in ("secret", "path"))
    return WebhookSecret(secret, path) if secret and path else None


async def ensure(client: ApiClient, app: App) -> WebhookSecret | None:
    """Made once; people may change it, or delete it for a new one. None when it was just made by somebody else."""
    if found := await read(client, app.metadata.key):
        return found
    key, metadata = key_of_secret(app.metadata.key), app.metadata
    owner = {"apiVersion": APPS.api_version, "kind": APPS.kind, "name": metadata.name, "uid": metadata.uid}
    raw: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "labels": {APP_LABEL: metadata.name},
            "ownerReferences": [{**owner, "controller": True}],
        },
        "type": "Opaque",
        "stringData": {"secret": secrets.token_urlsafe(_SECRET_BYTES), "path": secrets.token_urlsafe(_PATH_BYTES)},
    }
    try:
        await client.create(SECRETS, raw)
    except AlreadyExists:
        pass
    return await read(client, app.metadata.key)
