"""From a decoded body to an object of its kind: right kind, right types, no unknown fields, defaults filled in."""

from collections.abc import Iterable
from typing import Any

import msgspec

from fairway.engine.apiserver import errors, schema
from fairway.engine.apiserver.registry.options import STRICT, WARN
from fairway.engine.apiserver.resources import Cause, Kind
from fairway.engine.apiserver.schema.custom import Compiled
from fairway.engine.apiserver.store.entries import Object


class Body(msgspec.Struct, frozen=True):
    """A decoded request body and the paths of the keys that it held twice."""

    value: Any
    duplicates: tuple[str, ...] = ()


class Decoded(msgspec.Struct, frozen=True):
    """An object that fits its kind. `missing` joins what validation finds; `warnings` go to the client."""

    obj: Object
    missing: tuple[Cause, ...] = ()
    warnings: tuple[str, ...] = ()


def decode(kind: Kind, type: schema.Type | None, body: Body, field_validation: str) -> Decoded:
    """Raises ApiError: 400 when the body cannot be an object of this kind."""
    obj = body.value
    if not isinstance(obj, dict):
        raise errors.bad_request(
            f"{_cannot(kind)}: json: cannot unmarshal {_shape(obj)} into Go value of type {kind.kind}"
        )
    _check_kind(kind, obj)
    metadata = obj.get("metadata")
    obj = {**obj, "kind": kind.kind, "apiVersion": kind.api_version, "metadata": {} if metadata is None else metadata}
    if kind.custom is not None:
        return _custom(kind, kind.custom, obj, body, field_validation)
    if type is None:
        return _finished(kind, obj, (), _complaints((), body.duplicates))
    report = schema.check(type, obj)
    if report.wrong:
        raise errors.bad_request(f"{_cannot(kind)}: {report.wrong[0].message}")
    complaints = _complaints(report.unknown, body.duplicates)
    if complaints and field_validation == STRICT:
        raise errors.bad_request(f"{_cannot(kind)}: strict decoding error: {', '.join(complaints)}")
    missing = tuple(Cause(cause.reason, cause.message, cause.field) for cause in report.missing)
    return _finished(
        kind, schema.complete(type, schema.prune(type, obj)), missing, complaints if field_validation == WARN else ()
    )


def _custom(kind: Kind, custom: Compiled, obj: Object, body: Body, field_validation: str) -> Decoded:
    """Only metadata has types that can fail to decode; the rest is pruned now and validated later."""
    metadata = custom.type.fields["metadata"]
    report = schema.check(metadata, obj["metadata"])
    if report.wrong:
        raise errors.bad_request(f"{_cannot(kind)}: {report.wrong[0].message}")
    unknown = [f"metadata.{path}" for path in report.unknown] + custom.fit(obj)
    complaints = _complaints(unknown, body.duplicates)
    if complaints and field_validation == STRICT:
        raise errors.bad_request(f"{_cannot(kind)}: strict decoding error: {', '.join(complaints)}")
    obj["metadata"] = schema.prune(metadata, obj["metadata"])
    warnings = complaints if field_validation == WARN else ()
    return _finished(kind, obj, (), (kind.warning, *warnings) if kind.warning else warnings)


def _finished(kind: Kind, obj: Object, missing: tuple[Cause, ...], warnings: tuple[str, ...]) -> Decoded:
    obj["metadata"] = {key: value for key, value in obj["metadata"].items() if value or not _droppable(key, value)}
    kind.default(obj)
    return Decoded(obj, missing, warnings)


def _droppable(key: str, value: object) -> bool:
    """Empty metadata is not kept, as in Go's `omitempty`; empty managed fields are an order to forget them."""
    return value.__class__ in (str, dict, list) and key != "managedFields"


def _complaints(unknown: Iterable[str], duplicates: Iterable[str]) -> tuple[str, ...]:
    return (*(f'unknown field "{path}"' for path in unknown), *(f'duplicate field "{path}"' for path in duplicates))


def _check_kind(kind: Kind, obj: Object) -> None:
    given, version = obj.get("kind") or kind.kind, obj.get("apiVersion") or kind.api_version
    if version != kind.api_version:
        raise errors.bad_request(
            f"the API version in the data ({version}) does not match the expected API version ({kind.api_version})"
        )
    if given != kind.kind:
        raise errors.bad_request(
            f"{given} in version {_version(version)} cannot be handled as a {kind.kind}: "
            f'no kind "{given}" is registered for version "{version}"'
        )


def _cannot(kind: Kind) -> str:
    return f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}'


def _version(api_version: object) -> str:
    return f'"{str(api_version).rpartition("/")[2]}"'


def _shape(value: object) -> str:
    names = {list: "array", str: "string", bool: "bool", int: "number", float: "number"}
    return names.get(value.__class__, "null")
