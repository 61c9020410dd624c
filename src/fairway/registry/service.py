"""The registry itself: one handler for every request, and the removal of garbage."""

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import structs

from fairway.registry.access import Caller, Doorkeeper
from fairway.registry.blobs import Blobs
from fairway.registry.config import Config
from fairway.registry.demand import Demand
from fairway.registry.errors import RegistryProblem, response
from fairway.registry.index import ImageIndex
from fairway.registry.manifests import Manifests
from fairway.registry.paths import Target, parse
from fairway.registry.plan import Contents, Garbage, plan
from fairway.registry.repositories import Repositories
from fairway.registry.tokens import Table
from fairway.registry.uploads import Uploads
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock
from fairway.toolkit.http_messages import Reply, Request, Response
from fairway.toolkit.oci.reference import Reference
from fairway.toolkit.oci.store import ImageStore

log = logs.get("registry")
_VERSION = ("Docker-Distribution-API-Version", "registry/2.0")


class Registry:
    """All repositories behind the distribution API. Only one process may serve a store."""

    def __init__(self, config: Config, clock: Clock) -> None:
        """Open the store. Raises OSError."""
        self._config = config
        self._clock = clock
        self._store = ImageStore(config.images_dir)
        self._repositories = Repositories(self._store.blobs)
        self._uploads = Uploads(self._store.blobs, clock, config.uploads_max)
        self._doorkeeper = Doorkeeper(Table(config.tokens_file), config.anonymous)
        index = ImageIndex(self._store, config.names)
        self._index = index
        self._blobs = Blobs(self._store.blobs, self._repositories, self._uploads, config.blob_bytes_max)
        self._manifests = Manifests(self._store.blobs, self._repositories, index, config.manifest_bytes_max)

    async def answer(self, request: Request) -> Reply:
        """One request; what is wrong with it becomes an error of the spec."""
        try:
            reply = await self._answer(request)
        except RegistryProblem as problem:
            reply = response(problem)
        if isinstance(reply, Response) and reply.status // 100 == 2 and request.method in ("PUT", "DELETE"):
            log.info("did", method=request.method, path=request.path, status=reply.status)
        return reply

    async def collect(self, retained: Iterable[str] = (), demand: Demand | None = None) -> int:
        """Remove old uploads, garbage links, and the content that nothing needs any more; returns the bytes freed.

        `retained` are digests, of manifests or blobs, that stay whatever the tags say. In the repositories of Apps
        tags keep nothing: what `demand` names stays, and what is young. A tag or digest that goes is forgotten by the
        node too. Without a demand nothing is known of Apps, and their repositories are treated like all others.
        """
        self._uploads.expire(self._config.upload_idle_seconds)
        async with self._manifests.lock:
            await asyncio.to_thread(self._unlink, frozenset(retained), demand or Demand(), self._clock.now())
        return await asyncio.to_thread(self._store.collect)

    def close(self) -> None:
        """End the uploads."""
        self._uploads.close()

    async def _answer(self, request: Request) -> Reply:
        target = parse(request.path)
        if target is None:
            raise RegistryProblem("UNSUPPORTED", "there is nothing here; the API begins at /v2/", status=404)
        caller = self._doorkeeper.caller(request, self._clock.now())
        if target.kind == "base":
            caller.require_some()
            return Response(200, b"{}", (("Content-Type", "application/json"), _VERSION))
        return await self._in_repository(request, target, caller)

    async def _in_repository(self, request: Request, target: Target, caller: Caller) -> Reply:
        method = "GET" if request.method == "HEAD" else request.method
        action = {"GET": "pull", "DELETE": "delete"}.get(method, "push")
        if target.kind == "uploads":
            action = "push"
        caller.require(target.repository, action)
        name, item = target.repository, target.item
        match (method, target.kind, bool(item)):
            case ("GET", "blobs", _):
                return await self._blobs.get(request, name, item)
            case ("DELETE", "blobs", _):
                async with self._manifests.lock:
                    needed = await asyncio.to_thread(self._manifests.needed_blobs, name)
                    return await self._blobs.delete(name, item, needed)
            case ("POST", "uploads", False):
                return await self._blobs.begin(request, name, caller)
            case (_, "uploads", True):
                return await self._upload(method, request, name, item)
            case ("GET", "manifests", _):
                return await self._manifests.get(request, name, item)
            case ("PUT", "manifests", _):
                return await self._manifests.put(request, name, item)
            case ("DELETE", "manifests", _):
                return await self._manifests.delete(name, item)
            case ("GET", "tags", _):
                return await self._manifests.tags(request, name)
            case ("GET", "referrers", _):
                return await self._manifests.referrers(request, name, item)
        raise _unsupported(request)

    async def _upload(self, method: str, request: Request, name: str, id: str) -> Reply:
        match method:
            case "GET":
                return await self._blobs.status(name, id)
            case "PATCH":
                return await self._blobs.append(request, name, id)
            case "PUT":
                return await self._blobs.finish(request, name, id)
            case "DELETE":
                return await self._blobs.cancel(name, id)
        raise _unsupported(request)

    def _unlink(self, retained: frozenset[str], demand: Demand, now: datetime) -> None:
        with self._store.blobs.lock(exclusive=True):  # no push, of any process, is between its manifest and its tag
            retained |= demand.digests
            for name in demand.repositories:
                self._repositories.mark(name)
            marked = frozenset(self._repositories.marked())
            for name in [*self._repositories.names()]:
                self._remove(name, self._garbage(name, retained, demand if name in marked else None, now.timestamp()))
            age = timedelta(seconds=self._config.garbage_seconds)
            for reference in self._index.older(marked | demand.repositories, now - age):
                if not self._is_needed(reference, retained, demand):
                    self._store.remove(reference)

    def _garbage(self, name: str, retained: frozenset[str], demand: Demand | None, now_seconds: float) -> Garbage:
        """With a demand, of an App's repository: only tags that it names count, and nothing is kept for ever."""
        config, contents = self._config, self._contents(name, now_seconds)
        untagged_seconds = config.untagged_seconds
        if demand is not None:
            wanted = demand.tags_of(name)
            tags = {tag: digest for tag, digest in contents.tags.items() if tag in wanted}
            contents, untagged_seconds = structs.replace(contents, tags=tags), config.garbage_seconds
        return plan(contents, retained, untagged_seconds=untagged_seconds, garbage_seconds=config.garbage_seconds)

    def _remove(self, name: str, garbage: Garbage) -> None:
        for record in garbage.manifests:
            gone = self._repositories.remove_manifest(name, record)
            for target in (record.digest, *gone):
                self._index.remove(name, target)
        for digest in garbage.blobs:
            self._repositories.unlink_blob(name, digest)
        if garbage.manifests or garbage.blobs:
            log.info("swept", repository=name, manifests=len(garbage.manifests), blobs=len(garbage.blobs))

    def _is_needed(self, reference: Reference, retained: frozenset[str], demand: Demand) -> bool:
        """Whether the node's name for an image of an App stays: it is in the repository, or somebody asks for it."""
        known = self._store.find(reference)
        if known is None or known.digest in retained or (reference.repository, reference.tag) in demand.tags:
            return True
        return self._repositories.record(reference.repository, known.digest) is not None

    def _contents(self, name: str, now_seconds: float) -> Contents:
        manifests = {}
        for digest, since in self._repositories.manifests(name).items():
            if record := self._repositories.record(name, digest):
                manifests[digest] = (record, now_seconds - since)
        blobs = {digest: now_seconds - since for digest, since in self._repositories.blobs(name).items()}
        return Contents(manifests, blobs, self._repositories.tags(name))


def _unsupported(request: Request) -> RegistryProblem:
    return RegistryProblem("UNSUPPORTED", f"{request.method} is not possible here")
