"""Bodies and patches made to hurt: long, deep, growing; refused as upstream refuses them, and nobody else waits."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

MAPS = "/api/v1/namespaces/default/configmaps"
THINGS = "/apis/example.com/v1/namespaces/default/things"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
PATCHES = ("json-patch+json", "merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml")
MEGABYTE = 1024 * 1024
OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
DEFINITION = {
    "kind": "CustomResourceDefinition",
    "apiVersion": "apiextensions.k8s.io/v1",
    "metadata": {"name": "things.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": OPEN}}],
    },
}


@pytest.fixture
async def victim(api: Any) -> Any:
    """The server, with a ConfigMap and an object that may hold anything."""
    await api.create(MAPS, {"metadata": {"name": "a"}, "data": {"k": "v"}})
    await api.create(DEFINITIONS, DEFINITION)
    thing = {"kind": "Thing", "apiVersion": "example.com/v1", "metadata": {"name": "a"}, "spec": {"list": ["x"]}}
    await api.create(THINGS, thing)
    return api


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


def yaml_body(keys: int) -> bytes:
    """A ConfigMap whose data are on a line each."""
    lines = (f"  k{number}: v{number}\n" for number in range(keys))
    return b"kind: ConfigMap\napiVersion: v1\nmetadata:\n  name: long\ndata:\n" + "".join(lines).encode()


async def test_a_json_patch_of_too_many_operations(victim: Any) -> None:
    operations = [{"op": "test", "path": "/data/k", "value": "v"}] * 10_001
    answer = await victim.call("PATCH", f"{MAPS}/a", operations, "application/json-patch+json")
    assert answer.status == 413
    assert answer.message == "The allowed maximum operations in a JSON patch is 10000, got 10001"
    assert answer.json["reason"] == "RequestEntityTooLarge"
    assert (await victim.call("PATCH", f"{MAPS}/a", operations[:-1], "application/json-patch+json")).status == 200


@pytest.mark.parametrize("path", [f"{MAPS}/a", f"{THINGS}/a"])
async def test_copies_that_double(victim: Any, path: str) -> None:
    """Forty of them would be a terabyte; upstream stops at three megabytes of copies."""
    operations = [{"op": "add", "path": "/spec", "value": {"list": ["x" * 100]}}]
    operations += [{"op": "copy", "from": "/spec/list", "path": "/spec/list/-"} for _ in range(40)]
    answer = await victim.call("PATCH", path, operations, "application/json-patch+json")
    assert answer.status == 422
    assert b"Unable to copy, the accumulated size increase of copy is " in answer.body
    assert b", exceeding the limit 3145728" in answer.body


async def test_many_copies_of_one_large_text(victim: Any) -> None:
    operations = [{"op": "add", "path": "/spec/text", "value": "x" * (MEGABYTE // 2)}]
    operations += [{"op": "copy", "from": "/spec/text", "path": f"/spec/text{number}"} for number in range(9_000)]
    answer = await victim.call("PATCH", f"{THINGS}/a", operations, "application/json-patch+json")
    assert answer.status == 422
    assert b", exceeding the limit 3145728" in answer.body
    few = operations[:5]
    assert (await victim.call("PATCH", f"{THINGS}/a", few, "application/json-patch+json")).status == 200


@pytest.mark.parametrize("path", [f"{MAPS}/a", f"{THINGS}/a"])
async def test_a_json_patch_that_digs(victim: Any, path: str) -> None:
    """Each operation puts a deep value at the bottom of the last one."""
    depth = 90
    value = json.loads(nested(depth))
    operations = [{"op": "add", "path": "/spec", "value": {}}]
    operations += [{"op": "add", "path": "/spec" + "/a" * (depth * number + 1), "value": value} for number in range(50)]
    for more in ([], [{"op": "copy", "from": "/spec", "path": "/status"}], [{"op": "test", "path": "", "value": {}}]):
        answer = await victim.call("PATCH", path, operations + more, "application/json-patch+json")
        assert answer.status == 422, answer.body
    assert await alive(victim)


@pytest.mark.parametrize("path", [f"{MAPS}/a", f"{THINGS}/a"])
@pytest.mark.parametrize("how", PATCHES)
@pytest.mark.parametrize("depth", [50, 250, 254, 257, 300, 900, 960, 990, 5_000, 500_000])
async def test_deep_patches(victim: Any, path: str, how: str, depth: int) -> None:
    deep = nested(depth)
    body = b'{"spec":' + deep + b"}"
    if how == "json-patch+json":
        body = b'[{"op":"add","path":"/spec","value":' + deep + b"}]"
    elif how == "apply-patch+yaml":
        kind, version = ("ConfigMap", "v1") if path.startswith(MAPS) else ("Thing", "example.com/v1")
        start = {"kind": kind, "apiVersion": version, "metadata": {"name": "a"}}
        body = json.dumps(start).encode()[:-1] + b',"spec":' + deep + b"}"
    answer = await victim.call("PATCH", f"{path}?fieldManager=m", body, f"application/{how}")
    undeclared = b"field not declared in schema" in answer.body  # a 500 upstream, too
    assert answer.status in (200, 400, 413, 415, 422) or undeclared, answer.body[:300]
    if depth > 256:
        assert answer.status == (415 if answer.status == 415 else 400)
    assert await alive(victim)


@pytest.mark.parametrize("depth", [50, 250, 900, 960, 990, 5_000])
@pytest.mark.parametrize("content", ["application/json", "application/yaml"])
async def test_deep_bodies(victim: Any, depth: int, content: str) -> None:
    head = b'{"kind":"Thing","apiVersion":"example.com/v1","metadata":{"name":"deep"},"spec":'
    answer = await victim.call("POST", THINGS, head + nested(depth) + b"}", content)
    assert answer.status in (201, 400, 413, 422), answer.body[:300]
    assert await alive(victim)


async def test_a_definition_as_deep_as_it_may_be(victim: Any) -> None:
    """And its objects: what walks through both has stack enough."""
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(118):
        deep = {"type": "object", "properties": {"a": deep}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": deep}}
    names = {"plural": "deeps", "singular": "deep", "kind": "Deep"}
    spec = {**DEFINITION["spec"], "names": names, "versions": [version]}  # type: ignore[dict-item]
    definition = {**DEFINITION, "metadata": {"name": "deeps.example.com"}, "spec": spec}
    answer = await victim.call("POST", DEFINITIONS, definition)
    assert answer.status in (201, 422), answer.body
    value = json.loads(b'{"a":' * 117 + b'"x"' + b"}" * 117)
    deep_object = {"kind": "Deep", "apiVersion": "example.com/v1", "metadata": {"name": "a"}, **value}
    made = await victim.call("POST", THINGS.replace("things", "deeps"), deep_object)
    assert made.status in (201, 400, 404, 422), made.body
    assert (await victim.call("GET", "/openapi/v3/apis/example.com/v1")).status == 200
    assert (await victim.call("GET", "/openapi/v2")).status == 200


def bodies() -> Iterator[Any]:
    long = yaml_body(4_000)
    yield pytest.param(b"a: [" + b"b," * 20_000, "did not find expected", id="truncated")
    yield pytest.param(long + b"x: &a 1\ny: *a\n", "aliases are not allowed", id="aliases")
    yield pytest.param(long + b"x: " + b"[" * 300 + b"]" * 300, "exceeded max depth", id="deep")
    yield pytest.param(long + b"x: \xff\n", "", id="not utf-8")
    yield pytest.param(long + b"? [1, 2]\n: 3\n", "", id="a key that is no text")
    yield pytest.param(b"&a [" + b"*a," * 20_000 + b"1]", "aliases are not allowed", id="a bomb of aliases")


@pytest.mark.parametrize("how", ["POST", "PATCH"])
@pytest.mark.parametrize(("body", "message"), list(bodies()))
async def test_long_yaml_that_is_none(api: Any, how: str, body: bytes, message: str) -> None:
    path, content = (
        (MAPS, "application/yaml") if how == "POST" else (f"{MAPS}/long?fieldManager=m", "application/apply-patch+yaml")
    )
    answer = await api.call(how, path, body, content)
    assert answer.status == 400
    assert answer.message.startswith("error converting YAML to JSON: ")
    assert message in answer.message


async def test_long_yaml_is_the_same_as_short(api: Any) -> None:
    await api.call("POST", MAPS, yaml_body(4_000), "application/yaml")
    stored = await api.get(f"{MAPS}/long")
    assert stored["data"] == {f"k{number}": f"v{number}" for number in range(4_000)}
    body = yaml_body(3_000) + b"  when: '2026-01-01'\n"
    applied = await api.call("PATCH", f"{MAPS}/long?fieldManager=m&force=true", body, "application/apply-patch+yaml")
    assert applied.json["data"]["when"] == "2026-01-01"


async def test_nobody_waits_for_long_yaml(api: Any) -> None:
    """While it is read, others are answered again and again; before, not once."""
    body, answered, tries = yaml_body(40_000), 0, 0
    while answered <= 20 and tries < 5:  # whoever reads it may be quick while this process has no turn
        reading = asyncio.create_task(
            api.call("PATCH", f"{MAPS}/long?fieldManager=m", body, "application/apply-patch+yaml")
        )
        answered, tries = 0, tries + 1
        while not reading.done():
            await api.get("/api/v1/namespaces/default")
            answered += 1
        assert (await reading).status == (201 if tries == 1 else 200)
    assert answered > 20


async def test_a_body_beyond_the_limit(api: Any) -> None:
    for content in ("application/json", "application/yaml", "application/apply-patch+yaml"):
        method, path = ("PATCH", f"{MAPS}/long?fieldManager=m") if "patch" in content else ("POST", MAPS)
        answer = await api.call(method, path, b"a: b\n" * (MEGABYTE * 3 // 5 + 2), content)
        assert answer.status == 413
        assert answer.json["reason"] == "RequestEntityTooLarge"
        assert answer.message == "Request entity too large: limit is 3145728"


async def test_a_merge_patch_that_makes_an_object_too_large(victim: Any) -> None:
    """Each is below the limit of a request; what they add up to is refused by the kind's own limit."""
    for key in ("b", "c"):
        answer = await victim.call("PATCH", f"{MAPS}/a", {"data": {key: "x" * 600_000}}, "application/merge-patch+json")
    assert answer.status == 422
    assert "Too long" in answer.message


async def alive(api: Any) -> bool:
    return bool((await api.get(f"{MAPS}/a"))["metadata"]["name"] == "a")
