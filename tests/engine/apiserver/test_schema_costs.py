"""The worst cost of CEL rules, and which CRDs are refused for it."""

from typing import Any

import pytest

from fairway.engine.apiserver.schema.custom import over_budget
from fairway.engine.apiserver.schema.custom.costs import estimate
from fairway.engine.apiserver.schema.custom.syntax import parse

NAME = {"type": "string", "maxLength": 10}
NUMBER = {"type": "integer"}
HINT = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"  # noqa: E501
SPEC = {
    "type": "object",
    "properties": {
        "a": NUMBER,
        "b": NUMBER,
        "name": NAME,
        "long": {"type": "string"},
        "few": {"type": "array", "maxItems": 5, "items": NAME},
        "pairs": {"type": "object", "maxProperties": 7, "additionalProperties": NAME},
        "colour": {"type": "string", "enum": ["red", "green"]},
    },
}


@pytest.mark.parametrize(
    ("rule", "cost"),
    [
        ("true", 0),
        ("self.a <= self.b", 5),
        ("self.a <= self.b && self.b < 10", 8),
        ("has(self.a) && self.a > 0", 4),
        ("self.a > 0 ? self.b > 0 : true", 6),
        ("!(self.a > 0)", 4),
        ("self.name == 'x'", 3),  # a tenth of the shorter text
        ("self.name.startsWith('abc')", 3),
        ("self.name.matches('^[a-z]+$')", 2 + 5 * 2),
        ("self.name.contains('abc')", 2 + 4 * 1),
        ("self.colour in ['red', 'green']", 2 + 10 + 2),
        ("self.few.all(x, x != '')", 2 + 5 * (3 + 2) + 1),
        ("self.few.exists(x, x == self.name)", 2 + 5 * (4 + 1 + 2 + 4) + 1),
        ("self.few.all(x, self.few.all(y, x != y))", 2 + 5 * (3 + 2 + 5 * (3 + 2 + 4) + 1) + 1),
        ("size(self.few) < 3", 4),
        ("self.few.map(x, x + 'y').size() == 5", 2 + 5 * (12 + 1 + 5) + 11 + 1 + 1),
        ("self.pairs.all(k, self.pairs[k] != '')", 2 + 7 * (3 + 2 + 1 + 1 + 1) + 1),
        ("'a' in self.pairs", 3),
        ("self.few[0] == oldSelf.few[0]", 2 * 3 + 4),
        ("self.?name.orValue('') == ''", 2 + 1 + 1),
        ("cel.bind(x, self.a, x > x)", 2 + 3 + 1),
    ],
)
def test_costs(rule: str, cost: int) -> None:
    assert estimate(rule, SPEC) == cost


def test_what_has_no_bound_is_bounded_by_the_request() -> None:
    assert estimate("self.all(x, x > 0)", {"type": "array", "items": NUMBER}) == 1 + 1_572_863 * 5 + 1
    assert estimate("self.contains('a')", {"type": "string"}) == 1 + 314_573
    assert estimate("self.startsWith('a')", {"type": "string"}) == 2


@pytest.mark.parametrize(
    "text", ["self.", "(self", "self.a ==", "[1, 2", "self.all(x, ", "a b", "{1: 2", "(" * 60 + "1" + ")" * 60]
)
def test_what_is_no_cel(text: str) -> None:
    with pytest.raises(ValueError, match=r"unexpected|expected|nested"):
        parse(text)


def test_binding_and_order() -> None:
    assert parse("1 + 2 * 3 == 7 && !a.b(c)[0] || d ? e : f") == parse(
        "((((1 + (2 * 3)) == 7) && (!((a.b(c))[0]))) || d) ? e : f"
    )


FOUR = "self.a > 1 && self.a < 9 && self.a != 5 && self.a != 4"
LETTERS = {"type": "string", "maxLength": 64}
COSTLY_MESSAGE = {"rule": "true", "messageExpression": "self.contains(self) ? 'a' : 'b'"}


def rules(*sources: str) -> Any:
    return {"x-kubernetes-validations": [{"rule": source} for source in sources]}


def wrapped(**fields: Any) -> Any:
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": fields}}}


@pytest.mark.parametrize(
    ("field", "path", "says"),
    [
        (
            {"type": "array", "items": {"type": "string"}, **rules("self.all(x, x.contains('a string'))")},
            "x-kubernetes-validations[0].rule",
            "estimated rule cost exceeds budget by factor of more than 100x",
        ),
        (
            {"type": "array", "items": NUMBER, **rules("self.all(x, self.all(y, x == y))")},
            "x-kubernetes-validations[0].rule",
            "more than 100x",
        ),
        (
            {"type": "array", "items": {"type": "object", "properties": {"a": NUMBER}, **rules(FOUR)}},
            "items.x-kubernetes-validations[0].rule",
            "exceeds budget by factor of 1.258291x",
        ),
        (
            {"type": "string", "x-kubernetes-validations": [COSTLY_MESSAGE]},
            "x-kubernetes-validations[0].messageExpression",
            "estimated rule cost exceeds budget by factor of more than 100x",
        ),
    ],
)
def test_too_much_for_one_rule(field: Any, path: str, says: str) -> None:
    found = over_budget(wrapped(f=field), "schema")
    assert found[0].field == f"schema.properties[spec].properties[f].{path}"
    assert found[0].reason == "FieldValueForbidden"
    assert says in found[0].message and found[0].message.endswith(HINT)


@pytest.mark.parametrize(
    "field",
    [
        {"type": "array", "maxItems": 10, "items": LETTERS, **rules("self.all(x, x.contains('a string'))")},
        {"type": "array", "maxItems": 100, "items": NUMBER, **rules("self.all(x, self.exists_one(y, x == y))")},
        {"type": "array", "items": {"type": "object", "properties": {"a": NUMBER}, **rules("self.a > 1")}},
        {"type": "string", **rules("self == oldSelf", "self.matches('^[a-z]+$')")},
    ],
)
def test_what_is_fine(field: Any) -> None:
    assert over_budget(wrapped(f=field), "schema") == []


def test_too_much_in_all() -> None:
    each = {
        "type": "array",
        "items": {"type": "object", "properties": {"a": NUMBER}, **rules("self.a > 1 && self.a < 9")},
    }
    found = over_budget(wrapped(**{f"f{number}": each for number in range(20)}), "schema")
    assert [cause.field for cause in found][-1] == "schema"
    total = "estimated rule & messageExpression cost total"
    assert f"x-kubernetes-validations {total} for entire OpenAPIv3 schema exceeds budget by factor" in found[-1].message
    assert found[0].message == f"Forbidden: contributed to {total} exceeding cost limit for entire OpenAPIv3 schema"
    assert len(found) == 5
