"""Request bodies by their media type."""

import re
from typing import Any

import msgspec
import yaml

from fairway.engine.apiserver import errors, schema
from fairway.engine.apiserver.codec import protobuf
from fairway.engine.apiserver.registry import Body, PatchType
from fairway.engine.apiserver.resources import Kind
from fairway.toolkit.http_messages import Request

_JSON = frozenset({"", "application/json"})
_YAML = frozenset({"application/yaml"})
_PROTOBUF = "application/vnd.kubernetes.protobuf"
_ACCEPTED = ("application/json", "application/yaml", _PROTOBUF)
_APPLY_TYPES = frozenset({"application/apply-patch+yaml", "application/apply-patch+cbor"})

_ESCAPES = re.compile(rb"\\\\|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u[dD][89a-fA-F]..", re.DOTALL)
"""Backslashes that stand for themselves, surrogate pairs, and surrogates without their other half."""
_LONE_BYTES = 6
_YAML_DEPTH_MAX = 200

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
        return Body(_decode(body), _duplicates(body, field_validation))
    except (msgspec.DecodeError, RecursionError):
        return Body(_yaml(body))


def _json(kind: Kind | None, body: bytes, field_validation: str) -> Body:
    try:
        return Body(_decode(body), _duplicates(body, field_validation))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        mended = _mended(body)
        if mended != body:
            return _json(kind, mended, field_validation)
        what = f" (must be of type {kind.kind})" if kind else ""
        why = str(error) or "unexpected end of JSON input"
        raise errors.bad_request(f"the object provided is unrecognized{what}: json parse error: {why}") from error
    except RecursionError as error:
        raise errors.bad_request("json parse error: exceeded max depth") from error


def _mended(body: bytes) -> bytes:
    """The same with U+FFFD for bytes that are not UTF-8 and for halves of surrogate pairs, as Go reads JSON."""
    text = body.decode("utf-8", "replace").encode()
    return _ESCAPES.sub(lambda found: rb"\ufffd" if len(found[0]) == _LONE_BYTES else found[0], text)


def _duplicates(body: bytes, field_validation: str) -> tuple[str, ...]:
    return () if field_validation == "Ignore" else schema.duplicates(body)


def _yaml(body: bytes) -> Any:
    """As JSON would give it: dates stay text."""
    try:
        _check_depth(body)
        return msgspec.json.decode(msgspec.json.encode(yaml.load(body, Loader=_Loader)))
    except (yaml.YAMLError, TypeError, UnicodeDecodeError, RecursionError) as error:
        raise errors.bad_request(f"error converting YAML to JSON: {error}") from error


def _check_depth(body: bytes) -> None:
    """The C loader recurses without a limit and would end the process; its parser does not. Raises YAMLError."""
    depth = 0
    for event in yaml.parse(body, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _YAML_DEPTH_MAX:
            raise yaml.YAMLError("exceeded max depth")


def _protobuf(body: bytes) -> Any:
    try:
        return protobuf.decode(body)
    except ValueError as error:
        raise errors.bad_request(f"couldn't get version/kind; protobuf parse error: {error}") from error


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe YAML without timestamps and without aliases, which could blow a small body up."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
