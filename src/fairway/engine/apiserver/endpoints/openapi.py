"""/openapi/v3 and /openapi/v2: documents made when first asked for, with ETags."""

from typing import Any

import msgspec

from fairway.engine.apiserver.codec import openapi_v2 as protobuf
from fairway.engine.apiserver.endpoints.forms import alternatives
from fairway.engine.apiserver.endpoints.queries import Query
from fairway.engine.apiserver.registry import Kinds
from fairway.engine.apiserver.resources import Kind
from fairway.engine.apiserver.schema import openapi, openapi_v2
from fairway.toolkit.http_messages import Headers, Request, Response

_V3 = "/openapi/v3"
_V2 = "/openapi/v2"
_JSON = "application/json"
_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_PROTOBUF_ASKED = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
_FOREVER = ("Cache-Control", "public, immutable")
_CHECK = ("Cache-Control", "no-cache, private")

GroupVersion = tuple[str, str]


class OpenApi:
    """Documents are kept encoded; a changed table of kinds throws them away, except those that it does not touch."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._table: tuple[Kind, ...] = ()
        self._documents: dict[GroupVersion, tuple[tuple[Kind, ...], bytes, str]] = {}
        self._whole: dict[str, bytes] = {}

    def answer(self, request: Request, path: str, query: Query) -> Response | None:
        """None when there is no such document."""
        if self._table is not self._kinds.all:
            self._table, self._whole = self._kinds.all, {}
        if path == _V2:
            return self._second(request)
        served = self._kinds.group_versions()
        if path == _V3:
            hashes = {pair: self._document(pair)[1] for pair in served}
            body = msgspec.json.encode(openapi.index(served, hashes))
            return _tagged(request, body, openapi.digest(body), (_CHECK,))
        for pair in served:
            if path == f"{_V3}/{openapi.root(*pair)}":
                body, known = self._document(pair)
                return _tagged(request, body, known, (_FOREVER if query.get("hash") == known else _CHECK,))
        return None

    def _document(self, pair: GroupVersion) -> tuple[bytes, str]:
        """Encoded, and its hash."""
        served = tuple(kind for kind in self._kinds.all if (kind.group, kind.version) == pair)
        known = self._documents.get(pair)
        if known is None or known[0] != served:
            body = msgspec.json.encode(self._made(served, pair))
            known = self._documents[pair] = (served, body, openapi.digest(body))
        return known[1], known[2]

    def _made(self, served: tuple[Kind, ...], pair: GroupVersion) -> dict[str, Any]:
        own = {kind.kind: dict(kind.custom.raw) for kind in served if kind.custom is not None}
        return openapi.document(self._kinds.schemas, served, *pair, own)

    def _second(self, request: Request) -> Response:
        """In protobuf for who prefers that, else in JSON."""
        wanted = [media.name for media in alternatives(request.header("accept"))]
        media = _PROTOBUF if wanted and wanted[0] in (_PROTOBUF, _PROTOBUF_ASKED) else _JSON
        if media not in self._whole:
            decode = msgspec.json.decode
            documents = (decode(self._document(pair)[0]) for pair in self._kinds.group_versions())
            document = openapi_v2.document(documents, self._kinds.schemas.version)
            self._whole[media] = protobuf.encode(document) if media == _PROTOBUF else msgspec.json.encode(document)
        body = self._whole[media]
        return _tagged(request, body, openapi.digest(body), (_CHECK,), media)


def _tagged(request: Request, body: bytes, digest: str, headers: Headers, media: str = _JSON) -> Response:
    tag = ("ETag", f'"{digest}"')
    if request.header("if-none-match") == tag[1]:
        return Response(304, b"", (*headers, tag))
    return Response(200, body, (*headers, ("Content-Type", media), tag, ("Vary", "Accept")))
