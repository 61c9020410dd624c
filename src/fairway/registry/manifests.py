"""Manifests by tag and digest, the list of tags, and referrers."""

import asyncio
import urllib.parse
from collections.abc import Mapping
from typing import Any

import msgspec

from fairway.registry.documents import Pointer, Reading, Record, read
from fairway.registry.errors import RegistryProblem
from fairway.registry.index import ImageIndex
from fairway.registry.paths import checked_digest, is_tag
from fairway.registry.repositories import Repositories
from fairway.toolkit.content_store import ContentStore, sha256
from fairway.toolkit.http_messages import Headers, Request, Response
from fairway.toolkit.oci.documents import INDEX

_TAGS_MAX = 1000


class Manifests:
    """Answers for `/manifests/`, `/tags/` and `/referrers/`. One writer at a time: tags are read and then moved."""

    def __init__(self, store: ContentStore, repositories: Repositories, index: ImageIndex, bytes_max: int) -> None:
        self.lock = asyncio.Lock()
        self._store = store
        self._repositories = repositories
        self._index = index
        self._bytes_max = bytes_max

    async def get(self, request: Request, repository: str, item: str) -> Response:
        """GET and HEAD; the bytes are those that were pushed."""
        record = self._find(repository, item)
        headers: Headers = (
            ("Content-Type", record.media_type),
            ("Docker-Content-Digest", record.digest),
            ("ETag", f'"{record.digest}"'),
        )
        if request.header("if-none-match").strip('"') == record.digest:
            return Response(304, headers=headers)
        return Response(200, await asyncio.to_thread(self._store.read, record.digest), headers)

    async def put(self, request: Request, repository: str, item: str) -> Response:
        """Store, tag, and name it for the kubelet. Everything it points to must be in the repository already."""
        if len(request.body) > self._bytes_max:
            raise RegistryProblem("SIZE_INVALID", f"a manifest has at most {self._bytes_max} bytes", status=413)
        digest = sha256(request.body)
        tags = _tags(request.query)
        if is_tag(item):
            tags = (item, *tags)
        elif checked_digest(item) != digest:
            raise RegistryProblem("DIGEST_INVALID", f"the manifest is {digest}, not {item}")
        reading = read(request.body, request.header("content-type"), digest)
        async with self.lock:
            await asyncio.to_thread(self._add, repository, reading, request.body, tags)
        headers: Headers = (("Location", f"/v2/{repository}/manifests/{digest}"), ("Docker-Content-Digest", digest))
        if reading.record.subject:
            headers = (*headers, ("OCI-Subject", reading.record.subject))
        return Response(201, headers=(*headers, *(("OCI-Tag", tag) for tag in tags if tag != item)))

    async def delete(self, repository: str, item: str) -> Response:
        """A tag alone, or by digest a manifest with all its tags."""
        async with self.lock:
            record = self._find(repository, item)
            await asyncio.to_thread(self._remove, repository, record, item)
        return Response(202, headers=(("Docker-Content-Digest", record.digest),))

    async def tags(self, request: Request, repository: str) -> Response:
        """In lexical order; `n` and `last` page through them."""
        query = dict(urllib.parse.parse_qsl(request.query))
        count = query.get("n", "")
        if count and not count.isdecimal():
            raise RegistryProblem("UNSUPPORTED", "n must be a number, not negative", status=400)
        if not self._repositories.exists(repository):
            raise RegistryProblem("NAME_UNKNOWN", f"repository {repository} is not known here")
        last, most = query.get("last", ""), min(int(count), _TAGS_MAX) if count else _TAGS_MAX
        everything = await asyncio.to_thread(self._repositories.tags, repository)
        following = [tag for tag in everything if tag > last]
        page = following[:most]
        headers: Headers = (("Content-Type", "application/json"),)
        if page and len(page) < len(following):
            rest = urllib.parse.urlencode({"n": most, "last": page[-1]})
            headers = (*headers, ("Link", f'</v2/{repository}/tags/list?{rest}>; rel="next"'))
        return Response(200, msgspec.json.encode({"name": repository, "tags": page}), headers)

    async def referrers(self, request: Request, repository: str, item: str) -> Response:
        """An index of the manifests whose subject it is; an unknown subject has none."""
        records = await asyncio.to_thread(self._repositories.referrers, repository, checked_digest(item))
        headers: Headers = (("Content-Type", INDEX),)
        if kind := dict(urllib.parse.parse_qsl(request.query)).get("artifactType"):
            records = tuple(record for record in records if record.artifact_type == kind)
            headers = (*headers, ("OCI-Filters-Applied", "artifactType"))
        body = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [_descriptor(record) for record in records]}
        return Response(200, msgspec.json.encode(body), headers)

    def needed_blobs(self, repository: str) -> frozenset[str]:
        """The blobs of all manifests of a repository."""
        records = (self._repositories.record(repository, digest) for digest in self._repositories.manifests(repository))
        return frozenset(blob for record in records if record for blob in record.blobs)

    def _find(self, repository: str, item: str) -> Record:
        digest = self._repositories.tag(repository, item) if is_tag(item) else checked_digest(item)
        record = self._repositories.record(repository, digest) if digest else None
        if record is None:
            raise RegistryProblem("MANIFEST_UNKNOWN", f"manifest {item} is not in {repository}")
        return record

    def _add(self, repository: str, reading: Reading, data: bytes, tags: tuple[str, ...]) -> None:
        record = reading.record
        with self._store.lock(exclusive=False):
            for blob in reading.blobs:
                self._check_blob(repository, blob)
            for child in reading.manifests:
                self._check_manifest(repository, child)
            self._store.put(data, record.digest)
            self._repositories.add_manifest(repository, record)
            for tag in tags:
                self._repositories.set_tag(repository, tag, record.digest)
            for target in (record.digest, *tags):
                self._index.record(repository, target, record)

    def _check_blob(self, repository: str, blob: Pointer) -> None:
        if blob.urls:
            return
        if not self._repositories.has_blob(repository, blob.digest):
            raise RegistryProblem("MANIFEST_BLOB_UNKNOWN", f"blob {blob.digest} is not in {repository}")
        if (size_bytes := self._store.size_bytes(blob.digest)) != blob.size:
            text = f"blob {blob.digest} has {size_bytes} bytes, the manifest says {blob.size}"
            raise RegistryProblem("MANIFEST_INVALID", text)

    def _check_manifest(self, repository: str, child: Pointer) -> None:
        record = self._repositories.record(repository, child.digest)
        if record is None:
            raise RegistryProblem("MANIFEST_BLOB_UNKNOWN", f"manifest {child.digest} is not in {repository}")
        if record.size_bytes != child.size:
            text = f"manifest {child.digest} has {record.size_bytes} bytes, the index says {child.size}"
            raise RegistryProblem("MANIFEST_INVALID", text)

    def _remove(self, repository: str, record: Record, item: str) -> None:
        gone: tuple[str, ...] = (item,)
        if is_tag(item):
            self._repositories.remove_tag(repository, item)
        else:
            gone = (record.digest, *self._repositories.remove_manifest(repository, record))
        for target in gone:
            self._index.remove(repository, target)


def _tags(query: str) -> tuple[str, ...]:
    """The tags that a push by digest asks for besides (`?tag=`). Raises RegistryProblem."""
    tags = tuple(value for name, value in urllib.parse.parse_qsl(query) if name == "tag")
    if bad := next((tag for tag in tags if not is_tag(tag)), None):
        raise RegistryProblem("MANIFEST_INVALID", f"{bad[:130]!r} is not a tag")
    return tags[:16]


def _descriptor(record: Record) -> Mapping[str, Any]:
    found: dict[str, Any] = {"mediaType": record.media_type, "digest": record.digest, "size": record.size_bytes}
    if record.artifact_type:
        found["artifactType"] = record.artifact_type
    if record.annotations:
        found["annotations"] = dict(record.annotations)
    return found
