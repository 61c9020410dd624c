"""OpenAPI v3 documents, one per group and version, from the compiled types and the table of kinds.

They hold what clients use: kubectl's validation (a PATCH operation with `x-kubernetes-group-version-kind` and a
`fieldValidation` parameter), `kubectl explain`, and structural merging of server-side apply.  They hold no prose.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

from fairway.engine.apiserver.schema.load import Schemas
from fairway.engine.apiserver.schema.types import Shape, Type, item_of

_REFERENCE: Final = "#/components/schemas/"
_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1."
_SPECIAL: Final[dict[Shape, tuple[str, dict[str, Any]]]] = {
    Shape.QUANTITY: (
        "io.k8s.apimachinery.pkg.api.resource.Quantity",
        {"oneOf": [{"type": "string"}, {"type": "number"}]},
    ),
    Shape.INT_OR_STRING: (
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
        {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
    ),
    Shape.TIME: (_META + "Time", {"type": "string", "format": "date-time"}),
    Shape.MICROTIME: (_META + "MicroTime", {"type": "string", "format": "date-time"}),
}
_SCALARS: Final[dict[Shape, dict[str, Any]]] = {
    Shape.STRING: {"type": "string"},
    Shape.BOOLEAN: {"type": "boolean"},
    Shape.INT32: {"type": "integer", "format": "int32"},
    Shape.INT64: {"type": "integer", "format": "int64"},
    Shape.FLOAT64: {"type": "number", "format": "double"},
    Shape.BYTES: {"type": "string", "format": "byte"},
}
# What one verb of a kind is called in a document: HTTP method, action.
_OPERATIONS: Final = {
    "get": ("get", "get"),
    "list": ("get", "list"),
    "create": ("post", "post"),
    "update": ("put", "put"),
    "patch": ("patch", "patch"),
    "delete": ("delete", "delete"),
    "deletecollection": ("delete", "deletecollection"),
}
_ON_COLLECTION: Final = ("list", "create", "deletecollection")
_ON_OBJECT: Final = ("get", "update", "patch", "delete")
_WRITES: Final = ("create", "update", "patch")
_PATCH_TYPES: Final = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)


class Kind(Protocol):
    """The part of a registry entry that a document needs; `list_kind` is empty for a kind that is only created."""

    @property
    def group(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def plural(self) -> str: ...
    @property
    def namespaced(self) -> bool: ...
    @property
    def verbs(self) -> Sequence[str]: ...
    @property
    def subresources(self) -> Iterable[Any]: ...
    @property
    def list_kind(self) -> str: ...


def root(group: str, version: str) -> str:
    """Where a group and version is served, without a leading slash: `api/v1` or `apis/apps/v1`."""
    return f"apis/{group}/{version}" if group else f"api/{version}"


def index(
    group_versions: Iterable[tuple[str, str]], hashes: dict[tuple[str, str], str] | None = None
) -> dict[str, Any]:
    """The body of `/openapi/v3`: where each document is; with `hashes`, addresses that may be cached forever."""
    paths: dict[str, Any] = {}
    for group, version in group_versions:
        known = (hashes or {}).get((group, version))
        suffix = f"?hash={known}" if known else ""
        paths[root(group, version)] = {"serverRelativeURL": f"/openapi/v3/{root(group, version)}{suffix}"}
    return {"paths": paths}


def digest(encoded: bytes) -> str:
    """The hash of an encoded document, for its ETag and for `index`: upper-case hexadecimal, as upstream's."""
    return hashlib.sha512(encoded).hexdigest().upper()


def document(
    schemas: Schemas,
    kinds: Iterable[Kind],
    group: str,
    version: str,
    custom: dict[str, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The body of `/openapi/v3/<group version>` for those of `kinds` that belong to it.

    `custom` gives the schema (`openAPIV3Schema`) of kinds that are not built in, by kind.
    """
    served = [kind for kind in kinds if (kind.group, kind.version) == (group, version)]
    components: dict[str, Any] = {}
    for kind in served:
        if custom and kind.kind in custom:
            _add_custom(components, schemas, kind, custom[kind.kind])
        else:
            _add_kind(components, schemas, kind)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": schemas.version},
        "paths": {path: item for kind in served for path, item in _paths(schemas, kind).items()},
        "components": {"schemas": dict(sorted(components.items()))},
    }


def definition_name(schemas: Schemas, group: str, version: str, kind: str) -> str:
    """The component name of a kind; for one that is not built in, its group reversed: `dev.fairway.v1.App`."""
    built_in = schemas.kind(group, version, kind)
    if built_in is not None:
        return built_in.name
    return ".".join((*reversed(group.split(".")), version, kind))


def _add_kind(components: dict[str, Any], schemas: Schemas, kind: Kind) -> None:
    for name in (kind.kind, kind.list_kind):
        built_in = schemas.kind(kind.group, kind.version, name) if name else None
        if built_in is not None:
            _add(components, schemas, built_in)


def _add(components: dict[str, Any], schemas: Schemas, type: Type) -> None:
    """A named type and all that it refers to."""
    if type.name in components:
        return
    schema: dict[str, Any] = {"type": "object"}
    components[type.name] = schema
    if type.fields:
        schema["properties"] = {name: _expression(components, schemas, field) for name, field in type.fields.items()}
    if type.required:
        schema["required"] = list(type.required)
    if schemas.named(type.name).atomic:
        schema["x-kubernetes-map-type"] = "atomic"
    marks = schemas.marks(type.name)
    if marks:
        schema["x-kubernetes-group-version-kind"] = [_mark(*mark) for mark in marks]


def _expression(components: dict[str, Any], schemas: Schemas, type: Type) -> dict[str, Any]:
    if type.name:
        _add(components, schemas, type)
        return _annotated({"allOf": [{"$ref": _REFERENCE + type.name}]}, type)
    if type.shape in _SPECIAL:
        name, schema = _SPECIAL[type.shape]
        components.setdefault(name, schema)
        return {"$ref": _REFERENCE + name}
    if type.shape is Shape.LIST:
        items = _expression(components, schemas, item_of(type))
        return _annotated({"type": "array", "items": items}, type)
    if type.shape is Shape.MAP:
        values = _expression(components, schemas, item_of(type))
        return _annotated({"type": "object", "additionalProperties": values}, type)
    if type.shape is Shape.ANY:
        return {"type": "object"} if type.accepts == {dict} else {"x-kubernetes-preserve-unknown-fields": True}
    return _SCALARS[type.shape]


def _annotated(schema: dict[str, Any], type: Type) -> dict[str, Any]:
    """The merge rules of a field beside its type."""
    if type.shape is Shape.LIST:
        schema["x-kubernetes-list-type"] = "map" if type.keys else "set" if type.unique else "atomic"
        if type.keys:
            schema["x-kubernetes-list-map-keys"] = list(type.keys)
    elif type.shape is Shape.MAP and type.atomic:
        schema["x-kubernetes-map-type"] = "atomic"
    strategies = [word for word, on in (("merge", type.merge), ("retainKeys", type.retain_keys)) if on]
    if strategies:
        schema["x-kubernetes-patch-strategy"] = ",".join(strategies)
    if type.merge_key:
        schema["x-kubernetes-patch-merge-key"] = type.merge_key
    return schema


def _add_custom(components: dict[str, Any], schemas: Schemas, kind: Kind, schema: dict[str, Any]) -> None:
    """A kind of a CRD: its own schema with `metadata` made what it is, and its list."""
    metadata = schemas.named(_META + "ObjectMeta")
    _add(components, schemas, metadata)
    properties = dict(schema.get("properties") or {})
    properties["apiVersion"] = properties["kind"] = {"type": "string"}
    properties["metadata"] = {"allOf": [{"$ref": _REFERENCE + metadata.name}]}
    name = definition_name(schemas, kind.group, kind.version, kind.kind)
    mark = [_mark(kind.group, kind.version, kind.kind)]
    own = {"type": "object"} | schema | {"properties": properties, "x-kubernetes-group-version-kind": mark}
    components[name] = own
    if kind.list_kind:
        list_name = definition_name(schemas, kind.group, kind.version, kind.list_kind)
        components[list_name] = _custom_list(components, schemas, kind, name)


def _custom_list(components: dict[str, Any], schemas: Schemas, kind: Kind, item: str) -> dict[str, Any]:
    metadata = schemas.named(_META + "ListMeta")
    _add(components, schemas, metadata)
    return {
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"allOf": [{"$ref": _REFERENCE + metadata.name}]},
            "items": {"type": "array", "items": {"allOf": [{"$ref": _REFERENCE + item}]}},
        },
        "x-kubernetes-group-version-kind": [_mark(kind.group, kind.version, kind.list_kind)],
    }


def _mark(group: str, version: str, kind: str) -> dict[str, str]:
    return {"group": group, "version": version, "kind": kind}


def _paths(schemas: Schemas, kind: Kind) -> dict[str, Any]:
    """The path items of one kind: its collection, its objects and their subresources."""
    base = f"/{root(kind.group, kind.version)}"
    collection = f"{base}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"{base}/{kind.plural}"
    shared = [_parameter("namespace", "path")] if kind.namespaced else []
    named = [*shared, _parameter("name", "path")]
    paths = {
        collection: _item(schemas, kind, _ON_COLLECTION, shared),
        f"{collection}/{{name}}": _item(schemas, kind, _ON_OBJECT, named),
    }
    if kind.namespaced and "list" in kind.verbs:
        paths[f"{base}/{kind.plural}"] = _item(schemas, kind, ("list",), [])
    for subresource in kind.subresources:
        name = getattr(subresource, "name", subresource)
        if name == "status":
            path = f"{collection}/{{name}}/status"
            paths[path] = _item(schemas, kind, ("get", "update", "patch"), named, every=True)
    return {path: item for path, item in paths.items() if len(item) > 1 or "parameters" not in item}


def _item(
    schemas: Schemas, kind: Kind, verbs: Sequence[str], parameters: list[dict[str, Any]], every: bool = False
) -> dict[str, Any]:
    item: dict[str, Any] = {
        _OPERATIONS[verb][0]: _operation(schemas, kind, verb) for verb in verbs if every or verb in kind.verbs
    }
    return item | {"parameters": parameters} if parameters else item


def _operation(schemas: Schemas, kind: Kind, verb: str) -> dict[str, Any]:
    answer = kind.list_kind if verb == "list" else kind.kind
    reference = {"$ref": _REFERENCE + definition_name(schemas, kind.group, kind.version, answer)}
    content = {"application/json": {"schema": reference}}
    operation: dict[str, Any] = {
        "responses": {"200": {"description": "OK", "content": content}},
        "x-kubernetes-action": _OPERATIONS[verb][1],
        "x-kubernetes-group-version-kind": _mark(kind.group, kind.version, kind.kind),
    }
    if verb in _WRITES:
        operation["parameters"] = [_parameter(name, "query") for name in ("dryRun", "fieldManager", "fieldValidation")]
        operation["requestBody"] = {"required": True, "content": _body(verb, reference)}
    if verb == "patch":
        operation["parameters"].append(_parameter("force", "query", "boolean"))
    return operation


def _body(verb: str, reference: dict[str, Any]) -> dict[str, Any]:
    if verb != "patch":
        return {"application/json": {"schema": reference}}
    return {media: {"schema": {"type": "object"}} for media in _PATCH_TYPES}


def _parameter(name: str, place: str, type: str = "string") -> dict[str, Any]:
    parameter: dict[str, Any] = {"name": name, "in": place, "schema": {"type": type, "uniqueItems": True}}
    return parameter | {"required": True} if place == "path" else parameter
