"""Bytes as HTTP answers."""

import asyncio
import gzip
from collections.abc import Iterable
from typing import Any

import msgspec
import yaml

from fairway.engine.apiserver.endpoints.forms import alternatives
from fairway.engine.apiserver.errors import ApiError
from fairway.toolkit.http_messages import Headers, Reply, Request, Response

JSON = "application/json"
YAML = "application/yaml"
_NO_CACHE = ("Cache-Control", "no-cache, private")
_JSON_HEADERS: Headers = (_NO_CACHE, ("Content-Type", JSON))
_GZIP_BYTES_MIN = 128 * 1024
_THREAD_BYTES_MIN = 1024 * 1024
_GZIP_LEVEL = 1
_PACKED = ("Content-Encoding", "gzip")

_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

_encode = msgspec.json.Encoder().encode


def json(body: bytes, status: int = 200, warnings: Iterable[str] = ()) -> Response:
    """An answer in JSON that is encoded already."""
    headers = _JSON_HEADERS
    if warnings:
        headers = (*headers, *(("Warning", f'299 - "{_quoted(text)}"') for text in warnings))
    return Response(status, body, headers)


def value(content: Any, status: int = 200, warnings: Iterable[str] = ()) -> Response:
    """An answer in JSON, from a tree."""
    return json(_encode(content) + b"\n", status, warnings)


def text(body: str, status: int = 200, media_type: str = "text/plain; charset=utf-8") -> Response:
    """A plain text answer."""
    headers = (_NO_CACHE, ("Content-Type", media_type), ("X-Content-Type-Options", "nosniff"))
    return Response(status, body.encode(), headers)


def failure(error: ApiError) -> Response:
    """An error as a Status."""
    response = value(error.status, error.code)
    retry = (error.details or {}).get("retryAfterSeconds")
    if retry:
        response = msgspec.structs.replace(response, headers=(*response.headers, ("Retry-After", str(retry))))
    return response


def page_not_found() -> Response:
    """What upstream says about paths that it does not know at all."""
    return text("404 page not found\n", 404)


async def packed(request: Request, response: Response) -> Response:
    """The same answer, gzipped when it is big and the client takes that."""
    if not wants_gzip(request, response):
        return response
    body = response.body
    if len(body) >= _THREAD_BYTES_MIN:
        small = await asyncio.to_thread(gzip.compress, body, _GZIP_LEVEL)
    else:
        small = gzip.compress(body, _GZIP_LEVEL)
    headers = (*response.headers, _PACKED, ("Vary", "Accept-Encoding"))
    return Response(response.status, small, headers)


def wants_gzip(request: Request, reply: Reply) -> bool:
    """Whether `packed` would change anything."""
    big = isinstance(reply, Response) and len(reply.body) >= _GZIP_BYTES_MIN and _PACKED not in reply.headers
    return big and "gzip" in request.header("accept-encoding")


async def as_yaml(response: Response) -> Response:
    """A JSON answer as YAML, which takes a hundred times longer: for people with curl."""
    if ("Content-Type", JSON) not in response.headers or _PACKED in response.headers:
        return response
    made = await asyncio.to_thread(_yaml, response.body)
    headers = tuple(pair for pair in response.headers if pair[0] != "Content-Type")
    return Response(response.status, made, (*headers, ("Content-Type", YAML)))


def wants_yaml(request: Request) -> bool:
    """Whether YAML is what the client likes best."""
    accept = request.header("accept")
    return "yaml" in accept and next(iter(alternatives(accept))).name == YAML


def _yaml(body: bytes) -> bytes:
    made: bytes = yaml.dump(msgspec.json.decode(body), Dumper=_Dumper, encoding="utf-8", allow_unicode=True)
    return made


def _quoted(warning: str) -> str:
    return warning.replace("\\", "\\\\").replace('"', '\\"')
