"""In which form a client wants objects: as they are, as a Table, or only their metadata."""

from collections.abc import Iterable, Iterator
from functools import lru_cache

import msgspec

from fairway.engine.apiserver import errors

OBJECT, TABLE, METADATA = "object", "table", "metadata"
ACCEPTED = ("application/json", "application/yaml")
_JSON = frozenset({"application/json", "application/*", "*/*"})
_INCLUDES = frozenset({"None", "Metadata", "Object"})
_META_VERSIONS = ("v1", "v1beta1")
_STYLES = {"Table": TABLE, "PartialObjectMetadata": METADATA, "PartialObjectMetadataList": METADATA}


class Form(msgspec.Struct, frozen=True):
    """`include` says what a Table row carries of its object: None, Metadata or Object."""

    style: str = OBJECT
    version: str = "v1"
    include: str = "Metadata"


PLAIN = Form()


class MediaType(msgspec.Struct, frozen=True):
    """One alternative of an Accept header."""

    name: str
    parameters: dict[str, str]


def negotiate(accept: str, include: str = "") -> Form:
    """The first alternative that can be served. Raises ApiError 406 and 400."""
    if not accept or accept == "application/json":
        return PLAIN
    form = _negotiate(accept)
    if not include or form.style != TABLE:
        return form
    if include not in _INCLUDES:
        why = "must be 'Metadata', 'Object', 'None', or empty"
        raise errors.bad_request(f"includeObject: Invalid value: {msgspec.json.encode(include).decode()}: {why}")
    return msgspec.structs.replace(form, include=include)


@lru_cache(maxsize=256)
def _negotiate(accept: str) -> Form:
    for media_type in alternatives(accept):
        form = _served(media_type)
        if form is not None:
            return form
    raise errors.not_acceptable(ACCEPTED)


def _served(media_type: MediaType) -> Form | None:
    if media_type.name == "application/yaml":
        return PLAIN
    if media_type.name not in _JSON:
        return None
    wanted = media_type.parameters.get("as")
    if wanted is None:
        return PLAIN
    version = media_type.parameters.get("v", "")
    group = media_type.parameters.get("g")
    if wanted not in _STYLES or version not in _META_VERSIONS or group != "meta.k8s.io":
        return None
    return Form(_STYLES[wanted], version)


def alternatives(accept: str) -> Iterable[MediaType]:
    """The parts of an Accept header, best quality first."""
    found = list(_parse(accept))
    return sorted(found, key=lambda media_type: -_quality(media_type))


def _parse(accept: str) -> Iterator[MediaType]:
    for part in accept.split(","):
        name, *rest = (piece.strip() for piece in part.split(";"))
        pairs = (piece.partition("=") for piece in rest)
        if name:
            yield MediaType(name.lower(), {key.strip(): value.strip() for key, _, value in pairs})


def _quality(media_type: MediaType) -> float:
    try:
        return float(media_type.parameters.get("q", "1"))
    except ValueError:
        return 1.0
