"""The OpenAPI v2 document that older clients validate by, made from the v3 documents.

kubectl before 1.29 and gitops-engine ask for it. They know no `oneOf`, no `nullable` and no `allOf` around a reference:
what they could not read is left open, as upstream does for custom resources (apiextensions, ToStructuralOpenAPIV2).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

Document = dict[str, Any]

_V3: Final = "#/components/schemas/"
_V2: Final = "#/definitions/"
_KEPT: Final = ("type", "format", "description", "required", "x-kubernetes-group-version-kind")
_RULES: Final = (
    "x-kubernetes-patch-strategy",
    "x-kubernetes-patch-merge-key",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
)
_QUERY: Final = ("dryRun", "fieldManager", "fieldValidation", "force")


def document(documents: Iterable[Mapping[str, Any]], version: str) -> Document:
    """One document from those of all groups and versions."""
    definitions: Document = {}
    paths: Document = {}
    for v3 in documents:
        for name, schema in v3["components"]["schemas"].items():
            if name not in definitions:
                definitions[name] = _schema(schema)
        for path, item in v3["paths"].items():
            paths[path] = _item(item)
    info = {"title": "Kubernetes", "version": version}
    return {"swagger": "2.0", "info": info, "paths": dict(sorted(paths.items())), "definitions": definitions}


def _schema(v3: Mapping[str, Any]) -> Document:
    rules = {key: v3[key] for key in ("description", *_RULES) if key in v3}
    reference = v3.get("$ref") or _only_reference(v3.get("allOf"))
    if reference:
        return {"$ref": _V2 + reference.removeprefix(_V3), **rules}
    if v3.get("oneOf") and not v3.get("properties"):
        # A quantity, or a number or a text: clients take such a string for either.
        return {"type": "string", **{key: v3[key] for key in ("description", "format") if key in v3}}
    schema = {key: v3[key] for key in _KEPT if v3.get(key)} | rules
    if v3.get("nullable") or v3.get("x-kubernetes-preserve-unknown-fields") or v3.get("x-kubernetes-int-or-string"):
        return {key: schema[key] for key in schema if key not in ("type", "format", "required", *_RULES)}
    if v3.get("properties"):
        schema["properties"] = {name: _schema(field) for name, field in v3["properties"].items()}
    if isinstance(v3.get("items"), dict):
        schema["items"] = _schema(v3["items"])
    if isinstance(v3.get("additionalProperties"), dict):
        schema["additionalProperties"] = _schema(v3["additionalProperties"])
    return schema


def _only_reference(all_of: Any) -> str:
    if isinstance(all_of, list) and len(all_of) == 1:
        return str(all_of[0].get("$ref") or "")
    return ""


def _item(v3: Mapping[str, Any]) -> Document:
    """Of the operations, what tells clients which parameters a kind takes."""
    return {method: _operation(operation) for method, operation in v3.items() if isinstance(operation, dict)}


def _operation(v3: Mapping[str, Any]) -> Document:
    parameters = [
        {"name": parameter["name"], "in": "query", "type": "string", "uniqueItems": True}
        for parameter in v3.get("parameters") or ()
        if parameter["name"] in _QUERY
    ]
    extensions = {key: value for key, value in v3.items() if key.startswith("x-")}
    return {"parameters": parameters, "responses": {"200": {"description": "OK"}}, **extensions}
