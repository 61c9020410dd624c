"""Create, read, update and patch: one flow for all kinds."""

import asyncio
import re
from typing import Any

import pytest

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def config_map(name: str = "a", **data: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}, "data": data}


def deployment(name: str = "web", replicas: int = 2) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": name}, "spec": spec}


# --- create


async def test_create_fills_in_what_belongs_to_the_server(api: Any) -> None:
    made = await api.create(CONFIG_MAPS, config_map(x="y"))
    metadata = made["metadata"]
    assert list(made)[:2] == ["kind", "apiVersion"]
    assert re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", metadata["uid"])
    assert metadata["creationTimestamp"] == "2026-01-01T00:00:00Z"
    assert metadata["namespace"] == "default"
    assert int(metadata["resourceVersion"]) > 0
    assert metadata["managedFields"][0]["operation"] == "Update"
    assert await api.get(f"{CONFIG_MAPS}/a") == made


async def test_who_is_told_that_a_name_is_taken_finds_what_took_it(api: Any) -> None:
    async def ask(name: str) -> int:
        answer = await api.call("POST", CONFIG_MAPS, config_map(name))
        if answer.status == 409:
            await api.get(f"{CONFIG_MAPS}/{name}")
        return int(answer.status)

    for number in range(100):
        assert sorted(await asyncio.gather(ask(f"a{number}"), ask(f"a{number}"))) == [201, 409]


async def test_create_takes_no_status_and_counts_generations(api: Any) -> None:
    made = await api.create(DEPLOYMENTS, {**deployment(), "status": {"replicas": 9}})
    assert not made["status"].get("replicas")
    assert made["metadata"]["generation"] == 1
    assert made["spec"]["strategy"]["type"] == "RollingUpdate"


async def test_required_counters_are_there_from_the_start(api: Any) -> None:
    obj = {**deployment(), "kind": "DaemonSet"}
    del obj["spec"]["replicas"]
    made = await api.create("/apis/apps/v1/namespaces/default/daemonsets", obj)
    assert made["status"] == {
        "currentNumberScheduled": 0,
        "desiredNumberScheduled": 0,
        "numberMisscheduled": 0,
        "numberReady": 0,
    }
    assert made["spec"]["template"]["spec"]["containers"][0]["resources"] == {}


async def test_generate_name_adds_five_characters(api: Any) -> None:
    obj = {**config_map(), "metadata": {"generateName": "web-"}}
    names = [(await api.create(CONFIG_MAPS, obj))["metadata"]["name"] for _ in range(3)]
    assert len(set(names)) == 3
    assert all(re.fullmatch("web-[bcdfghjklmnpqrstvwxz2456789]{5}", name) for name in names)


async def test_without_a_content_type_a_body_is_json(api: Any) -> None:
    answer = await api.call("POST", CONFIG_MAPS, config_map(), "")
    assert answer.status == 201


async def test_yaml_bodies(api: Any) -> None:
    body = b"kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\ndata: {when: '2026-01-01', note: \"1\"}\n"
    answer = await api.call("POST", CONFIG_MAPS, body, "application/yaml")
    assert answer.json["data"] == {"when": "2026-01-01", "note": "1"}


@pytest.mark.parametrize(
    ("path", "body", "code", "message"),
    [
        pytest.param(
            CONFIG_MAPS,
            b"{",
            400,
            "the object provided is unrecognized (must be of type ConfigMap): "
            "couldn't get version/kind; json parse error: unexpected end of JSON input ({)",
            id="truncated",
        ),
        pytest.param(CONFIG_MAPS, b"[]", 400, "cannot unmarshal array", id="not an object"),
        pytest.param(CONFIG_MAPS, b"\xff\xfe", 400, "json parse error", id="not utf-8"),
        pytest.param(CONFIG_MAPS, b"[" * 100_000, 400, "json parse error", id="deep"),
        pytest.param(
            CONFIG_MAPS,
            {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "a"}},
            400,
            'Secret in version "v1" cannot be handled as a ConfigMap',
            id="another kind",
        ),
        pytest.param(
            CONFIG_MAPS,
            {**config_map(), "apiVersion": "v2"},
            400,
            "the API version in the data (v2) does not match the expected API version (v1)",
            id="another version",
        ),
        pytest.param(
            CONFIG_MAPS,
            {**config_map(), "metadata": {"name": "a", "namespace": "other"}},
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
            id="another namespace",
        ),
        pytest.param(
            CONFIG_MAPS,
            {**config_map(), "metadata": {"name": "a", "resourceVersion": "1"}},
            400,
            "resourceVersion should not be set on objects to be created",
            id="a resource version",
        ),
        pytest.param(
            "/api/v1/namespaces/missing/configmaps", config_map(), 404, 'namespaces "missing" not found', id="namespace"
        ),
        pytest.param(
            CONFIG_MAPS,
            config_map("A_B"),
            422,
            'ConfigMap "A_B" is invalid: metadata.name: Invalid value: "A_B": a lowercase RFC 1123 subdomain must',
            id="a bad name",
        ),
        pytest.param(
            CONFIG_MAPS,
            {**config_map(), "metadata": {}},
            422,
            'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required',
            id="no name",
        ),
        pytest.param(
            DEPLOYMENTS,
            {**deployment(), "spec": {**deployment()["spec"], "replicas": "two"}},
            400,
            'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string',
            id="a wrong type",
        ),
    ],
)
async def test_what_create_refuses(api: Any, path: str, body: Any, code: int, message: str) -> None:
    answer = await api.call("POST", path, body)
    assert answer.status == answer.json["code"] == code, answer.body
    assert message in answer.message


async def test_all_causes_come_at_once(api: Any) -> None:
    obj = deployment("web", replicas=-1)
    obj["spec"]["template"]["spec"]["containers"] = [{"name": "c"}]
    answer = await api.call("POST", DEPLOYMENTS, obj)
    status = answer.json
    assert answer.status == 422
    assert {cause["field"] for cause in status["details"]["causes"]} >= {
        "spec.replicas",
        "spec.template.spec.containers[0].image",
    }
    assert status["message"].startswith('Deployment.apps "web" is invalid: [')
    assert list(status) == ["kind", "apiVersion", "metadata", "status", "message", "reason", "details", "code"]
    assert list(status["details"]) == ["name", "group", "kind", "causes"]


async def test_creating_twice(api: Any) -> None:
    await api.create(DEPLOYMENTS, deployment())
    status = await api.create(DEPLOYMENTS, deployment(), 409)
    assert status["message"] == 'deployments.apps "web" already exists'
    assert (status["reason"], status["details"]) == (
        "AlreadyExists",
        {"name": "web", "group": "apps", "kind": "deployments"},
    )


async def test_many_creates_at_once(api: Any) -> None:
    answers = await asyncio.gather(*(api.call("POST", CONFIG_MAPS, config_map("same")) for _ in range(20)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 19


async def test_a_dry_run_stores_nothing(api: Any) -> None:
    made = await api.create(f"{CONFIG_MAPS}?dryRun=All", config_map())
    assert made["metadata"]["uid"]
    assert "resourceVersion" not in made["metadata"]
    assert (await api.call("GET", f"{CONFIG_MAPS}/a")).status == 404


@pytest.mark.parametrize("how", ["Strict", "Warn", "Ignore", ""])
async def test_field_validation(api: Any, how: str) -> None:
    body = b'{"metadata":{"name":"a"},"data":{"a":"1","a":"2"},"bogus":1}'
    answer = await api.call("POST", f"{CONFIG_MAPS}?fieldValidation={how}", body)
    if how == "Strict":
        assert answer.status == 400
        assert 'strict decoding error: unknown field "bogus", duplicate field "data.a"' in answer.message
        return
    assert answer.status == 201
    assert "bogus" not in answer.json
    warning = answer.headers.get("warning", "")
    assert (warning == "") == (how == "Ignore")
    assert how == "Ignore" or warning == '299 - "unknown field \\"bogus\\"", 299 - "duplicate field \\"data.a\\""'


# --- update


async def test_update_checks_the_version(api: Any) -> None:
    made = await api.create(CONFIG_MAPS, config_map(x="1"))
    changed = await api.put(f"{CONFIG_MAPS}/a", {**made, "data": {"x": "2"}})
    assert int(changed["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    assert changed["metadata"]["uid"] == made["metadata"]["uid"]
    status = await api.put(f"{CONFIG_MAPS}/a", {**made, "data": {"x": "3"}}, 409)
    assert status["message"] == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    await api.put(f"{CONFIG_MAPS}/a", config_map(x="4"))


async def test_an_update_that_changes_nothing_keeps_the_version(api: Any) -> None:
    made = await api.create(DEPLOYMENTS, deployment())
    await api.clock.advance(60)
    assert await api.put(f"{DEPLOYMENTS}/web", made) == made
    assert await api.put(f"{DEPLOYMENTS}/web", deployment()) == made
    assert await api.patch(f"{DEPLOYMENTS}/web", {"metadata": {"annotations": {}}}) == made


async def test_update_keeps_what_belongs_to_the_server(api: Any) -> None:
    made = await api.create(DEPLOYMENTS, deployment())
    obj = deployment(replicas=5)
    obj["metadata"]["creationTimestamp"] = "1999-01-01T00:00:00Z"
    changed = await api.put(f"{DEPLOYMENTS}/web", {**obj, "status": {"replicas": 7}})
    assert changed["metadata"]["creationTimestamp"] == made["metadata"]["creationTimestamp"]
    assert changed["metadata"]["generation"] == 2
    assert not changed["status"].get("replicas")


@pytest.mark.parametrize(
    ("metadata", "code", "message"),
    [
        ({"name": "b"}, 400, "the name of the object (b) does not match the name on the URL (a)"),
        ({"name": "a", "uid": "x"}, 409, "Precondition failed: UID in precondition: x, UID in object meta: "),
        ({"name": "a", "resourceVersion": "x"}, 422, "metadata.resourceVersion: Invalid value"),
        ({}, 400, "name must be provided"),
    ],
)
async def test_what_update_refuses(api: Any, metadata: Any, code: int, message: str) -> None:
    await api.create(CONFIG_MAPS, config_map())
    status = await api.put(f"{CONFIG_MAPS}/a", {**config_map(), "metadata": metadata}, code)
    assert message in status["message"]


async def test_updating_what_is_not_there(api: Any) -> None:
    status = await api.put(f"{CONFIG_MAPS}/a", config_map(), 404)
    assert status["message"] == 'configmaps "a" not found'


async def test_status_is_its_own_door(api: Any) -> None:
    made = await api.create(DEPLOYMENTS, deployment())
    wanted = {**made, "spec": {**made["spec"], "replicas": 9}, "status": {"replicas": 2, "observedGeneration": 1}}
    changed = await api.put(f"{DEPLOYMENTS}/web/status", wanted)
    assert (changed["spec"]["replicas"], changed["status"]["replicas"]) == (2, 2)
    assert changed["metadata"]["generation"] == 1
    assert (await api.get(f"{DEPLOYMENTS}/web/status")) == changed
    patched = await api.patch(f"{DEPLOYMENTS}/web/status", {"status": {"readyReplicas": 1}})
    assert patched["status"] == {**changed["status"], "readyReplicas": 1}
    kept = await api.patch(f"{DEPLOYMENTS}/web", {"status": None, "spec": {"replicas": 3}})
    assert kept["status"] == patched["status"]
    assert {(entry["subresource"]) for entry in patched["metadata"]["managedFields"] if "subresource" in entry} == {
        "status"
    }


async def test_scale(api: Any) -> None:
    await api.create(DEPLOYMENTS, deployment())
    scale = await api.get(f"{DEPLOYMENTS}/web/scale")
    assert (scale["kind"], scale["apiVersion"], scale["spec"]) == ("Scale", "autoscaling/v1", {"replicas": 2})
    assert scale["status"] == {"replicas": 0, "selector": "app=web"}
    scale["spec"]["replicas"] = 4
    assert (await api.put(f"{DEPLOYMENTS}/web/scale", scale))["spec"]["replicas"] == 4
    assert (await api.patch(f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": 0}}))["spec"] == {}
    assert (await api.get(f"{DEPLOYMENTS}/web"))["spec"]["replicas"] == 0
    status = await api.put(f"{DEPLOYMENTS}/web/scale", scale, 409)
    assert "the object has been modified" in status["message"]
    status = await api.patch(f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": -1}}, status=422)
    assert "spec.replicas: Invalid value: -1: must be greater than or equal to 0" in status["message"]


# --- patch


@pytest.mark.parametrize(
    ("how", "patch"),
    [
        ("merge-patch+json", {"data": {"x": "2", "y": None}}),
        ("strategic-merge-patch+json", {"data": {"x": "2", "y": None}}),
        ("json-patch+json", [{"op": "replace", "path": "/data/x", "value": "2"}, {"op": "remove", "path": "/data/y"}]),
    ],
)
async def test_patch_types(api: Any, how: str, patch: Any) -> None:
    made = await api.create(CONFIG_MAPS, config_map(x="1", y="1"))
    changed = await api.patch(f"{CONFIG_MAPS}/a", patch, how)
    assert changed["data"] == {"x": "2"}
    assert changed["metadata"]["uid"] == made["metadata"]["uid"]


async def test_strategic_patches_merge_lists_by_key(api: Any) -> None:
    await api.create(DEPLOYMENTS, deployment())
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "new"}]}}}}
    changed = await api.patch(f"{DEPLOYMENTS}/web", patch, "strategic-merge-patch+json")
    [container] = changed["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["imagePullPolicy"]) == ("new", "Always")
    assert changed["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    ("how", "patch", "code", "message"),
    [
        ("json-patch+json", {}, 400, "cannot unmarshal"),
        ("json-patch+json", [{"op": "test", "path": "/data/x", "value": "9"}], 422, "the server rejected our request"),
        ("merge-patch+json", {"metadata": {"resourceVersion": "1"}}, 409, "the object has been modified"),
        ("merge-patch+json", {"metadata": {"name": "b"}}, 400, "does not match the name on the URL"),
        ("merge-patch+json", {"data": 5}, 400, "cannot unmarshal number"),
        (
            "foo+json",
            {},
            415,
            "application/apply-patch+yaml, application/json-patch+json, application/merge-patch+json",
        ),
    ],
)
async def test_what_patch_refuses(api: Any, how: str, patch: Any, code: int, message: str) -> None:
    await api.create(CONFIG_MAPS, config_map(x="1"))
    status = await api.patch(f"{CONFIG_MAPS}/a", patch, how, code)
    assert message in status["message"]


async def test_server_side_apply(api: Any) -> None:
    applied, path = deployment(), f"{DEPLOYMENTS}/web?fieldManager=one"
    made = await api.patch(path, applied, "apply-patch+yaml", 201)
    assert made["metadata"]["managedFields"][0]["operation"] == "Apply"
    await api.clock.advance(5)
    assert await api.patch(path, applied, "apply-patch+yaml") == made
    other = deployment(replicas=7)
    status = await api.patch(f"{DEPLOYMENTS}/web?fieldManager=two", other, "apply-patch+yaml", 409)
    assert status["message"] == 'Apply failed with 1 conflict: conflict with "one": .spec.replicas'
    assert status["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".spec.replicas"}
    ]
    forced = await api.patch(f"{DEPLOYMENTS}/web?fieldManager=two&force=true", other, "apply-patch+yaml")
    assert (forced["spec"]["replicas"], forced["metadata"]["generation"]) == (7, 2)


async def test_a_scale_can_be_applied(api: Any) -> None:
    """`kubectl apply --server-side --subresource=scale`; the owner is known by the name of the workload's field."""
    await api.create(DEPLOYMENTS, deployment())
    path = f"{DEPLOYMENTS}/web/scale?fieldManager=scaler&force=true"
    applied = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 4}}
    scale = await api.patch(path, applied, "apply-patch+yaml")
    assert (scale["kind"], scale["spec"]["replicas"]) == ("Scale", 4)
    made = await api.get(f"{DEPLOYMENTS}/web")
    entries = {entry["manager"]: entry for entry in made["metadata"]["managedFields"]}
    assert entries["scaler"]["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
    assert (entries["scaler"]["operation"], entries["scaler"]["subresource"]) == ("Apply", "scale")
    assert (made["spec"]["replicas"], made["metadata"]["generation"]) == (4, 2)
    other = {**applied, "spec": {"replicas": 5}}
    status = await api.patch(f"{DEPLOYMENTS}/web/scale?fieldManager=x", other, "apply-patch+yaml", 409)
    assert 'conflict with "scaler" with subresource "scale"' in status["message"]
    await api.patch(path, {**applied, "kind": "Deployment"}, "apply-patch+yaml", 400)


async def test_nulls_of_go_programs_are_no_conflict(api: Any) -> None:
    """`kubectl create --dry-run -o yaml` writes `creationTimestamp: null`; two may apply the same file."""
    applied = deployment()
    applied["spec"]["template"]["metadata"]["creationTimestamp"] = None
    made = await api.patch(f"{DEPLOYMENTS}/web?fieldManager=one", applied, "apply-patch+yaml", 201)
    assert "creationTimestamp" not in made["spec"]["template"]["metadata"]
    again = await api.patch(f"{DEPLOYMENTS}/web?fieldManager=two", applied, "apply-patch+yaml")
    assert [entry["manager"] for entry in again["metadata"]["managedFields"]] == ["one", "two"]
    emptied = deployment()
    emptied["spec"]["replicas"] = None
    status = await api.patch(f"{DEPLOYMENTS}/web?fieldManager=two", emptied, "apply-patch+yaml", 409)
    assert ".spec.replicas" in status["message"]


@pytest.mark.parametrize(
    ("query", "body", "code", "message"),
    [
        ("", deployment(), 422, "fieldManager: Required value: is required for apply patch"),
        ("?fieldManager=m", {"metadata": {}}, 400, "is missing"),
        ("?fieldManager=m", {**deployment("other")}, 400, "does not match the name on the URL"),
        ("?fieldManager=m&dryRun=Some", deployment(), 422, 'dryRun: Unsupported value: []string{"Some"}'),
        ("?fieldManager=m&fieldValidation=Strict", {**deployment(), "bogus": 1}, 400, 'unknown field "bogus"'),
    ],
)
async def test_what_apply_refuses(api: Any, query: str, body: Any, code: int, message: str) -> None:
    status = await api.patch(f"{DEPLOYMENTS}/web{query}", body, "apply-patch+yaml", code)
    assert message in status["message"]


async def test_force_belongs_to_apply(api: Any) -> None:
    await api.create(CONFIG_MAPS, config_map())
    status = await api.patch(f"{CONFIG_MAPS}/a?force=true", {}, status=422)
    assert "force: Forbidden: may not be specified for non-apply patch" in status["message"]


async def test_yaml_aliases_cannot_blow_up(api: Any) -> None:
    body = b"a: &a [x]\nb: [*a, *a]\n"
    answer = await api.call("PATCH", f"{CONFIG_MAPS}/a?fieldManager=m", body, "application/apply-patch+yaml")
    assert answer.status == 400


@pytest.mark.parametrize("body", [b"[" * 100_000, b"{a: " * 50_000, b"- " * 100_000, b"? " * 100_000])
async def test_deep_yaml_ends_nothing(api: Any, body: bytes) -> None:
    """libyaml's composer recurses on the C stack: unchecked, one such body would kill the server."""
    for method, path, media in (
        ("PATCH", f"{CONFIG_MAPS}/a?fieldManager=m", "application/apply-patch+yaml"),
        ("POST", CONFIG_MAPS, "application/yaml"),
    ):
        answer = await api.call(method, path, body, media)
        assert (answer.status, "exceeded max depth" in answer.message) == (400, True)


async def test_bodies_are_limited(api: Any) -> None:
    obj = config_map(x="y" * (3 * 1024 * 1024))
    answer = await api.call("POST", CONFIG_MAPS, obj)
    assert (answer.status, answer.message) == (413, "Request entity too large: limit is 3145728")


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"metadata":{"name":"a"},"data":{"x":"\xffy"}}', "\ufffdy"),
        (b'{"metadata":{"name":"a"},"data":{"x":"\\ud800y"}}', "\ufffdy"),
        (b'{"metadata":{"name":"a"},"data":{"x":"\\ud83d\\ude00\\udc00"}}', "\U0001f600\ufffd"),
        (b'{"metadata":{"name":"a"},"data":{"x":"\\\\ud800\xff"}}', "\\ud800\ufffd"),
    ],
)
async def test_what_is_no_text_becomes_the_replacement_character(api: Any, body: bytes, value: str) -> None:
    answer = await api.call("POST", CONFIG_MAPS, body)
    assert answer.status == 201, answer.body
    assert answer.json["data"]["x"] == value


async def test_unknown_media_types(api: Any) -> None:
    answer = await api.call("POST", CONFIG_MAPS, b"x", "text/csv")
    assert (answer.status, answer.json["reason"]) == (415, "UnsupportedMediaType")
    answer = await api.call("GET", CONFIG_MAPS, Accept="text/csv")
    assert (answer.status, answer.message) == (
        406,
        "only the following media types are accepted: application/json, application/yaml",
    )


async def test_protobuf_bodies(api: Any) -> None:
    """A ConfigMap `a` with `x: y`: the envelope and two messages, written by hand."""
    metadata = b"\x0a\x03\x0a\x01a"
    data = b"\x12\x06\x0a\x01x\x12\x01y"
    type_meta = b"\x0a\x0f\x0a\x02v1\x12\x09ConfigMap"
    raw = metadata + data
    body = b"k8s\x00" + type_meta + b"\x12" + bytes([len(raw)]) + raw
    answer = await api.call("POST", CONFIG_MAPS, body, "application/vnd.kubernetes.protobuf")
    assert answer.status == 201, answer.body
    assert answer.json["data"] == {"x": "y"}


async def test_a_default_ingress_class_is_named(api: Any) -> None:
    rules = [{"host": "a.example"}]
    ingress = {"metadata": {"name": "one"}, "spec": {"rules": rules}}
    path = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
    assert "ingressClassName" not in (await api.create(path, ingress))["spec"]
    annotations = {"ingressclass.kubernetes.io/is-default-class": "true"}
    made = {"metadata": {"name": "fairway", "annotations": annotations}, "spec": {"controller": "fairway.dev/edge"}}
    await api.create("/apis/networking.k8s.io/v1/ingressclasses", made)
    ingress["metadata"] = {"name": "two"}
    assert (await api.create(path, ingress))["spec"]["ingressClassName"] == "fairway"
