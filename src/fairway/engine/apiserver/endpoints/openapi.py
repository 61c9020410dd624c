"""/openapi/v3 and /openapi/v2: documents made when first asked for, with ETags."""

import asyncio
import gzip
from collections.abc import Callable, Mapping

import msgspec

from fairway.engine.apiserver.codec import openapi_v2 as protobuf
from fairway.engine.apiserver.endpoints.forms import alternatives
from fairway.engine.apiserver.endpoints.queries import Query
from fairway.engine.apiserver.registry import Kinds
from fairway.engine.apiserver.resources import Kind
from fairway.engine.apiserver.schema import Descriptions, load_descriptions, openapi, openapi_v2
from fairway.toolkit.http_messages import Headers, Request, Response

_V3 = "/openapi/v3"
_V2 = "/openapi/v2"
_JSON = "application/json"
_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_PROTOBUF_ASKED = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
_FOREVER = ("Cache-Control", "public, immutable")
_CHECK = ("Cache-Control", "no-cache, private")
_PACKED = ("Content-Encoding", "gzip")
_VARY = ("Vary", "Accept, Accept-Encoding")
_GZIP_LEVEL = 4

GroupVersion = tuple[str, str]
_Load = Callable[[], Descriptions]


class Packed(msgspec.Struct, frozen=True):
    """A document, gzipped: they are large and seldom asked for. `digest` is that of the plain text."""

    body: bytes
    digest: str


class OpenApi:
    """Documents are kept packed; a changed table of kinds throws them away, except those that it does not touch."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._table: tuple[Kind, ...] = ()
        self._documents: dict[GroupVersion, tuple[tuple[Kind, ...], Packed]] = {}
        self._whole: dict[str, Packed] = {}

    async def answer(self, request: Request, path: str, query: Query) -> Response | None:
        """None when there is no such document."""
        if path == _V2:
            return await self._second(request)
        if path == _V3:
            documents = await self._all()
            hashes = {pair: document.digest for pair, document in documents.items()}
            body = msgspec.json.encode(openapi.index(documents, hashes))
            return _tagged(request, await _packed(body), (_CHECK,))
        for pair in self._kinds.group_versions():
            if path == f"{_V3}/{openapi.root(*pair)}":
                found = await self._document(pair, load_descriptions)
                return _tagged(request, found, (_FOREVER if query.get("hash") == found.digest else _CHECK,))
        return None

    async def _all(self) -> Mapping[GroupVersion, Packed]:
        """Of every group and version; others have their turn between two of them."""
        once = _Once()
        return {pair: await self._document(pair, once.descriptions) for pair in self._kinds.group_versions()}

    async def _document(self, pair: GroupVersion, descriptions: _Load) -> Packed:
        served = tuple(kind for kind in self._kinds.all if (kind.group, kind.version) == pair)
        known = self._documents.get(pair)
        if known is None or known[0] != served:
            own = {kind.kind: dict(kind.custom.raw) for kind in served if kind.custom is not None}
            made = openapi.document(self._kinds.schemas, served, *pair, own, descriptions())
            known = self._documents[pair] = (served, await _packed(msgspec.json.encode(made)))
        return known[1]

    async def _second(self, request: Request) -> Response:
        """In protobuf for who prefers that, else in JSON."""
        wanted = [media.name for media in alternatives(request.header("accept"))]
        media = _PROTOBUF if wanted and wanted[0] in (_PROTOBUF, _PROTOBUF_ASKED) else _JSON
        table = self._kinds.all
        if self._table is not table:
            self._table, self._whole = table, {}
        found = self._whole.get(media)
        if found is None:
            parts = [document.body for document in (await self._all()).values()]
            body = await asyncio.to_thread(_whole, parts, self._kinds.schemas.version, media)
            found = await _packed(body)
            if self._table is table:
                self._whole[media] = found
        return _tagged(request, found, (_CHECK,), media)


class _Once:
    """Descriptions for one round over all documents, read if one of them is to be made, and not kept after it."""

    def __init__(self) -> None:
        self._loaded: Descriptions | None = None

    def descriptions(self) -> Descriptions:
        if self._loaded is None:
            self._loaded = load_descriptions()
        return self._loaded


async def _packed(body: bytes) -> Packed:
    return Packed(await asyncio.to_thread(gzip.compress, body, _GZIP_LEVEL, mtime=0), openapi.digest(body))


def _whole(parts: list[bytes], version: str, media: str) -> bytes:
    """The second version's one document, from all packed ones of the third."""
    document = openapi_v2.document((msgspec.json.decode(gzip.decompress(part)) for part in parts), version)
    return protobuf.encode(document) if media == _PROTOBUF else msgspec.json.encode(document)


def _tagged(request: Request, found: Packed, headers: Headers, media: str = _JSON) -> Response:
    tag = ("ETag", f'"{found.digest}"')
    if request.header("if-none-match") == tag[1]:
        return Response(304, b"", (*headers, tag))
    headers = (*headers, ("Content-Type", media), tag, _VARY)
    if "gzip" in request.header("accept-encoding"):
        return Response(200, found.body, (*headers, _PACKED))
    return Response(200, gzip.decompress(found.body), headers)
