"""Names, labels and content types at and beyond their limits; and where every other kind of bad input is tested.

- huge bodies: `test_a_body_beyond_the_limit`, `test_a_merge_patch_that_makes_an_object_too_large` (bombs)
- deep bodies: `test_deep_bodies`, `test_deep_patches`, `test_a_definition_as_deep_as_it_may_be` (bombs)
- truncated, not UTF-8: `truncated` and `not utf-8` (objects), `test_long_yaml_that_is_none` (bombs)
- duplicate keys: field validation (objects), `test_schema_bodies.py`
- names and labels: here, and `test_resources_names.py`
- revisions from the future: `test_a_revision_from_the_future`, `revision-of-5000-digits` (reads)
- patch bombs: `test_copies_that_double`, `test_a_json_patch_of_too_many_operations` (bombs)
- watch storms: `test_a_storm_of_watchers`, `test_a_watch_over_everything_while_much_happens` (reads)
- slow readers: `test_a_slow_watcher_is_dropped_and_others_go_on`, `test_a_dropped_watcher_comes_back` (reads)
- wrong content types: here
- half-open TLS: `test_half_open_connections_keep_nobody_waiting` (security)
- fuzzed from the OpenAPI document: `test_apiserver_openapi_fuzz.py`, `test_apiserver_fuzz.py`
- kill -9 under load: `test_no_acknowledged_write_is_lost_by_kill_9` (store)

A word in brackets is the module `test_apiserver_<word>.py`.
"""

from typing import Any

import pytest

MAPS = "/api/v1/namespaces/default/configmaps"
SERVICES = "/api/v1/namespaces/default/services"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
HATS = "/apis/example.com/v1/namespaces/default/hats"
DEFINITION = {
    "kind": "CustomResourceDefinition",
    "apiVersion": "apiextensions.k8s.io/v1",
    "metadata": {"name": "hats.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "hats", "kind": "Hat"},
        "versions": [
            {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
        ],
    },
}


def _named(**metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a", **metadata}}


def _service(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}}


PREFIX = ".".join(["p" * 63] * 3 + ["p" * 61])
assert len(PREFIX) == 253


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        pytest.param(MAPS, _named(name="n" * 253), "", id="name-253"),
        pytest.param(MAPS, _named(name="n" * 254), "metadata.name: Invalid value: ", id="name-254"),
        pytest.param(MAPS, _named(name="a/b"), "metadata.name: Invalid value: ", id="name-slash"),
        pytest.param(MAPS, _named(name=".."), "metadata.name: Invalid value: ", id="name-dots"),
        pytest.param(MAPS, _named(name="é"), "metadata.name: Invalid value: ", id="name-not-ascii"),
        pytest.param(SERVICES, _service("s" * 63), "", id="service-63"),
        pytest.param(SERVICES, _service("s" * 64), "must be no more than 63 ", id="service-64"),
        pytest.param(MAPS, _named(labels={"k" * 63: "v" * 63}), "", id="label-63"),
        pytest.param(MAPS, _named(labels={"k" * 64: "v"}), "name part must be no more than 63 ", id="label-key-64"),
        pytest.param(MAPS, _named(labels={"k": "v" * 64}), "must be no more than 63 ", id="label-value-64"),
        pytest.param(MAPS, _named(labels={f"{PREFIX}/k": ""}), "", id="prefix-253"),
        pytest.param(
            MAPS, _named(labels={f"p{PREFIX}/k": ""}), "prefix part must be no more than 253 ", id="prefix-254"
        ),
        pytest.param(MAPS, _named(labels={"": "v"}), "name part must be non-empty", id="label-empty-key"),
        pytest.param(
            MAPS, _named(labels={"a/b/c": "v"}), "with an optional DNS subdomain prefix", id="label-two-slashes"
        ),
        pytest.param(MAPS, _named(annotations={"k": "v" * (256 * 1024 - 1)}), "", id="annotations-256Ki"),
        pytest.param(
            MAPS,
            _named(annotations={"k": "v" * 256 * 1024}),
            "metadata.annotations: Too long: may not be more than 262144 bytes",
            id="annotations-beyond",
        ),
        pytest.param(MAPS, _named(finalizers=["none"]), "metadata.finalizers", id="finalizer-without-a-domain"),
    ],
)
async def test_names_and_labels_at_and_beyond_their_limits(api: Any, path: str, body: Any, message: str) -> None:
    answer = await api.call("POST", path, body)
    assert (answer.status, message in answer.json.get("message", "")) == (422 if message else 201, True), answer.json


async def test_a_long_beginning_of_a_name_is_cut(api: Any) -> None:
    """To 58 characters, so that with the random ones it fits everywhere."""
    made = await api.create(MAPS, {"metadata": {"generateName": "g" * 253}})
    assert made["metadata"]["name"][:58] == "g" * 58 and len(made["metadata"]["name"]) == 63


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ("application/json", 201),
        ("application/json; charset=utf-8", 201),
        ("APPLICATION/JSON", 201),
        ("application/yaml", 201),
        ("text/plain", 415),
        ("application/xml", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/merge-patch+json", 415),
        ("application", 415),
        (",", 415),
        ("application/vnd.kubernetes.protobuf", 400),
    ],
)
async def test_content_types_of_bodies(api: Any, content: str, status: int) -> None:
    answer = await api.call("POST", MAPS, b'{"metadata":{"name":"a"}}', content)
    assert answer.status == status
    if status == 415:
        assert answer.json["reason"] == "UnsupportedMediaType"
        message = "the body of the request was in an unknown format - accepted media types include: "
        assert answer.json["message"].startswith(message)


@pytest.mark.parametrize("content", ["application/json", "application/yaml", "text/plain", "application/patch", ""])
async def test_content_types_of_patches(api: Any, content: str) -> None:
    await api.create(MAPS, _named())
    answer = await api.call("PATCH", f"{MAPS}/a", b"{}", content)
    assert (answer.status, answer.json["reason"]) == (415, "UnsupportedMediaType")


async def test_custom_resources_know_no_strategic_patches(api: Any) -> None:
    await api.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", DEFINITION)
    await api.create(HATS, {"apiVersion": "example.com/v1", "kind": "Hat", **_named()})
    answer = await api.call("PATCH", f"{HATS}/a", b"{}", "application/strategic-merge-patch+json")
    assert answer.status == 415
    assert answer.json["message"] == (
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
    )
