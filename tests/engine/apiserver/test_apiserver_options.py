"""No query parameter and no field of a body goes unread in silence: each wrong one is answered in upstream's words."""

from typing import Any

import pytest

NAMESPACE = "/api/v1/namespaces/default"
MAPS = f"{NAMESPACE}/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SCALE = f"{DEPLOYMENTS}/d/scale"
LOG = f"{NAMESPACE}/pods/p/log"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
APPLY, MERGE = "application/apply-patch+yaml", "application/merge-patch+json"


@pytest.fixture
async def filled(api: Any) -> Any:
    """With one object of each kind that is asked about."""
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    await api.create(DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": spec})
    await api.create(MAPS, {"metadata": {"name": "a"}})
    pod = {"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}}
    await api.create(f"{NAMESPACE}/pods", pod)
    return api


@pytest.mark.parametrize(
    ("method", "query", "says"),
    [
        ("POST", "dryRun=none", 'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: []string{"none"}'),
        (
            "POST",
            "fieldValidation=bogus",
            'fieldValidation: Unsupported value: "bogus": supported values: "", "Ignore", "Strict", "Warn"',
        ),
        ("POST", f"fieldManager={'x' * 200}", "fieldManager: Too long: may not be more than 128 bytes"),
        ("POST", "fieldManager=a%01", "invalid character U+0001 (at position 1)"),
        ("DELETE", "dryRun=x", 'DeleteOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: []string{"x"}'),
        (
            "DELETE",
            "propagationPolicy=Bogus",
            'Unsupported value: "Bogus": supported values: "Foreground", "Background", "Orphan", "nil"',
        ),
        (
            "DELETE",
            "propagationPolicy=Orphan&orphanDependents=true",
            'propagationPolicy: Invalid value: "Orphan": orphanDependents and deletionPropagation cannot be both set',
        ),
    ],
)
async def test_options_of_writes(filled: Any, method: str, query: str, says: str) -> None:
    path = f"{MAPS}/a" if method == "DELETE" else MAPS
    answer = await filled.call(method, f"{path}?{query}", {"metadata": {"name": "b"}} if method == "POST" else None)
    assert answer.status == 422
    assert says in answer.message


async def test_updates_call_their_options_so(filled: Any) -> None:
    obj = await filled.get(f"{MAPS}/a")
    answer = await filled.put(f"{MAPS}/a?dryRun=x", obj, 422)
    assert answer["message"].startswith('UpdateOptions.meta.k8s.io "" is invalid: dryRun')
    answer = await filled.patch(f"{MAPS}/a?dryRun=x", {}, status=422)
    assert answer["message"].startswith('PatchOptions.meta.k8s.io "" is invalid: dryRun')


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"kind": "ConfigMap"}, "decoded object cannot be converted to DeleteOptions"),
        (
            {"kind": "DeleteOptions", "apiVersion": "v9"},
            'no kind "DeleteOptions" is registered for version "v9"',
        ),
        ({"gracePeriodSeconds": "x"}, "cannot unmarshal DeleteOptions"),
    ],
)
async def test_bodies_of_deletions(filled: Any, body: Any, says: str) -> None:
    answer = await filled.delete(f"{MAPS}/a", body, 400)
    assert says in answer["message"]


async def test_delete_options_of_any_group(filled: Any) -> None:
    for version in ("v1", "apps/v1", "policy/v1beta1"):
        await filled.delete(f"{MAPS}/a?dryRun=All", {"kind": "DeleteOptions", "apiVersion": version})


async def test_dependents_are_orphaned_by_the_query_too(filled: Any) -> None:
    answer = await filled.delete(f"{DEPLOYMENTS}/d?orphanDependents=true&dryRun=All")
    assert answer["metadata"]["finalizers"] == ["orphan"]


async def test_what_a_table_includes(filled: Any) -> None:
    answer = await filled.call("GET", f"{MAPS}?includeObject=Bogus", accept=TABLE)
    assert (answer.status, answer.message) == (
        400,
        "includeObject: Invalid value: \"Bogus\": must be 'Metadata', 'Object', 'None', or empty",
    )
    assert (await filled.call("GET", f"{MAPS}?includeObject=Bogus")).status == 200


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        (
            "tailLines=-1",
            422,
            'PodLogOptions "p" is invalid: tailLines: Invalid value: -1: must be greater than or equal',
        ),
        ("limitBytes=0", 422, "limitBytes: Invalid value: 0: must be greater than 0"),
        ("sinceSeconds=0", 422, "sinceSeconds: Invalid value: 0: must be greater than 0"),
        (
            "sinceSeconds=5&sinceTime=2020-01-01T00:00:00Z",
            422,
            "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
        ),
        ("stream=Stdout", 422, "stream: Forbidden: may not be specified"),
        ("tailLines=x", 400, 'parsing "x": invalid syntax'),
        ("sinceTime=yesterday", 400, 'cannot parse "yesterday"'),
    ],
)
async def test_options_of_logs(filled: Any, query: str, status: int, says: str) -> None:
    answer = await filled.call("GET", f"{LOG}?{query}")
    assert answer.status == status
    assert says in answer.message


@pytest.mark.parametrize(
    ("method", "media", "body"),
    [
        ("PUT", "application/json", {"metadata": {"name": "d"}, "spec": {"replicas": 2, "bogus": 1}}),
        ("PATCH", MERGE, {"spec": {"replicas": 2, "bogus": 1}}),
        ("PATCH", "application/strategic-merge-patch+json", {"spec": {"replicas": 2, "bogus": 1}}),
        ("PATCH", APPLY, {"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 2, "bogus": 1}}),
    ],
)
async def test_unknown_fields_of_a_scale(filled: Any, method: str, media: str, body: Any) -> None:
    manager = "fieldManager=m&force=true" if media == APPLY else "fieldManager=m"
    answer = await filled.call(method, f"{SCALE}?{manager}&fieldValidation=Strict", body, media)
    assert answer.status == 400
    assert answer.message == (
        'Scale in version "v1" cannot be handled as a Scale: strict decoding error: unknown field "spec.bogus"'
    )
    answer = await filled.call(method, f"{SCALE}?{manager}", body, media)
    assert answer.headers["warning"] == '299 - "unknown field \\"spec.bogus\\""'
    assert answer.json["spec"] == {"replicas": 2}
    ignored = await filled.call(method, f"{SCALE}?{manager}&fieldValidation=Ignore", body, media)
    assert ignored.status == 200 and "warning" not in ignored.headers


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"kind": "Deployment", "apiVersion": "apps/v1"}, "does not match the expected API version (autoscaling/v1)"),
        ({"metadata": {"name": "other"}}, "the name of the object (other) does not match the name on the URL (d)"),
        ({"spec": {"replicas": "two"}}, "cannot be handled as a Scale"),
        ([], "cannot unmarshal array into Go value of type Scale"),
    ],
)
async def test_what_is_no_scale(filled: Any, body: Any, says: str) -> None:
    assert says in (await filled.put(SCALE, body, 400))["message"]


async def test_bodies_of_subresources(filled: Any) -> None:
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}, "bogus": 1}
    path = f"{NAMESPACE}/pods/p/eviction?dryRun=All"
    assert 'unknown field "bogus"' in (await filled.create(f"{path}&fieldValidation=Strict", eviction, 400))["message"]
    assert (await filled.call("POST", path, eviction)).headers["warning"] == '299 - "unknown field \\"bogus\\""'
    await filled.create(path, {"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": "p"}})
    assert "does not match" in (await filled.create(path, {**eviction, "apiVersion": "policy/v9"}, 400))["message"]
    token = f"{NAMESPACE}/serviceaccounts/default/token"
    refused = await filled.create(f"{token}?fieldValidation=Strict", {"spec": {"bogus": 1}}, 400)
    assert 'unknown field "spec.bogus"' in refused["message"]
