"""OpenAPI v3 documents, one per group and version, from the compiled types and the table of kinds.

They hold what clients use: kubectl's validation (a PATCH operation with `x-kubernetes-group-version-kind` and a
`fieldValidation` parameter), `kubectl explain`, and structural merging of server-side apply.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

from fairway.engine.apiserver.schema.components import REFERENCE, Components, mark
from fairway.engine.apiserver.schema.descriptions import NO_DESCRIPTIONS, Descriptions
from fairway.engine.apiserver.schema.load import Schemas

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
)
_STRATEGIC: Final = "application/strategic-merge-patch+json"


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
    descriptions: Descriptions = NO_DESCRIPTIONS,
) -> dict[str, Any]:
    """The body of `/openapi/v3/<group version>` for those of `kinds` that belong to it.

    `custom` gives the schema (`openAPIV3Schema`) of kinds that are not built in, by kind.
    """
    served = [kind for kind in kinds if (kind.group, kind.version) == (group, version)]
    components = Components(schemas, descriptions)
    for kind in served:
        if custom and kind.kind in custom:
            _add_custom(components, schemas, kind, custom[kind.kind])
        else:
            _add_kind(components, schemas, kind)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": schemas.version},
        "paths": {path: item for kind in served for path, item in _paths(schemas, kind).items()},
        "components": {"schemas": dict(sorted(components.made.items()))},
    }


def definition_name(schemas: Schemas, group: str, version: str, kind: str) -> str:
    """The component name of a kind; for one that is not built in, its group reversed: `dev.fairway.v1.App`."""
    built_in = schemas.kind(group, version, kind)
    if built_in is not None:
        return built_in.name
    return ".".join((*reversed(group.split(".")), version, kind))


def _add_kind(components: Components, schemas: Schemas, kind: Kind) -> None:
    for name in (kind.kind, kind.list_kind):
        built_in = schemas.kind(kind.group, kind.version, name) if name else None
        if built_in is not None:
            components.add(built_in)


def _add_custom(components: Components, schemas: Schemas, kind: Kind, raw: dict[str, Any]) -> None:
    name = definition_name(schemas, kind.group, kind.version, kind.kind)
    components.add_custom(name, mark(kind.group, kind.version, kind.kind), raw)
    if kind.list_kind:
        list_name = definition_name(schemas, kind.group, kind.version, kind.list_kind)
        components.add_custom_list(list_name, mark(kind.group, kind.version, kind.list_kind), name)


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
    reference = {"$ref": REFERENCE + definition_name(schemas, kind.group, kind.version, answer)}
    content = {"application/json": {"schema": reference}}
    operation: dict[str, Any] = {
        "responses": {"200": {"description": "OK", "content": content}},
        "x-kubernetes-action": _OPERATIONS[verb][1],
        "x-kubernetes-group-version-kind": mark(kind.group, kind.version, kind.kind),
    }
    if verb in _WRITES:
        operation["parameters"] = [_parameter(name, "query") for name in ("dryRun", "fieldManager", "fieldValidation")]
        operation["requestBody"] = {"required": True, "content": _body(schemas, kind, verb, reference)}
    if verb == "patch":
        operation["parameters"].append(_parameter("force", "query", "boolean"))
    return operation


def _body(schemas: Schemas, kind: Kind, verb: str, reference: dict[str, Any]) -> dict[str, Any]:
    """kubectl reads here whether a kind takes strategic merge patches: those that are not built in do not."""
    if verb != "patch":
        return {"application/json": {"schema": reference}}
    built_in = schemas.kind(kind.group, kind.version, kind.kind) is not None
    types = (*_PATCH_TYPES, _STRATEGIC) if built_in else _PATCH_TYPES
    return {media: {"schema": {"type": "object"}} for media in types}


def _parameter(name: str, place: str, type: str = "string") -> dict[str, Any]:
    parameter: dict[str, Any] = {"name": name, "in": place, "schema": {"type": type, "uniqueItems": True}}
    return parameter | {"required": True} if place == "path" else parameter
