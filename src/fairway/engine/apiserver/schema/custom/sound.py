"""Whether the schema of a CRD is structural: every cause, in upstream's words (apiextensions, validation.go)."""

from collections.abc import Iterator
from typing import Any, Final

from fairway.engine.apiserver.schema.check import Cause
from fairway.engine.apiserver.schema.custom import causes
from fairway.engine.apiserver.schema.custom.check import check
from fairway.engine.apiserver.schema.custom.node import Raw, build
from fairway.engine.apiserver.schema.custom.prune import prune
from fairway.engine.apiserver.schema.custom.raw import shape_faults
from fairway.engine.apiserver.schema.custom.rule_faults import faults_of_rules
from fairway.toolkit.expressions import matcher

_TYPES: Final = ("array", "boolean", "integer", "number", "object", "string")
_JUNCTORS: Final = ("allOf", "anyOf", "oneOf")
# What may not be said inside of allOf, anyOf, oneOf and not: those hold value validations only.
_FORBIDDEN_IN_JUNCTORS: Final = (
    "additionalProperties",
    "type",
    "default",
    "nullable",
    "description",
    "title",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
)
_UNKNOWN: Final = {
    "id": "id is not supported",
    "$schema": "$schema is not supported",
    "$ref": "$ref is not supported",
    "patternProperties": "patternProperties is not supported",
    "definitions": "definitions is not supported",
    "dependencies": "dependencies is not supported",
    "additionalItems": "additionalItems is not supported",
}


def faults(raw: Raw, path: str) -> list[Cause]:
    """Everything that is wrong with an `openAPIV3Schema` at `path`; empty when custom resources can be held by it."""
    misshapen = list(shape_faults(raw, path))
    if misshapen:
        return misshapen
    found = list(_node(raw, path, root=True))
    return found or list(_deeper(raw, path))


def _node(raw: Raw, path: str, *, root: bool = False) -> Iterator[Cause]:
    yield from _type(raw, path, root)
    yield from _unsupported(raw, path)
    yield from _kubernetes(raw, path, root)
    if root:
        yield from _metadata(raw, path)
    for inner, where in _children(raw, path):
        yield from _node(inner, where)
    for inner, where in _branches(raw, path):
        yield from _branch(inner, where, raw)


def _children(raw: Raw, path: str) -> Iterator[tuple[Raw, str]]:
    for name, field in (raw.get("properties") or {}).items():
        yield field, f"{path}.properties[{name}]"
    for key in ("items", "additionalProperties"):
        if isinstance(raw.get(key), dict):
            yield raw[key], f"{path}.{key}"


def _branches(raw: Raw, path: str) -> Iterator[tuple[Raw, str]]:
    for junctor in _JUNCTORS:
        for index, inner in enumerate(raw.get(junctor) or ()):
            yield inner, f"{path}.{junctor}[{index}]"
    if raw.get("not"):
        yield raw["not"], f"{path}.not"


def _type(raw: Raw, path: str, root: bool) -> Iterator[Cause]:
    kind, free = raw.get("type") or "", raw.get("x-kubernetes-preserve-unknown-fields")
    number_or_text = raw.get("x-kubernetes-int-or-string")
    if kind and kind not in _TYPES:
        yield causes.unsupported(f"{path}.type", kind, _TYPES)
    elif root and kind != "object":
        if kind:
            yield causes.invalid(f"{path}.type", kind, "must be object at the root")
        else:
            yield causes.required(f"{path}.type", "must not be empty at the root")
    elif not kind and not number_or_text and not free:
        where = "specified array items" if path.endswith(".items") else "specified object fields"
        yield causes.required(f"{path}.type", f"must not be empty for {where}")
    elif kind and number_or_text:
        says = "must be empty if x-kubernetes-int-or-string is true"
        yield causes.invalid(f"{path}.type", kind, says)
    if kind == "array" and not isinstance(raw.get("items"), dict):
        if isinstance(raw.get("items"), list):
            yield causes.forbidden(f"{path}.items", "items must be a schema object and not an array")
        elif not free:
            yield causes.required(f"{path}.items", "must be specified")


def _unsupported(raw: Raw, path: str) -> Iterator[Cause]:
    for key, says in _UNKNOWN.items():
        if raw.get(key):
            yield causes.forbidden(f"{path}.{key}", says)
    if raw.get("uniqueItems"):
        says = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield causes.forbidden(f"{path}.uniqueItems", says)
    extra = raw.get("additionalProperties")
    if extra is False:
        yield causes.forbidden(f"{path}.additionalProperties", "additionalProperties cannot be set to false")
    if extra is not None and raw.get("properties"):
        says = "additionalProperties and properties are mutual exclusive"
        yield causes.forbidden(f"{path}.additionalProperties", says)
    pattern = raw.get("pattern")
    if pattern:
        try:
            matcher(pattern)
        except ValueError as error:
            yield causes.invalid(f"{path}.pattern", pattern, f"must be a valid regular expression, but isn't: {error}")


def _kubernetes(raw: Raw, path: str, root: bool) -> Iterator[Cause]:
    list_type, keys = raw.get("x-kubernetes-list-type"), raw.get("x-kubernetes-list-map-keys")
    if raw.get("x-kubernetes-preserve-unknown-fields") is False:
        at = f"{path}.x-kubernetes-preserve-unknown-fields"
        yield causes.invalid(at, False, "must be true or undefined")
    if raw.get("x-kubernetes-embedded-resource"):
        if root:
            yield causes.forbidden(f"{path}.x-kubernetes-embedded-resource", "must not be used at the root")
        if raw.get("type") != "object":
            at = f"{path}.type"
            says = "must be object if x-kubernetes-embedded-resource is true"
            yield causes.invalid(at, raw.get("type") or "", says)
        if not raw.get("x-kubernetes-preserve-unknown-fields") and not raw.get("properties"):
            says = "must not be empty if x-kubernetes-embedded-resource is true without "
            says += "x-kubernetes-preserve-unknown-fields"
            yield causes.required(f"{path}.properties", says)
    if list_type is not None:
        yield from _list_type(raw, path, str(list_type))
    if keys and list_type != "map":
        says = "must be map if x-kubernetes-list-map-keys is non-empty"
        yield causes.invalid(f"{path}.x-kubernetes-list-type", list_type, says)
    map_type = raw.get("x-kubernetes-map-type")
    if map_type is not None and map_type not in ("granular", "atomic"):
        yield causes.unsupported(f"{path}.x-kubernetes-map-type", map_type, ("atomic", "granular"))


def _list_type(raw: Raw, path: str, list_type: str) -> Iterator[Cause]:
    at, keys = f"{path}.x-kubernetes-list-type", raw.get("x-kubernetes-list-map-keys") or ()
    if raw.get("type") != "array":
        yield causes.invalid(
            f"{path}.type", raw.get("type") or "", "must be array if x-kubernetes-list-type is specified"
        )
    if list_type not in ("atomic", "set", "map"):
        yield causes.unsupported(at, list_type, ("atomic", "map", "set"))
    items = raw.get("items") if isinstance(raw.get("items"), dict) else {}
    if list_type != "map" or not items:
        return
    if not keys:
        says = "must not be empty if x-kubernetes-list-type is map"
        yield causes.required(f"{path}.x-kubernetes-list-map-keys", says)
    if items.get("type") != "object":
        says = "must be object if parent array's x-kubernetes-list-type is map"
        yield causes.invalid(f"{path}.items.type", items.get("type") or "", says)
    fields = items.get("properties") or {}
    for index, key in enumerate(keys):
        if key not in fields:
            at = f"{path}.x-kubernetes-list-map-keys[{index}]"
            yield causes.invalid(at, key, "entries must all be names of item properties")
        elif key not in (items.get("required") or ()) and fields[key].get("default") is None:
            where = f"{path}.items.properties[{key}].default"
            says = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            yield causes.required(where, says)


def _metadata(raw: Raw, path: str) -> Iterator[Cause]:
    """At the root only the name of an object may be restricted."""
    metadata = (raw.get("properties") or {}).get("metadata") or {}
    at = f"{path}.properties[metadata]"
    for key in metadata:
        if key not in ("type", "properties", "description", "x-kubernetes-validations") and metadata[key]:
            yield causes.forbidden(
                f"{at}",
                "must not specify anything other than name and generateName, but metadata is implicitly specified",
            )
            return
    extra = [name for name in metadata.get("properties") or {} if name not in ("name", "generateName")]
    if extra:
        says = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        yield causes.forbidden(at, says)


def _branch(raw: Raw, path: str, parent: Raw) -> Iterator[Cause]:
    """Inside a junctor; the `type`s of int-or-string's own pattern are allowed."""
    idiom = parent.get("x-kubernetes-int-or-string") and raw.get("type") in ("integer", "string")
    for key in _FORBIDDEN_IN_JUNCTORS:
        if raw.get(key) and not (key == "type" and idiom):
            yield causes.forbidden(
                f"{path}.{key}",
                "must be empty to be structural" if key == "type" else "must be undefined to be structural",
            )
    for name, field in (raw.get("properties") or {}).items():
        yield from _branch(field, f"{path}.properties[{name}]", field)
    if isinstance(raw.get("items"), dict):
        yield from _branch(raw["items"], f"{path}.items", raw["items"])
    for inner, where in _branches(raw, path):
        yield from _branch(inner, where, raw)


# --- what can only be told once the schema has its shape


def _deeper(raw: Raw, path: str) -> Iterator[Cause]:
    yield from _defaults(raw, path)
    yield from faults_of_rules(raw, path)


def _defaults(raw: Raw, path: str) -> Iterator[Cause]:
    default = raw.get("default")
    if default is not None:
        node = build(raw)
        for cause in check(node, default):
            where = cause.field if cause.field != causes.NOWHERE else ""
            yield Cause(cause.reason, cause.message, f"{path}.default{'.' + where if where else ''}")
        unknown = prune(node, _copy(default))
        if unknown:
            yield causes.invalid(f"{path}.default", default, "must not have unknown fields")
    for inner, where in _children(raw, path):
        yield from _defaults(inner, where)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value
