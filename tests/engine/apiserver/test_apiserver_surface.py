"""What is not about one object: discovery, OpenAPI, health, unknown paths and methods."""

from typing import Any

import pytest

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList,application/json"


async def test_legacy_discovery(api: Any) -> None:
    assert (await api.get("/api"))["versions"] == ["v1"]
    for path in ("/apis", "/apis/"):
        groups = {group["name"]: group for group in (await api.get(path))["groups"]}
        assert groups["apps"]["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
    assert (await api.get("/apis/apps"))["kind"] == "APIGroup"
    core = {resource["name"]: resource for resource in (await api.get("/api/v1"))["resources"]}
    assert core["pods"]["shortNames"] == ["po"]
    assert core["pods"]["verbs"] == sorted(core["pods"]["verbs"])
    assert core["pods/eviction"]["group"] == "policy"
    assert {"pods/log", "pods/binding", "pods/status", "namespaces/finalize"} <= set(core)
    apps = {resource["name"]: resource for resource in (await api.get("/apis/apps/v1"))["resources"]}
    assert apps["deployments/scale"]["kind"] == "Scale"


@pytest.mark.parametrize("version", ["v2", "v2beta1"])
async def test_aggregated_discovery(api: Any, version: str) -> None:
    accept = AGGREGATED.format(version=version)
    answer = await api.call("GET", "/apis", Accept=accept)
    assert answer.headers["content-type"].endswith(f"v={version};as=APIGroupDiscoveryList")
    items = {item["metadata"]["name"]: item for item in answer.json["items"]}
    [apps] = items["apps"]["versions"]
    deployments = next(item for item in apps["resources"] if item["resource"] == "deployments")
    assert deployments["scope"] == "Namespaced"
    assert deployments["responseKind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    assert [sub["subresource"] for sub in deployments["subresources"]] == ["scale", "status"]
    again = await api.call("GET", "/apis", Accept=accept, If_None_Match=answer.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    core = await api.call("GET", "/api", Accept=accept)
    assert "name" not in core.json["items"][0]["metadata"]


async def test_openapi(api: Any) -> None:
    index = await api.get("/openapi/v3")
    url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
    answer = await api.call("GET", url)
    assert "immutable" in answer.headers["cache-control"]
    assert "io.k8s.api.apps.v1.Deployment" in answer.json["components"]["schemas"]
    again = await api.call("GET", url, If_None_Match=answer.headers["etag"])
    assert again.status == 304


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/readyz/ping"])
async def test_health(api: Any, path: str) -> None:
    answer = await api.call("GET", path)
    assert (answer.status, answer.body) == (200, b"ok")


async def test_health_in_detail(api: Any) -> None:
    answer = await api.call("GET", "/readyz?verbose")
    assert answer.body == b"[+]ping ok\n[+]store ok\n[+]start ok\nreadyz check passed\n"
    api.server._ready = False
    answer = await api.call("GET", "/readyz")
    assert (answer.status, b"[-]start failed" in answer.body) == (500, True)
    assert (await api.call("GET", "/livez")).status == 200


async def test_version(api: Any) -> None:
    version = await api.get("/version")
    assert (version["major"], version["minor"]) == ("1", "33")


@pytest.mark.parametrize(
    "path",
    [
        "/foo",
        "/api/v2",
        "/api/v1/foos",
        "/apis/apps/v2/deployments",
        "/apis/nothing/v1",
        "/api/v1/namespaces/default/namespaces",
        "/api/v1/namespaces/default/pods/a/foo",
        "/api/v1/namespaces/default/pods/a/log/b",
        "/api/v1/pods/a",
        "/api/v1/namespaces//pods",
        "/api/v1/namespaces/default/nodes",
        "/readyz/foo",
        "/openapi/v3/apis/nothing/v1",
    ],
)
async def test_unknown_paths(api: Any, path: str) -> None:
    answer = await api.call("GET", path)
    assert (answer.status, answer.body) == (404, b"404 page not found\n")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/api/v1/namespaces/default/configmaps"),
        ("PATCH", "/api/v1/namespaces/default/configmaps"),
        ("POST", "/api/v1/namespaces/default/pods/a/log"),
        ("DELETE", "/api/v1/namespaces/default/pods/a/status"),
        ("DELETE", "/api/v1/namespaces"),
        ("OPTIONS", "/api/v1/namespaces"),
        ("POST", "/version"),
    ],
)
async def test_methods_that_are_not_allowed(api: Any, method: str, path: str) -> None:
    answer = await api.call(method, path, {})
    assert (answer.status, answer.json["reason"], answer.message) == (
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
    )


async def test_the_root_lists_paths(api: Any) -> None:
    assert {"/api/v1", "/apis/apps/v1", "/openapi/v3"} <= set((await api.get("/"))["paths"])


async def test_events_expire(api: Any) -> None:
    path = "/api/v1/namespaces/default/events"
    event = {"metadata": {"name": "old"}, "involvedObject": {"namespace": "default"}}
    await api.create(path, event)
    await api.clock.advance(3000)
    await api.create(path, {**event, "metadata": {"name": "new"}})
    watching = await api.watch(f"{path}?watch=1&fieldSelector=metadata.name%3Dold")
    await watching.names(1)
    await api.clock.advance(700)
    assert await watching.names(1) == [("DELETED", "old")]
    assert [item["metadata"]["name"] for item in (await api.get(path))["items"]] == ["new"]
