"""Structural schemas: pruning, defaults, validation, rules, and the type that apply merges by."""

import copy
from typing import Any

import pytest

from fairway.engine.apiserver import schema
from fairway.engine.apiserver.resources import json_paths
from fairway.engine.apiserver.schema.custom import Compiled, compile_schema, faults

METADATA = schema.load().named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
Schema = dict[str, Any]


def of_spec(spec: Schema) -> Compiled:
    return compile_schema({"type": "object", "properties": {"spec": spec}}, METADATA)


def messages(compiled: Compiled, new: Any, *old: Any) -> list[str]:
    before = {"spec": old[0]} if old else None
    return [f"{cause.field}: {cause.message}" for cause in compiled.validate({"spec": new}, before)]


FREE = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


@pytest.mark.parametrize(
    ("spec", "given", "kept", "unknown"),
    [
        ({"type": "object", "properties": {"a": {"type": "string"}}}, {"a": "x", "b": 1}, {"a": "x"}, ["spec.b"]),
        (FREE, {"a": {"b": 1}}, {"a": {"b": 1}}, []),
        (
            {**FREE, "properties": {"a": {"type": "object", "properties": {"x": {"type": "string"}}}}},
            {"a": {"x": "1", "y": 2}, "z": {"any": 1}},
            {"a": {"x": "1"}, "z": {"any": 1}},
            ["spec.a.y"],
        ),
        (
            {"type": "object", "additionalProperties": {"type": "object", "properties": {"x": {"type": "string"}}}},
            {"k": {"x": "1", "y": 2}},
            {"k": {"x": "1"}},
            ["spec.k.y"],
        ),
        (
            {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "string"}}}},
            [{"x": "1"}, {"y": 1}],
            [{"x": "1"}, {}],
            ["spec[1].y"],
        ),
        (
            {**FREE, "x-kubernetes-embedded-resource": True},
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {}},
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {}},
            [],
        ),
    ],
)
def test_pruning(spec: Schema, given: Any, kept: Any, unknown: list[str]) -> None:
    obj = {"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "n"}, "spec": copy.deepcopy(given)}
    assert of_spec(spec).fit(obj) == unknown
    assert obj["spec"] == kept


@pytest.mark.parametrize(
    ("field", "given", "filled"),
    [
        ({"type": "integer", "default": 3}, {}, {"f": 3}),
        ({"type": "integer", "default": 3}, {"f": None}, {"f": 3}),
        ({"type": "integer"}, {"f": None}, {}),
        ({"type": "integer", "nullable": True, "default": 3}, {"f": None}, {"f": None}),
        (
            {"type": "object", "default": {}, "properties": {"x": {"type": "string", "default": "y"}}},
            {},
            {"f": {"x": "y"}},
        ),
        ({"type": "object", "properties": {"x": {"type": "string", "default": "y"}}}, {}, {}),
    ],
)
def test_defaults(field: Schema, given: Any, filled: Any) -> None:
    obj = {"spec": given}
    of_spec({"type": "object", "properties": {"f": field}}).fit(obj)
    assert obj["spec"] == filled


@pytest.mark.parametrize(
    ("spec", "value", "says"),
    [
        ({"type": "string"}, 1, 'spec: Invalid value: "integer": spec in body must be of type string: "integer"'),
        ({"type": "integer"}, None, 'spec: Invalid value: "null": spec in body must be of type integer: "null"'),
        ({"type": "integer"}, 1.5, 'spec: Invalid value: "number": spec in body must be of type integer: "number"'),
        ({"type": "string", "maxLength": 2}, "abc", "spec: Too long: may not be more than 2 bytes"),
        (
            {"type": "string", "minLength": 2},
            "a",
            'spec: Invalid value: "a": spec in body should be at least 2 chars long',
        ),
        ({"type": "string", "pattern": "^a+$"}, "b", "spec: Invalid value: \"b\": spec in body should match '^a+$'"),
        ({"type": "string", "enum": ["a", "b"]}, "c", 'spec: Unsupported value: "c": supported values: "a", "b"'),
        (
            {"type": "string", "format": "date-time"},
            "now",
            'spec: Invalid value: "now": spec in body must be of type date-time: "now"',
        ),
        (
            {"type": "integer", "minimum": 2},
            1,
            "spec: Invalid value: 1: spec in body should be greater than or equal to 2",
        ),
        (
            {"type": "integer", "maximum": 2, "exclusiveMaximum": True},
            2,
            "spec: Invalid value: 2: spec in body should be less than 2",
        ),
        ({"type": "number", "multipleOf": 2}, 3, "spec: Invalid value: 3: spec in body should be a multiple of 2"),
        (
            {"type": "array", "items": {"type": "string"}, "maxItems": 1},
            ["a", "b"],
            "spec: Too many: 2: must have at most 1 items",
        ),
        (
            {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            ["a", "a"],
            'spec[1]: Duplicate value: "a"',
        ),
        ({"type": "object", "required": ["x"], "properties": {"x": {"type": "string"}}}, {}, "spec.x: Required value"),
        (
            {"x-kubernetes-int-or-string": True},
            True,
            'spec: Invalid value: "boolean": spec in body must be of type integer,string: "boolean"',
        ),
    ],
)
def test_refusals(spec: Schema, value: Any, says: str) -> None:
    assert says in messages(of_spec(spec), value)
    assert messages(of_spec(spec), value, value) == []  # what does not change is not held against an object


def test_alternatives() -> None:
    fields = {"a": {"type": "string"}, "b": {"type": "string"}}
    spec = {"type": "object", "properties": fields, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}
    assert messages(of_spec(spec), {"a": "x"}) == []
    assert messages(of_spec(spec), {})[0] == (
        '<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found none valid'
    )
    both = messages(of_spec(spec), {"a": "x", "b": "y"})
    assert both == [
        '<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found 2 valid alternatives'
    ]


SELF = {
    "type": "object",
    "properties": {
        "n": {"type": "integer"},
        "s": {"type": "string"},
        "x-y": {"type": "string"},
        "l": {"type": "array", "items": {"type": "integer"}},
        "m": {"type": "object", "additionalProperties": {"type": "string"}},
        "when": {"type": "string", "format": "date-time"},
        "wait": {"type": "string", "format": "duration"},
    },
}
VALUE = {
    "n": 3,
    "s": "héllo",
    "x-y": "dash",
    "l": [1, 2, 3],
    "m": {"a": "b"},
    "when": "2026-01-01T00:00:00Z",
    "wait": "1h30m",
}


@pytest.mark.parametrize(
    "rule",
    [
        "self.n == 3",
        "size(self.s) == 5 && self.s.size() == 5",
        "self.x__dash__y == 'dash'",
        "has(self.x__dash__y) && !has(self.m.z)",
        "self.l.all(x, x > 0) && self.l.exists_one(x, x == 2)",
        "self.l.isSorted() && self.l.sum() == 6 && self.l.max() == 3 && self.l.indexOf(2) == 1",
        "self.?n.orValue(7) == 3 && self.m[?'z'].orValue('none') == 'none'",
        "self.?m.?a.optMap(v, v + '!').orValue('') == 'b!'",
        "cel.bind(twice, self.n * 2, twice + twice) == 12",
        "sets.contains(self.l, [1]) && sets.intersects([1], [1, 2]) && sets.equivalent([1, 2], [2, 1])",
        "math.greatest(1, 2) == 2 && math.least([4, 3]) == 3",
        "'a,b'.split(',') == ['a', 'b'] && ['a', 'b'].join('-') == 'a-b' && 'AB'.lowerAscii() == 'ab'",
        "self.s.find('l+') == 'll' && 'a1b2'.findAll('[0-9]') == ['1', '2']",
        "'%s is %d'.format([self.x__dash__y, self.n]) == 'dash is 3'",
        "quantity('1Gi').isGreaterThan(quantity('900Mi')) && quantity('1').add(quantity('500m')) == quantity('1500m')",
        "!isQuantity('much') && quantity('2k').asInteger() == 2000",
        "ip('10.0.0.1').family() == 4 && isIP('::1') && !isIP('x') && ip('127.0.0.1').isLoopback()",
        "cidr('10.0.0.0/8').containsIP('10.2.3.4') && cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')",
        "url('https://u@example.com:80/p?q=1').getHostname() == 'example.com' && url('http://a:8/').getPort() == '8'",
        "!format.dns1123Label().validate('ok').hasValue() && format.dns1123Label().validate('Not_ok').hasValue()",
        "self.when < timestamp('2026-06-01T00:00:00Z') && self.wait > duration('1h')",
        "string(self.n) == '3' && string(true) == 'true' && int('4') == 4",
        "self.s.matches('^h.*o$') && self.m.all(k, k == 'a')",
    ],
)
def test_rules_that_hold(rule: str) -> None:
    spec = {**SELF, "x-kubernetes-validations": [{"rule": rule}]}
    assert faults({"type": "object", "properties": {"spec": spec}}, "s") == []
    assert messages(of_spec(spec), VALUE) == []


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"rule": "self.n > 3"}, 'spec: Invalid value: "object": failed rule: self.n > 3'),
        ({"rule": "self.n > 3", "message": "too few"}, 'spec: Invalid value: "object": too few'),
        (
            {"rule": "self.n > 3", "messageExpression": "'only ' + string(self.n)", "fieldPath": ".n"},
            'spec.n: Invalid value: "object": only 3',
        ),
        ({"rule": "self.n > 3", "reason": "FieldValueForbidden", "message": "no"}, "spec: Forbidden: no"),
        (
            {"rule": "self.m['z'] == ''"},
            "spec: Invalid value: \"object\": no such key: z evaluating rule: self.m['z'] == ''",
        ),
    ],
)
def test_rules_that_do_not(rule: Schema, says: str) -> None:
    assert messages(of_spec({**SELF, "x-kubernetes-validations": [rule]}), VALUE) == [says]


def test_rules_about_changes() -> None:
    spec = {**SELF, "x-kubernetes-validations": [{"rule": "self.n >= oldSelf.n", "message": "only up"}]}
    assert messages(of_spec(spec), VALUE) == []
    assert messages(of_spec(spec), {**VALUE, "n": 2}, VALUE) == ['spec: Invalid value: "object": only up']
    first = {"rule": "oldSelf.hasValue() || self.n == 0", "optionalOldSelf": True}
    spec = {**SELF, "x-kubernetes-validations": [first]}
    assert len(messages(of_spec(spec), VALUE)) == 1
    assert messages(of_spec(spec), {**VALUE, "n": 2}, VALUE) == []


def test_rules_cost_no_more_than_their_budget() -> None:
    rule = {"rule": "self.l.all(a, self.l.all(b, self.l.all(c, a + b + c >= 0)))"}
    found = messages(of_spec({**SELF, "x-kubernetes-validations": [rule]}), {**VALUE, "l": list(range(1000))})
    assert found == [
        "<nil>: Forbidden: validation failed due to running out of cost budget, no further validation rules will be run"
    ]


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("self.unknown == 1", "undefined field 'unknown'"),
        ("other == 1", "undeclared reference to 'other'"),
        ("self.s.shout() == ''", "undeclared reference to 'shout'"),
        ("self.n >", "Syntax error"),
    ],
)
def test_rules_that_cannot_be(rule: str, says: str) -> None:
    spec = {**SELF, "x-kubernetes-validations": [{"rule": rule}]}
    (fault,) = faults({"type": "object", "properties": {"spec": spec}}, "s")
    assert says in fault.message


@pytest.mark.parametrize(
    "raw", [5, {"properties": 1}, {"type": "object", "properties": {"a": {"items": 5}}}, {"enum": 1}]
)
def test_schemas_that_are_no_schemas(raw: Any) -> None:
    assert faults(raw, "s")


OBJ = {"a": {"b": [{"t": "x", "v": 1}, {"t": "y", "v": 2}], "c.d": 3}}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".a.b[0].v", [1]),
        (".a.b[-1].t", ["y"]),
        (".a.b[*].v", [1, 2]),
        ('.a.b[?(@.t=="y")].v', [2]),
        (".a.b[?(@.v>1)].t", ["y"]),
        (".a['c.d']", [3]),
        (r".a.c\.d", [3]),
        ("..v", [1, 2]),
        (".none.at.all", []),
        ("{.a.b[0].t}", ["x"]),
    ],
)
def test_json_paths(path: str, found: list[Any]) -> None:
    assert json_paths.find(path, OBJ) == found


def test_json_paths_that_are_none() -> None:
    with pytest.raises(ValueError, match="unrecognized"):
        json_paths.parse(".a[")
