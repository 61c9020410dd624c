"""/openapi/v3: one document per group and version, made when first asked for, with an ETag."""

import msgspec

from fairway.engine.apiserver.endpoints.queries import Query
from fairway.engine.apiserver.registry import Kinds
from fairway.engine.apiserver.resources import Kind
from fairway.engine.apiserver.schema import openapi
from fairway.toolkit.http_messages import Headers, Request, Response

_INDEX = "/openapi/v3"
_JSON = ("Content-Type", "application/json")
_FOREVER = ("Cache-Control", "public, immutable")
_CHECK = ("Cache-Control", "no-cache, private")

GroupVersion = tuple[str, str]


class OpenApi:
    """Documents are kept encoded; a changed table of kinds throws them away."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._table: tuple[Kind, ...] = ()
        self._documents: dict[GroupVersion, bytes] = {}
        self._hashes: dict[GroupVersion, str] = {}

    def answer(self, request: Request, path: str, query: Query) -> Response | None:
        """None when there is no such document."""
        if self._table is not self._kinds.all:
            self._table, self._documents, self._hashes = self._kinds.all, {}, {}
        served = self._kinds.group_versions()
        if path == _INDEX:
            for pair in served:
                self._document(pair)
            body = msgspec.json.encode(openapi.index(served, self._hashes))
            return _tagged(request, body, openapi.digest(body), (_CHECK,))
        for pair in served:
            if path == f"{_INDEX}/{openapi.root(*pair)}":
                body = self._document(pair)
                known = self._hashes[pair]
                return _tagged(request, body, known, (_FOREVER if query.get("hash") == known else _CHECK,))
        return None

    def _document(self, pair: GroupVersion) -> bytes:
        if pair not in self._documents:
            group, version = pair
            served = [kind for kind in self._kinds.all if (kind.group, kind.version) == pair]
            own = {kind.kind: dict(kind.custom.raw) for kind in served if kind.custom is not None}
            document = openapi.document(self._kinds.schemas, served, group, version, own)
            self._documents[pair] = msgspec.json.encode(document)
            self._hashes[pair] = openapi.digest(self._documents[pair])
        return self._documents[pair]


def _tagged(request: Request, body: bytes, digest: str, headers: Headers) -> Response:
    tag = ("ETag", f'"{digest}"')
    if request.header("if-none-match") == tag[1]:
        return Response(304, b"", (*headers, tag))
    return Response(200, body, (*headers, _JSON, tag, ("Vary", "Accept")))
