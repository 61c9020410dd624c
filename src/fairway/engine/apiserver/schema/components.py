"""The `components.schemas` of an OpenAPI v3 document: types, merge rules, allowed values and descriptions."""

from typing import Any, Final

from fairway.engine.apiserver.schema.descriptions import Descriptions
from fairway.engine.apiserver.schema.enums import ENUMS, Values
from fairway.engine.apiserver.schema.load import Schemas
from fairway.engine.apiserver.schema.types import Shape, Type, item_of

Schema = dict[str, Any]

REFERENCE: Final = "#/components/schemas/"
_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1."
_LIKE_ANY_KIND: Final = "io.k8s.api.core.v1.ConfigMap"
_LIKE_ANY_LIST: Final = "io.k8s.api.core.v1.ConfigMapList"
"""Whose `apiVersion`, `kind` and `metadata` are described as those of every kind."""
_SPECIAL: Final[dict[Shape, tuple[str, Schema]]] = {
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
_SCALARS: Final[dict[Shape, Schema]] = {
    Shape.STRING: {"type": "string"},
    Shape.BOOLEAN: {"type": "boolean"},
    Shape.INT32: {"type": "integer", "format": "int32"},
    Shape.INT64: {"type": "integer", "format": "int64"},
    Shape.FLOAT64: {"type": "number", "format": "double"},
    Shape.BYTES: {"type": "string", "format": "byte"},
}


class Components:
    """`made` grows by every type that is asked for, and by all that it refers to."""

    def __init__(self, schemas: Schemas, descriptions: Descriptions) -> None:
        self.made: dict[str, Schema] = {}
        self._schemas = schemas
        self._descriptions = descriptions

    def add(self, type: Type) -> None:
        """A named type."""
        if type.name in self.made:
            return
        schema: Schema = {"type": "object"}
        self.made[type.name] = schema
        texts, enums = self._descriptions.of(type.name), ENUMS.get(type.name, {})
        if "" in texts:
            schema["description"] = texts[""]
        if type.fields:
            schema["properties"] = {
                name: _told(_limited(self._expression(field), enums.get(name)), texts.get(name))
                for name, field in type.fields.items()
            }
        if type.required:
            schema["required"] = list(type.required)
        if self._schemas.named(type.name).atomic:
            schema["x-kubernetes-map-type"] = "atomic"
        marks = self._schemas.marks(type.name)
        if marks:
            schema["x-kubernetes-group-version-kind"] = [mark(*triple) for triple in marks]

    def add_custom(self, name: str, marked: dict[str, str], raw: Schema) -> None:
        """A kind of a CRD: its own schema, with `metadata` made what it is."""
        properties = {**(raw.get("properties") or {}), **self._common(_LIKE_ANY_KIND, _META + "ObjectMeta")}
        own = {"properties": properties, "x-kubernetes-group-version-kind": [marked]}
        self.made[name] = {"type": "object"} | raw | own

    def add_custom_list(self, name: str, marked: dict[str, str], item: str) -> None:
        """The list of a kind of a CRD."""
        items = {"type": "array", "items": {"allOf": [{"$ref": REFERENCE + item}]}}
        self.made[name] = {
            "type": "object",
            "required": ["items"],
            "properties": {**self._common(_LIKE_ANY_LIST, _META + "ListMeta"), "items": items},
            "x-kubernetes-group-version-kind": [marked],
        }

    def _common(self, like: str, metadata: str) -> dict[str, Schema]:
        self.add(self._schemas.named(metadata))
        texts = self._descriptions.of(like)
        return {
            "apiVersion": _told({"type": "string"}, texts.get("apiVersion")),
            "kind": _told({"type": "string"}, texts.get("kind")),
            "metadata": _told({"allOf": [{"$ref": REFERENCE + metadata}]}, texts.get("metadata")),
        }

    def _expression(self, type: Type) -> Schema:
        """Always a new value at the top, so that a field may add to it."""
        if type.name:
            self.add(type)
            return _annotated({"allOf": [{"$ref": REFERENCE + type.name}]}, type)
        if type.shape in _SPECIAL:
            return self._special(*_SPECIAL[type.shape])
        if type.shape is Shape.LIST:
            return _annotated({"type": "array", "items": self._expression(item_of(type))}, type)
        if type.shape is Shape.MAP:
            return _annotated({"type": "object", "additionalProperties": self._expression(item_of(type))}, type)
        if type.shape is Shape.ANY:
            return {"type": "object"} if type.accepts == {dict} else {"x-kubernetes-preserve-unknown-fields": True}
        return dict(_SCALARS[type.shape])

    def _special(self, name: str, schema: Schema) -> Schema:
        if name not in self.made:
            self.made[name] = _told(dict(schema), self._descriptions.of(name).get(""))
        return {"$ref": REFERENCE + name}


def mark(group: str, version: str, kind: str) -> dict[str, str]:
    """What `x-kubernetes-group-version-kind` lists."""
    return {"group": group, "version": version, "kind": kind}


def _told(schema: Schema, text: str | None) -> Schema:
    """With a description; a bare reference may have nothing beside it, so it moves into `allOf`."""
    if text is None:
        return schema
    if "$ref" in schema:
        schema = {"allOf": [schema]}
    return {"description": text, **schema}


def _limited(schema: Schema, values: Values | None) -> Schema:
    """With the values that the field, or an item of it, may have."""
    if values is None:
        return schema
    if schema.get("type") == "array":
        return {**schema, "items": {**schema["items"], "enum": list(values)}}
    return {**schema, "enum": list(values)}


def _annotated(schema: Schema, type: Type) -> Schema:
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
