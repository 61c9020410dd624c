"""Bring an image from the store to a registry: blobs first, then the manifest."""

import asyncio

from fairway.toolkit.oci.documents import Descriptor
from fairway.toolkit.oci.reference import Reference
from fairway.toolkit.oci.store import ImageStore
from fairway.toolkit.oci.upload import PushClient


async def push(store: ImageStore, reference: Reference, manifest_digest: str, to: PushClient) -> None:
    """Push what the registry has not yet. Raises RegistryError, BlobNotFound, BadDocument, OSError."""
    manifest = await asyncio.to_thread(store.manifest, manifest_digest)
    async with to as client:
        for blob in (*manifest.layers, manifest.config):
            await _push_blob(store, client, reference.repository, blob)
        data = await asyncio.to_thread(store.blobs.read, manifest_digest)
        await client.put_manifest(reference.repository, reference.target, manifest.media_type, data)


async def _push_blob(store: ImageStore, client: PushClient, repository: str, blob: Descriptor) -> None:
    if not await client.has_blob(repository, blob.digest):
        with store.blobs.open(blob.digest) as file:
            await client.put_blob(repository, blob.digest, file)
