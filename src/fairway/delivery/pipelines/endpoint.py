"""What the pods of a run may ask for and say: its source, artifacts, caches, and what became of the cluster.

Each token is about one step of one run.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

from fairway.delivery.git import Repositories, SourceError
from fairway.delivery.git.errors import disk_text, is_full
from fairway.delivery.kinds.runs import ENDED, PipelineRun
from fairway.delivery.pipelines import changes
from fairway.delivery.pipelines.names import step_name
from fairway.delivery.pipelines.storage import Storage, TooLarge
from fairway.delivery.pipelines.tokens import Claim, Tokens
from fairway.kube.api.meta import ObjectKey
from fairway.toolkit import files, logs
from fairway.toolkit.http_incoming import BodyLost
from fairway.toolkit.http_messages import Reply, Request, Response, Sink, Stream

log = logs.get("delivery")
PATH = re.compile(
    r"/runs/([a-z0-9.-]{1,253})/([a-z0-9.-]{1,253})/(source|artifacts|caches|changes)(?:/([a-z0-9-]{1,64}))?\Z"
)
_PIECE_BYTES = 256 * 1024
_ARCHIVE = (("Content-Type", "application/gzip"),)


class RunEndpoint:
    """GET /runs/<namespace>/<run>/source; GET and PUT …/artifacts/<step> and …/caches/<name>; PUT …/changes/<step>."""

    def __init__(
        self,
        find: Callable[[ObjectKey], PipelineRun | None],
        repositories: Repositories,
        storage: Storage,
        tokens: Tokens,
    ) -> None:
        self._find = find
        self._repositories = repositories
        self._storage = storage
        self._tokens = tokens

    @staticmethod
    def streamed(method: str, path: str) -> bool:
        """Uploads are read while they arrive."""
        return method == "PUT" and PATH.match(path.partition("?")[0]) is not None

    async def answer(self, request: Request) -> Reply:
        """A path that is not known, a run that is over and a token for another run look alike."""
        found = PATH.match(request.path)
        claim = self._tokens.check(request.header("authorization").removeprefix("Bearer "))
        if found is None or claim is None or claim.key != ObjectKey(found[1], found[2]):
            return _refusal(401, "this needs the token of a running pipeline run")
        run = self._find(claim.key)
        if run is None or run.metadata.uid != claim.uid or run.status.phase in ENDED:
            return _refusal(401, "this pipeline run is over")
        match request.method, found[3], found[4]:
            case "GET", "source", None:
                return await self._source(run)
            case "GET", "artifacts", str(step):
                return _file(self._storage.artifact(claim.key, step))
            case "GET", "caches", str(name):
                return _file(self._storage.cache(_app(run), name))
            case "PUT", "artifacts", str(step) if step == step_name(claim.step):
                path = self._storage.artifact(claim.key, step)
                return await self._take(request, claim, path, self._storage.limits.artifact_bytes_max)
            case "PUT", "changes", str(step) if step == step_name(claim.step):
                return await self._note(request, claim, self._storage.changes(claim.key, step))
            case "PUT", "caches", str(name):
                path = self._storage.cache(_app(run), name)
                reply = await self._take(request, claim, path, self._storage.limits.cache_bytes_max)
                await asyncio.to_thread(self._storage.trim_caches, _app(run))
                return reply
        return _refusal(403, "not allowed with this token")

    async def _source(self, run: PipelineRun) -> Reply:
        """The whole tree: an app in a folder may need its neighbours."""
        pieces = self._repositories.tarball(_app(run), run.spec.commit)
        try:
            first = await anext(pieces, b"")
        except SourceError as error:
            return _refusal(422, str(error))
        return Stream(200, partial(_send, first, pieces), _ARCHIVE)

    async def _note(self, request: Request, claim: Claim, path: Path) -> Reply:
        """Add to what was noted of the step; its pod sends all that it knows, each attempt its own."""
        data = bytearray()
        try:
            async for piece in request.pieces():
                data += piece
                if len(data) > changes.BYTES_MAX:
                    return _refusal(413, f"more than {changes.BYTES_MAX} bytes of changes")
            new = changes.notes(bytes(data))
        except (BodyLost, ValueError) as error:
            return _refusal(400, str(error))
        before = changes.notes(path.read_bytes()) if path.exists() else ()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        files.replace(path, changes.merged(before, new), mode=0o600)
        log.info("noted", run=claim.key, step=claim.step, objects=len(new))
        return Response(204)

    async def _take(self, request: Request, claim: Claim, path: Path, bytes_max: int) -> Reply:
        try:
            size_bytes = await self._storage.write(path, request.pieces(), bytes_max)
        except TooLarge as error:
            return _refusal(413, f"{path.name} has {error}; leave out what later jobs do not need")
        except BodyLost as error:
            return _refusal(400, str(error))
        except OSError as error:
            log.error("could not store", run=claim.key, step=claim.step, file=path.name, error=error)
            return _refusal(507 if is_full(error) else 500, disk_text(error, "artifacts and caches"))
        log.info("stored", run=claim.key, step=claim.step, file=path.name, bytes=size_bytes)
        return Response(204)


def _app(run: PipelineRun) -> ObjectKey:
    return ObjectKey(run.metadata.namespace, run.spec.app)


def _file(path: Path) -> Reply:
    """A stored archive; it stays readable when a newer one takes its place meanwhile."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return _refusal(404, "there is none")

    async def run(sink: Sink) -> None:
        with file:
            while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
                sink.write(piece)
                await sink.drain()

    return Stream(200, run, _ARCHIVE, length_bytes=os.fstat(file.fileno()).st_size)


async def _send(first: bytes, rest: AsyncIterator[bytes], sink: Sink) -> None:
    sink.write(first)
    async for piece in rest:
        sink.write(piece)
        await sink.drain()


def _refusal(status: int, message: str) -> Response:
    return Response(status, f"{message}\n".encode(), (("Content-Type", "text/plain; charset=utf-8"),))
