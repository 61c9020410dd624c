"""Bring an image from a registry into the store."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from fairway.toolkit.content_store import ContentStore, DigestMismatch
from fairway.toolkit.oci import documents
from fairway.toolkit.oci.distribution import ManifestAnswer, RegistryClient
from fairway.toolkit.oci.documents import BadDocument, Descriptor, Manifest
from fairway.toolkit.oci.reference import Reference
from fairway.toolkit.oci.registry_errors import NotFound
from fairway.toolkit.oci.store import ImageStore
from fairway.toolkit.oci.streams import BadArchive
from fairway.toolkit.oci.unpack import Unpacked

_BLOBS_AT_ONCE = 3
_THREAD_BYTES_MAX = 256 * 1024
_CONFIG_BYTES_MAX = 8 << 20

Progress = Callable[[str], None]


class BadImage(Exception):
    """The registry has the image, but it cannot be used here; the message says why."""


async def pull(
    store: ImageStore, client: RegistryClient, reference: Reference, progress: Progress | None = None
) -> None:
    """Fetch, verify, unpack and name an image; what is already here is not fetched again.

    Raises RegistryError, BadImage, OSError.
    """
    try:
        top, manifest_digest = await _bring(store, client, reference, progress or (lambda line: None))
    except ExceptionGroup as errors:
        raise _usable(_first(errors)) from None
    except (DigestMismatch, BadDocument, BadArchive) as error:
        raise _usable(error) from error
    await asyncio.to_thread(store.record, reference, top, manifest_digest, "pulled")


async def unpack_in_process(store: ImageStore, digest: str, diff_id: str) -> None:
    """Unpack a stored layer without holding up the event loop: a big one in a process of its own.

    Raises BadArchive, OSError.
    """
    if store.layer_folder(diff_id).is_dir():
        return
    if store.blobs.size_bytes(digest) <= _THREAD_BYTES_MAX:
        await asyncio.to_thread(store.unpack_layer, digest, diff_id)
        return
    with store.unfinished_layer(diff_id) as folder:
        done = await _run_unpack(store.blobs.path(digest), folder)
        store.finish_layer(folder, diff_id, done.diff_id)


async def _bring(store: ImageStore, client: RegistryClient, reference: Reference, tell: Progress) -> tuple[str, str]:
    """Everything but the name; returns the digests of what the name means and of this platform's manifest."""
    answer = await client.manifest(reference.repository, reference.target)
    top = store.blobs.put(answer.data)
    manifest, manifest_digest = await _platform_manifest(store, client, reference, answer)
    slots = asyncio.Semaphore(_BLOBS_AT_ONCE)
    await _blob(store.blobs, client, reference, manifest.config, slots, tell)
    diff_ids = store.config(manifest).rootfs.diff_ids
    async with asyncio.TaskGroup() as group:
        for layer, diff_id in zip(manifest.layers, diff_ids, strict=True):
            group.create_task(_layer(store, client, reference, layer, diff_id, slots, tell))
    return top, manifest_digest


async def _platform_manifest(
    store: ImageStore, client: RegistryClient, reference: Reference, answer: ManifestAnswer
) -> tuple[Manifest, str]:
    data, digest = answer.data, answer.digest
    if documents.kind_of(data, answer.media_type) == documents.INDEX:
        here = documents.here()
        chosen = documents.choose(documents.decode_index(data), here)
        if chosen is None:
            raise BadImage(f"no match for platform in manifest: not found ({here.os}/{here.architecture})")
        data = (await client.manifest(reference.repository, chosen.digest)).data
        digest = store.blobs.put(data, chosen.digest)
        if documents.kind_of(data) != documents.MANIFEST:
            raise BadImage("the index points to another index")
    manifest = documents.decode_manifest(data)
    if manifest.config.size > _CONFIG_BYTES_MAX:
        raise BadImage(f"the configuration is larger than {_CONFIG_BYTES_MAX} bytes")
    return manifest, digest


async def _layer(
    store: ImageStore,
    client: RegistryClient,
    reference: Reference,
    layer: Descriptor,
    diff_id: str,
    slots: asyncio.Semaphore,
    tell: Progress,
) -> None:
    await _blob(store.blobs, client, reference, layer, slots, tell)
    async with slots:
        await unpack_in_process(store, layer.digest, diff_id)


async def _blob(
    blobs: ContentStore,
    client: RegistryClient,
    reference: Reference,
    blob: Descriptor,
    slots: asyncio.Semaphore,
    tell: Progress,
) -> None:
    if blobs.has(blob.digest):
        return
    async with slots:
        tell(f"{blob.digest[7:19]}  {blob.size / 1e6:.1f} MB")
        with blobs.writer() as writer:
            try:
                await client.blob(reference.repository, blob, writer)
            except NotFound:
                raise BadImage(f"blob {blob.digest} is missing in the registry") from None
            writer.commit(blob.digest)


async def _run_unpack(archive: Path, folder: Path) -> Unpacked:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-m", "fairway.toolkit.oci.unpack", str(archive), str(folder)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, problem = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise BadArchive(problem.decode("utf-8", "replace")[-500:] or f"unpacking ended with {process.returncode}")
    return msgspec.json.decode(output, type=Unpacked)


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    error: Exception = errors
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _usable(error: Exception) -> Exception:
    return BadImage(str(error)) if isinstance(error, DigestMismatch | BadDocument | BadArchive) else error
