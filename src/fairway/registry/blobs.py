"""Blobs: read (whole or a range), pushed (at once, in chunks, or from a neighbour), deleted."""

import asyncio
import re
import urllib.parse
from contextlib import ExitStack
from typing import BinaryIO

from fairway.registry.access import Caller
from fairway.registry.errors import RegistryProblem
from fairway.registry.paths import checked_digest, checked_name
from fairway.registry.repositories import Repositories
from fairway.registry.uploads import Upload, Uploads
from fairway.toolkit.content_store import ContentStore, DigestMismatch
from fairway.toolkit.http_incoming import BodyLost
from fairway.toolkit.http_messages import Headers, Reply, Request, Response, Sink, Stream

_PIECE_BYTES = 1 << 20
_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")
_CONTENT_RANGE = re.compile(r"(?:bytes )?(\d+)-(\d+)(?:/\S+)?\Z")


class Blobs:
    """Answers for `/blobs/`."""

    def __init__(self, store: ContentStore, repositories: Repositories, uploads: Uploads, bytes_max: int) -> None:
        self._store = store
        self._repositories = repositories
        self._uploads = uploads
        self._bytes_max = bytes_max

    async def get(self, request: Request, repository: str, item: str) -> Reply:
        """GET and HEAD, with Range (RFC 9110 section 14)."""
        digest = checked_digest(item)
        if not self._repositories.has_blob(repository, digest):
            raise RegistryProblem("BLOB_UNKNOWN", f"blob {digest} is not in {repository}")
        if request.method == "HEAD":  # who is about to push a manifest asks so; the blob stays for that
            self._repositories.link_blob(repository, digest)
        size_bytes = self._store.size_bytes(digest)
        headers: Headers = (
            ("Content-Type", "application/octet-stream"),
            ("Docker-Content-Digest", digest),
            ("Accept-Ranges", "bytes"),
            ("ETag", f'"{digest}"'),
        )
        first, last, status = 0, size_bytes - 1, 200
        if wanted := request.header("range"):
            found = byte_range(wanted, size_bytes)
            if found == "unsatisfiable":
                raise RegistryProblem(
                    "SIZE_INVALID",
                    f"the blob has {size_bytes} bytes",
                    status=416,
                    headers=(("Content-Range", f"bytes */{size_bytes}"),),
                )
            if isinstance(found, tuple):
                (first, last), status = found, 206
                headers = (*headers, ("Content-Range", f"bytes {first}-{last}/{size_bytes}"))
        length_bytes = last - first + 1

        async def send(sink: Sink) -> None:
            if request.method != "HEAD":
                with self._store.open(digest) as file:
                    await _send(file, sink, first, length_bytes)

        return Stream(status, send, headers, length_bytes)

    async def delete(self, repository: str, item: str, needed: frozenset[str]) -> Response:
        """Remove it from a repository; `needed` are the blobs of its manifests, which stay."""
        digest = checked_digest(item)
        if not self._repositories.has_blob(repository, digest):
            raise RegistryProblem("BLOB_UNKNOWN", f"blob {digest} is not in {repository}")
        if digest in needed:
            raise RegistryProblem("DENIED", f"a manifest in {repository} needs blob {digest}", status=409)
        self._repositories.unlink_blob(repository, digest)
        return Response(202, headers=(("Docker-Content-Digest", digest),))

    async def begin(self, request: Request, repository: str, caller: Caller) -> Response:
        """POST: a session, a whole blob (`?digest=`), or a mount (`?mount=&from=`)."""
        query = dict(urllib.parse.parse_qsl(request.query))
        if (mount := query.get("mount")) and await self._mount(repository, checked_digest(mount), query, caller):
            return self._created(repository, mount)
        upload = self._uploads.begin(repository)
        if expected := query.get("digest"):
            async with upload.lock:
                return await self._complete(request, upload, expected)
        return Response(202, headers=self._where(upload))

    async def status(self, repository: str, id: str) -> Response:
        """GET of a session: how much is here."""
        return Response(204, headers=self._where(self._uploads.get(repository, id)))

    async def append(self, request: Request, repository: str, id: str) -> Response:
        """PATCH: the next chunk."""
        upload = self._uploads.get(repository, id)
        async with upload.lock:
            await self._take(request, upload)
        return Response(202, headers=self._where(upload))

    async def finish(self, request: Request, repository: str, id: str) -> Response:
        """PUT: perhaps the last chunk, and the digest."""
        upload = self._uploads.get(repository, id)
        expected = dict(urllib.parse.parse_qsl(request.query)).get("digest", "")
        async with upload.lock:
            return await self._complete(request, upload, expected)

    async def cancel(self, repository: str, id: str) -> Response:
        """DELETE of a session."""
        upload = self._uploads.get(repository, id)
        async with upload.lock:
            self._uploads.end(upload)
        return Response(204)

    async def _mount(self, repository: str, digest: str, query: dict[str, str], caller: Caller) -> bool:
        source = query.get("from", "")
        if not source or not caller.may(checked_name(source), "pull"):
            return False
        return await asyncio.to_thread(self._link_from, source, repository, digest)

    def _link_from(self, source: str, repository: str, digest: str) -> bool:
        with self._store.lock(exclusive=False):
            if not self._repositories.has_blob(source, digest):
                return False
            self._repositories.link_blob(repository, digest)
            return True

    async def _complete(self, request: Request, upload: Upload, expected: str) -> Response:
        try:
            digest = checked_digest(expected)
            await self._take(request, upload)
            await asyncio.to_thread(self._commit, upload, digest)
        except DigestMismatch as error:
            raise RegistryProblem("DIGEST_INVALID", str(error)) from error
        finally:
            self._uploads.end(upload)
        return self._created(upload.repository, digest)

    async def _take(self, request: Request, upload: Upload) -> None:
        """The body of a request, at the place where it says it belongs. Raises RegistryProblem, OSError."""
        before = upload.writer.size_bytes
        length = _chunk_length(request, upload)
        try:
            taken = await upload.append(request.pieces(), self._bytes_max)
        except BodyLost as error:
            raise RegistryProblem("BLOB_UPLOAD_INVALID", str(error), status=408) from error
        except (OSError, RegistryProblem):
            self._uploads.end(upload)  # what is on disk and what was counted may differ
            raise
        if length is not None and taken != length:
            self._uploads.end(upload)
            text = f"Content-Range announces {length} bytes from {before}, {taken} came"
            raise RegistryProblem("SIZE_INVALID", text)

    def _commit(self, upload: Upload, digest: str) -> None:
        """The blob and its link, while nobody collects."""
        with ExitStack() as stack:
            stack.enter_context(self._store.lock(exclusive=False))
            upload.writer.commit(digest)
            self._repositories.link_blob(upload.repository, digest)

    def _where(self, upload: Upload) -> Headers:
        return (("Location", upload.path), ("Range", upload.range), ("Docker-Upload-UUID", upload.id))

    def _created(self, repository: str, digest: str) -> Response:
        location = f"/v2/{repository}/blobs/{digest}"
        return Response(201, headers=(("Location", location), ("Docker-Content-Digest", digest)))


def byte_range(header: str, size_bytes: int) -> tuple[int, int] | str | None:
    """First and last byte; "unsatisfiable"; or None for a header to be ignored (several ranges, other units)."""
    found = _RANGE.match(header.replace(" ", ""))
    if not found or found[1] == found[2] == "":
        return None
    if not found[1]:
        count = min(int(found[2]), size_bytes)
        return (size_bytes - count, size_bytes - 1) if count else "unsatisfiable"
    first = int(found[1])
    last = min(int(found[2]), size_bytes - 1) if found[2] else size_bytes - 1
    if found[2] and int(found[2]) < first:
        return None
    return (first, last) if first < size_bytes else "unsatisfiable"


def _chunk_length(request: Request, upload: Upload) -> int | None:
    """The length that Content-Range announces, None without one. Raises RegistryProblem when it is not the next."""
    header = request.header("content-range")
    if not header:
        return None
    found = _CONTENT_RANGE.match(header)
    first, last = (int(found[1]), int(found[2])) if found else (-1, -1)
    if first != upload.writer.size_bytes or last < first:
        text = f"the next chunk begins at {upload.writer.size_bytes}, not {header[:60]!r}"
        headers = (("Location", upload.path), ("Range", upload.range))
        raise RegistryProblem("BLOB_UPLOAD_INVALID", text, status=416, headers=headers)
    length = request.header("content-length")
    if length.isdecimal() and int(length) != last - first + 1:
        raise RegistryProblem("SIZE_INVALID", f"Content-Range {header[:60]} and Content-Length {length} disagree")
    return last - first + 1


async def _send(file: BinaryIO, sink: Sink, first: int, length_bytes: int) -> None:
    file.seek(first)
    left_bytes = length_bytes
    while left_bytes:
        piece = await asyncio.to_thread(file.read, min(_PIECE_BYTES, left_bytes))
        if not piece:
            raise OSError("the blob is shorter than it was")
        left_bytes -= len(piece)
        sink.write(piece)
        await sink.drain()
