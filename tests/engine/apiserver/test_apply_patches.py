"""JSON patch, merge patch and strategic merge patch: tables of cases, and laws."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.engine.apiserver import schema
from fairway.engine.apiserver.apply import PatchError, json_patch, merge_patch, strategic

DEPLOYMENT = schema.load().kind("apps", "v1", "Deployment")
SERVICE = schema.load().kind("", "v1", "Service")
POD = schema.load().kind("", "v1", "Pod")
assert DEPLOYMENT and SERVICE and POD

DOCUMENT: dict[str, Any] = {"a": {"b": [1, 2, 3], "c/d": "x", "e~f": None}, "l": [{"n": 1}]}


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        pytest.param([], DOCUMENT, id="nothing"),
        pytest.param([{"op": "add", "path": "/new", "value": 1}], DOCUMENT | {"new": 1}, id="add"),
        pytest.param(
            [{"op": "remove", "path": "/a"}, {"op": "add", "path": "/l/0", "value": 7}],
            {"l": [7, {"n": 1}]},
            id="remove, insert",
        ),
        pytest.param(
            [{"op": "remove", "path": "/a"}, {"op": "add", "path": "/l/-", "value": 7}],
            {"l": [{"n": 1}, 7]},
            id="append",
        ),
        pytest.param(
            [{"op": "replace", "path": "/a", "value": 0}, {"op": "replace", "path": "/l/-1/n", "value": 2}],
            {"a": 0, "l": [{"n": 2}]},
            id="replace, index from the end",
        ),
        pytest.param(
            [
                {"op": "test", "path": "/a/c~1d", "value": "x"},
                {"op": "test", "path": "/a/e~0f", "value": None},
                {"op": "test", "path": "/not/there", "value": None},
                {"op": "move", "from": "/a/b", "path": "/b"},
                {"op": "remove", "path": "/a"},
            ],
            {"b": [1, 2, 3], "l": [{"n": 1}]},
            id="test, move",
        ),
        pytest.param(
            [
                {"op": "copy", "from": "/l/0", "path": "/l/-"},
                {"op": "replace", "path": "/l/1/n", "value": 2},
                {"op": "remove", "path": "/a"},
            ],
            {"l": [{"n": 1}, {"n": 2}]},
            id="a copy is its own",
        ),
        pytest.param([{"op": "replace", "path": "", "value": {"z": 1}}], {"z": 1}, id="the whole document"),
    ],
)
def test_json_patch(operations: list[Any], expected: Any) -> None:
    before = copy.deepcopy(DOCUMENT)
    assert json_patch.apply(DOCUMENT, operations) == expected
    assert before == DOCUMENT


@pytest.mark.parametrize(
    ("operations", "code", "message"),
    [
        pytest.param({}, 400, "jsonpatch.Patch", id="no list"),
        pytest.param([1], 400, "Operation", id="no operation"),
        pytest.param([{"op": "add"}] * 10_001, 413, "10000", id="too many"),
        pytest.param([{"op": "frob", "path": "/a"}], 422, "Unexpected kind: frob", id="unknown"),
        pytest.param([{"op": "add", "path": "/a/x"}], 422, "value", id="no value"),
        pytest.param([{"op": "add", "path": "a", "value": 1}], 422, "pointer", id="no pointer"),
        pytest.param([{"op": "add", "path": "/x/y", "value": 1}], 422, "missing path", id="no parent"),
        pytest.param([{"op": "replace", "path": "/x", "value": 1}], 422, "missing key: /x", id="replace nothing"),
        pytest.param([{"op": "remove", "path": "/x"}], 422, "nonexistent key: x", id="remove nothing"),
        pytest.param([{"op": "remove", "path": "/l/1"}], 422, "invalid index: 1", id="index"),
        pytest.param([{"op": "add", "path": "/l/9999999999999999999", "value": 1}], 422, "index", id="huge index"),
        pytest.param([{"op": "test", "path": "/l/0/n", "value": True}], 422, "test failed", id="true is not 1"),
        pytest.param([{"op": "test", "path": "/x", "value": 1}], 422, "testing", id="test of nothing"),
        pytest.param([{"op": "move", "from": "/a", "path": "/a/b/c"}], 422, "itself", id="into itself"),
        pytest.param([{"op": "copy", "from": "/x", "path": "/y"}], 422, "missing path", id="copy nothing"),
        pytest.param(
            [{"op": "copy", "from": "", "path": f"/x{i}"} for i in range(60)], 422, "accumulated", id="a bomb"
        ),
    ],
)
def test_json_patch_refuses(operations: Any, code: int, message: str) -> None:
    before = copy.deepcopy(DOCUMENT)
    with pytest.raises(PatchError, match=message) as refused:
        json_patch.apply(DOCUMENT, operations)
    assert refused.value.code == code
    assert before == DOCUMENT


# The examples of RFC 7386, appendix A, that have an object on both sides.
@pytest.mark.parametrize(
    ("document", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(document: dict[str, Any], patch: dict[str, Any], expected: dict[str, Any]) -> None:
    before = copy.deepcopy((document, patch))
    assert merge_patch.apply(document, patch) == expected
    assert (document, patch) == before


@pytest.mark.parametrize("patch", [[], "x", None, 1])
def test_merge_patch_refuses_what_is_no_object(patch: Any) -> None:
    with pytest.raises(PatchError):
        merge_patch.apply({}, patch)


def _containers(*containers: Any, **others: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": list(containers)} | others}}}


A, B = {"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}


@pytest.mark.parametrize(
    ("document", "patch", "expected"),
    [
        pytest.param(
            _containers(A, B),
            _containers({"name": "b", "image": "b:2"}),
            _containers(A, {"name": "b", "image": "b:2"}),
            id="an element merges by its key and keeps its place",
        ),
        pytest.param(
            _containers(A),
            _containers({"name": "c", "image": "c"}),
            _containers({"name": "c", "image": "c"}, A),
            id="a new element goes to the front, as upstream puts it",
        ),
        pytest.param(
            _containers(A, B),
            _containers({"name": "a", "$patch": "delete"}),
            _containers(B),
            id="delete an element",
        ),
        pytest.param(
            _containers(A, B),
            _containers({"$patch": "replace"}, {"name": "c"}),
            _containers({"name": "c"}),
            id="replace the list",
        ),
        pytest.param(
            _containers(A, B),
            _containers(**{"$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}]})
            | {"x": None}
            | _containers(
                {"name": "c", "image": "c"},
                **{"$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}]},
            ),
            _containers(B, {"name": "c", "image": "c"}, A),
            id="an order",
        ),
        pytest.param(
            {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}},
            {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}},
            {"spec": {"strategy": {"type": "Recreate"}}},
            id="retain keys",
        ),
        pytest.param(
            _containers(volumes=[{"name": "v", "emptyDir": {}}, {"name": "w", "emptyDir": {}}]),
            _containers(volumes=[{"name": "v", "configMap": {"name": "c"}, "$retainKeys": ["name", "configMap"]}]),
            _containers(volumes=[{"name": "v", "configMap": {"name": "c"}}, {"name": "w", "emptyDir": {}}]),
            id="retain keys of an element",
        ),
        pytest.param(
            {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}},
            {"spec": {"strategy": {"$patch": "delete"}}},
            {"spec": {"strategy": {}}},
            id="delete a map, which stays empty, as upstream leaves it",
        ),
        pytest.param(
            _containers(A | {"env": [{"name": "x", "value": "1"}, {"name": "y", "value": "2"}]}, B),
            _containers({"name": "a", "env": [{"name": "x", "$patch": "delete"}, {"name": "z", "value": "3"}]}),
            _containers(A | {"env": [{"name": "z", "value": "3"}, {"name": "y", "value": "2"}]}, B),
            id="a list inside an element",
        ),
        pytest.param(
            {"metadata": {"finalizers": ["x", "y", "z"]}},
            {"metadata": {"$deleteFromPrimitiveList/finalizers": ["y"]}},
            {"metadata": {"finalizers": ["x", "z"]}},
            id="delete primitives",
        ),
        pytest.param(
            {"metadata": {"finalizers": ["x", "y"]}},
            {"metadata": {"finalizers": ["y", "z"]}},
            {"metadata": {"finalizers": ["x", "y", "z"]}},
            id="primitives merge without duplicates",
        ),
        pytest.param(
            {"metadata": {"finalizers": ["x", "y"]}},
            {
                "metadata": {
                    "$setElementOrder/finalizers": ["z", "y"],
                    "finalizers": ["z"],
                    "$deleteFromPrimitiveList/finalizers": ["x"],
                }
            },
            {"metadata": {"finalizers": ["z", "y"]}},
            id="primitives in order",
        ),
        pytest.param(
            {"metadata": {"labels": {"a": "1", "b": "2"}}},
            {"metadata": {"labels": {"$patch": "replace", "c": "3"}}},
            {"metadata": {"labels": {"c": "3"}}},
            id="replace a map",
        ),
        pytest.param(
            {"metadata": {"labels": {"a": "1"}, "name": "n"}},
            {"metadata": {"labels": None, "annotations": None}},
            {"metadata": {"name": "n"}},
            id="null removes",
        ),
        pytest.param(
            {"spec": {"selector": {"matchLabels": {"a": "1"}}}},
            {"spec": {"template": {"spec": {"containers": [{"name": "x", "env": None, "$patch": "merge"}]}}}},
            {"spec": {"selector": {"matchLabels": {"a": "1"}}, "template": {"spec": {"containers": []}}}},
            id="directives do not stay where there was nothing",
        ),
        pytest.param(
            _containers(A | {"args": ["1", "2"]}),
            _containers({"name": "a", "args": ["3"]}),
            _containers(A | {"args": ["3"]}),
            id="an atomic list is replaced",
        ),
    ],
)
def test_strategic_merge_patch(document: dict[str, Any], patch: dict[str, Any], expected: dict[str, Any]) -> None:
    before = copy.deepcopy((document, patch))
    assert strategic.apply(DEPLOYMENT, document, patch) == expected
    assert (document, patch) == before


def test_service_ports_merge_by_port_alone() -> None:
    live = {"spec": {"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}]}}
    patched = strategic.apply(SERVICE, live, {"spec": {"ports": [{"port": 81, "targetPort": 8081}]}})
    assert patched["spec"]["ports"] == [{"port": 80, "name": "a"}, {"port": 81, "name": "b", "targetPort": 8081}]


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        pytest.param([], "array", id="no object"),
        pytest.param(
            _containers({"image": "x"}),
            r"map: map\[image:x\] does not contain declared merge key: name",
            id="no merge key",
        ),
        pytest.param({"spec": {"$patch": "frob"}}, "unknown patch type: 'frob'", id="unknown directive"),
        pytest.param(_containers({"$patch": "merge"}), "cannot yet be specified", id="merge directive in a list"),
        pytest.param({"spec": {"$retainKeys": ["x"], "replicas": 1}}, "retainKeys", id="not retained"),
        pytest.param({"spec": {"$deleteFromPrimitiveList/x": 1}}, "primitive list", id="no list"),
        pytest.param(
            _containers(A, **{"$setElementOrder/containers": [{"name": "b"}]}), "doesn't match", id="order lacks one"
        ),
        pytest.param({"spec": {"$setElementOrder/paused": {}}}, "expected a", id="order is no list"),
        pytest.param(_containers(A, 5), "expected a map", id="a number among objects"),
    ],
)
def test_strategic_merge_patch_refuses(patch: Any, message: str) -> None:
    with pytest.raises(PatchError, match=message):
        strategic.apply(DEPLOYMENT, _containers(A), patch)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "x", "y"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc~/"), inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from("abc~/"), VALUES, max_size=4)


@settings(max_examples=200, deadline=None)
@given(OBJECTS, OBJECTS)
def test_a_merge_patch_applied_twice_changes_nothing_more(document: dict[str, Any], patch: dict[str, Any]) -> None:
    once = merge_patch.apply(document, patch)
    assert merge_patch.apply(once, patch) == once


@settings(max_examples=200, deadline=None)
@given(OBJECTS, st.lists(st.tuples(st.sampled_from(["add", "remove", "replace", "copy", "move"]), VALUES), max_size=5))
def test_json_patch_leaves_its_arguments_alone(document: dict[str, Any], steps: list[tuple[str, Any]]) -> None:
    paths = ["/a", "/a/b", "/b/0", "/b/-", "/c", "", "/~0", "/~1"]
    operations = [
        {"op": op, "path": paths[index % 8], "from": paths[(index * 3 + 1) % 8], "value": value}
        for index, (op, value) in enumerate(steps)
    ]
    before = copy.deepcopy((document, operations))
    try:
        json_patch.apply(document, operations)
    except PatchError:
        pass
    assert (document, operations) == before


NAMES = st.sampled_from(["a", "b", "c", "d"])
CONTAINERS = st.lists(
    st.fixed_dictionaries({"name": NAMES}, optional={"image": st.sampled_from("xy"), "args": st.lists(NAMES)}),
    unique_by=lambda container: container["name"],
    max_size=4,
)


@settings(max_examples=200, deadline=None)
@given(CONTAINERS, CONTAINERS)
def test_a_strategic_patch_applied_twice_changes_nothing_more(live: list[Any], patch: list[Any]) -> None:
    document = {"spec": {"containers": live}}
    once = strategic.apply(POD, document, {"spec": {"containers": patch}})
    assert strategic.apply(POD, once, {"spec": {"containers": patch}}) == once
    names = [container["name"] for container in once["spec"]["containers"]]
    assert sorted(names) == sorted({container["name"] for container in live + patch})


@settings(max_examples=200, deadline=None)
@given(CONTAINERS, CONTAINERS)
def test_an_order_that_names_all_elements_is_the_order(live: list[Any], patch: list[Any]) -> None:
    wanted = sorted({container["name"] for container in live + patch})
    ordered = sorted(patch, key=lambda container: container["name"])
    order = [{"name": name} for name in wanted]
    document = {"spec": {"containers": live}}
    body = {"spec": {"$setElementOrder/containers": order, "containers": ordered}}
    result = strategic.apply(POD, document, body)
    assert [container["name"] for container in result["spec"]["containers"]] == wanted
