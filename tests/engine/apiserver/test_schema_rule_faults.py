"""CEL rules that a CRD may not bring, and those that depend on what was before."""

from typing import Any

import pytest

from fairway.engine.apiserver.schema.custom import faults

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NUMBER = {"type": "integer"}


def rule(**more: Any) -> Any:
    return {"x-kubernetes-validations": [{"rule": "self == oldSelf", **more}]}


RULE = "self.all(x, x.contains('a'))"
OLD = {**NUMBER, **rule()}


def wrapped(field: Any, **more: Any) -> Any:
    spec = {"type": "object", "properties": {"f": field}, **more}
    return {"type": "object", "properties": {"spec": spec}}


@pytest.mark.parametrize(
    ("schema", "field", "says"),
    [
        (
            wrapped({"type": "array", "items": {**NUMBER, **rule()}}),
            "properties[spec].properties[f].items.x-kubernetes-validations[0].rule",
            "oldSelf cannot be used on the uncorrelatable portion of the schema within",
        ),
        (
            wrapped({"type": "array", "x-kubernetes-list-type": "set", "items": {**NUMBER, **rule()}}),
            "properties[spec].properties[f].items.x-kubernetes-validations[0].rule",
            "uncorrelatable",
        ),
        (
            wrapped({"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": OLD}),
            "properties[spec].properties[f].additionalProperties.x-kubernetes-validations[0].rule",
            "uncorrelatable",
        ),
        (
            wrapped(NUMBER, **rule(fieldPath=".missing")),
            "properties[spec].x-kubernetes-validations[0].fieldPath",
            "fieldPath must be a valid path",
        ),
        (wrapped(NUMBER, **rule(fieldPath="f")), "properties[spec].x-kubernetes-validations[0].fieldPath", "valid"),
        (
            wrapped(NUMBER, **rule(messageExpression=" ")),
            "properties[spec].x-kubernetes-validations[0].messageExpression",
            "must be non-empty if specified",
        ),
        (
            wrapped(NUMBER, **{"x-kubernetes-validations": [{"rule": "self.f > 1", "optionalOldSelf": True}]}),
            "properties[spec].x-kubernetes-validations[0].optionalOldSelf",
            "may not be set if oldSelf is not used in rule",
        ),
        (
            wrapped(NUMBER, **rule(reason="Because")),
            "properties[spec].x-kubernetes-validations[0].reason",
            'Unsupported value: "Because"',
        ),
    ],
)
def test_what_is_wrong(schema: Any, field: str, says: str) -> None:
    found = {cause.field: cause.message for cause in faults(schema, "s")}
    assert says in found[f"s.{field}"]


@pytest.mark.parametrize(
    "schema",
    [
        wrapped(NUMBER, **rule(fieldPath=".f")),
        wrapped(NUMBER, **rule(fieldPath="['f']")),
        wrapped({"type": "object", "additionalProperties": NUMBER}, **rule(fieldPath=".f['a.b']")),
        wrapped({"type": "object", "additionalProperties": {**NUMBER, **rule()}}),
        wrapped(
            {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["n"],
                "items": {"type": "object", "required": ["n"], "properties": {"n": NUMBER, "v": {**NUMBER, **rule()}}},
            }
        ),
    ],
)
def test_what_is_right(schema: Any) -> None:
    assert faults(schema, "s") == []


def definition(schema: Any) -> Any:
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "things", "kind": "Thing"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    return {"metadata": {"name": "things.example.com"}, "spec": spec}


async def test_a_definition_with_a_costly_rule_is_refused(api: Any) -> None:
    costly = {
        "type": "array",
        "items": {"type": "string"},
        "x-kubernetes-validations": [{"rule": "self.all(x, x.contains('a'))"}],
    }
    answer = await api.create(CRDS, definition(wrapped(costly)), 422)
    path = "spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[f].x-kubernetes-validations[0].rule"
    assert path in {cause["field"] for cause in answer["details"]["causes"]}
    assert (
        "estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule" in answer["message"]
    )
    bounded = {**costly, "maxItems": 10, "items": {"type": "string", "maxLength": 20}}
    await api.create(CRDS, definition(wrapped(bounded)))
    field = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/f/maxItems"
    # A patch, not a PUT: the definition's own controller writes its status meanwhile.
    boundless = [{"op": "remove", "path": field}]
    answer = await api.patch(f"{CRDS}/things.example.com", boundless, "json-patch+json", 422)
    assert "exceeds budget" in answer["message"]
