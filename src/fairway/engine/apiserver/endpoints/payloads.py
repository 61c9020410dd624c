"""Request bodies by their media type."""

import asyncio
import re
from typing import Any

import msgspec

from fairway.engine.apiserver import errors, schema
from fairway.engine.apiserver.codec import protobuf
from fairway.engine.apiserver.registry import Body, PatchType
from fairway.engine.apiserver.resources import Kind
from fairway.toolkit.http_messages import Request
from fairway.toolkit.yaml_json import NotYaml, to_json, to_json_aside

_PLAIN = "application/json"
_JSON = frozenset({"", _PLAIN})
_YAML = frozenset({"application/yaml"})
_PROTOBUF = "application/vnd.kubernetes.protobuf"
_ACCEPTED = (_PLAIN, "application/yaml", _PROTOBUF)
_APPLY = "application/apply-patch+yaml"

_ESCAPES = re.compile(rb"\\\\|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u[dD][89a-fA-F]..", re.DOTALL)
"""Backslashes that stand for themselves, surrogate pairs, and surrogates without their other half."""
_LONE_BYTES = 6
_SHOWN_BYTES = 30
_LONG_YAML_BYTES = 32 * 1024
"""Takes some 25 ms to read."""

_decode = msgspec.json.Decoder().decode


def media_type(request: Request) -> str:
    """Without parameters, in lower case."""
    return request.header("content-type").partition(";")[0].strip().lower()


def read(kind: Kind | None, request: Request, field_validation: str = "Ignore") -> Body:
    """The object in a request's body. Raises ApiError 400 and 415."""
    media = media_type(request)
    if media in _JSON:
        return _json(kind, request.body, field_validation)
    if media in _YAML:
        return Body(_yaml(request.body))
    if media == _PROTOBUF:
        return Body(_protobuf(request.body))
    raise errors.unsupported_media_type(_ACCEPTED)


class LongYaml:
    """YAML so long that reading it would keep everyone else waiting, made JSON by another process, one at a time."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(1)

    def holds(self, request: Request) -> bool:
        """Whether a request has such a body; an apply-patch is mostly JSON, whatever it is called."""
        if len(request.body) < _LONG_YAML_BYTES:
            return False
        media = media_type(request)
        return media in _YAML or (media == _APPLY and not _is_json(request.body))

    async def in_json(self, request: Request) -> Request:
        """The same request with its body in JSON. Raises ApiError 400."""
        async with self._turn:
            try:
                body = await to_json_aside(request.body)
            except NotYaml as error:
                raise _not_yaml(error) from error
        headers = request.headers if media_type(request) == _APPLY else {**request.headers, "content-type": _PLAIN}
        made = Request(request.method, request.path, request.query, headers, body, request.peer)
        made.keep_alive, made.minor_version = request.keep_alive, request.minor_version
        return made


def _is_json(body: bytes) -> bool:
    try:
        _decode(body)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def read_optional(request: Request) -> Any:
    """The decoded body, or None when there is none (DELETE). Raises ApiError 400 and 415."""
    return read(None, request).value if request.body.strip() else None


def patch_type(request: Request, kind: Kind) -> PatchType:
    """Raises ApiError 415."""
    media = media_type(request)
    for how in PatchType:
        if how.value == media:
            return how
    raise errors.unsupported_media_type(sorted(how.value for how in PatchType))


def read_patch(request: Request, how: PatchType, field_validation: str) -> Body:
    """The patch document. Raises ApiError 400."""
    if how is PatchType.APPLY:
        return _apply(request.body, field_validation)
    return _json(None, request.body, field_validation)


def _apply(body: bytes, field_validation: str) -> Body:
    """YAML by name; nearly always JSON, which reads a hundred times faster."""
    try:
        return Body(_shallow(body), _duplicates(body, field_validation))
    except (msgspec.DecodeError, RecursionError):
        return Body(_yaml(body))


def _json(kind: Kind | None, body: bytes, field_validation: str) -> Body:
    try:
        return Body(_shallow(body), _duplicates(body, field_validation))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        mended = _mended(body)
        if mended != body:
            return _json(kind, mended, field_validation)
        raise _unrecognized(kind, body, error) from error
    except RecursionError as error:
        raise _too_deep() from error


def _unrecognized(kind: Kind | None, body: bytes, error: Exception) -> errors.ApiError:
    """As upstream's transformDecodeError tells it: with the body's beginning, in hexadecimal if it is no object."""
    what = f" (must be of type {kind.kind})" if kind else ""
    why = "unexpected end of JSON input" if str(error) == "Input data was truncated" else str(error)
    start, more = body[:_SHOWN_BYTES], " ..." if len(body) > _SHOWN_BYTES else ""
    shown = start.decode("utf-8", "replace") if start.startswith(b"{") else start.hex() or "<empty>"
    message = f"couldn't get version/kind; json parse error: {why} ({shown}{more})"
    return errors.bad_request(f"the object provided is unrecognized{what}: {message}")


def _shallow(body: bytes) -> Any:
    value = _decode(body)
    if schema.may_be_too_deep(body) and schema.too_deep(value):
        raise _too_deep()
    return value


def _too_deep() -> errors.ApiError:
    return errors.bad_request("json parse error: exceeded max depth")


def _mended(body: bytes) -> bytes:
    """The same with U+FFFD for bytes that are not UTF-8 and for halves of surrogate pairs, as Go reads JSON."""
    text = body.decode("utf-8", "replace").encode()
    return _ESCAPES.sub(lambda found: rb"\ufffd" if len(found[0]) == _LONE_BYTES else found[0], text)


def _duplicates(body: bytes, field_validation: str) -> tuple[str, ...]:
    return () if field_validation == "Ignore" else schema.duplicates(body)


def _yaml(body: bytes) -> Any:
    try:
        return _decode(to_json(body))
    except NotYaml as error:
        raise _not_yaml(error) from error


def _not_yaml(error: NotYaml) -> errors.ApiError:
    return errors.bad_request(f"error converting YAML to JSON: {error}")


def _protobuf(body: bytes) -> Any:
    try:
        value = protobuf.decode(body)
    except ValueError as error:
        raise errors.bad_request(f"couldn't get version/kind; protobuf parse error: {error}") from error
    if schema.too_deep(value):
        raise errors.bad_request("couldn't get version/kind; protobuf parse error: exceeded max depth")
    return value
