"""Ephemeral containers are added through their own subresource, and stay; metrics are made up when asked for."""

from typing import Any

import msgspec
import pytest

from fairway.toolkit import logs
from fairway.toolkit.http_messages import Reply, Request, Response
from fairway.toolkit.http_server import HttpServer

PODS = "/api/v1/namespaces/default/pods"
METRICS = "/apis/metrics.k8s.io/v1beta1"
STRATEGIC = "strategic-merge-patch+json"
DEBUG = {"name": "debug", "image": "i", "targetContainerName": "c", "stdin": True}


def pod(name: str, **labels: str) -> Any:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


def adding(*containers: dict[str, Any]) -> Any:
    return {"spec": {"ephemeralContainers": list(containers)}}


async def test_containers_are_added_with_defaults(api: Any) -> None:
    await api.create(PODS, pod("p"))
    path = f"{PODS}/p/ephemeralcontainers"
    changed = await api.patch(path, adding(DEBUG), STRATEGIC)
    (added,) = changed["spec"]["ephemeralContainers"]
    assert added["terminationMessagePolicy"] == "File"
    assert added["imagePullPolicy"] == "Always"
    assert changed["metadata"]["generation"] == 2
    changed = await api.patch(path, adding({"name": "second", "image": "i"}), STRATEGIC)
    assert {each["name"] for each in changed["spec"]["ephemeralContainers"]} == {"debug", "second"}
    assert (await api.get(path))["kind"] == "Pod"


async def test_nothing_else_changes_through_it(api: Any) -> None:
    await api.create(PODS, pod("p"))
    obj = await api.get(f"{PODS}/p")
    obj["spec"]["ephemeralContainers"] = [DEBUG]
    obj["spec"]["containers"][0]["image"] = "other"
    obj["metadata"]["labels"] = {"a": "b"}
    changed = await api.put(f"{PODS}/p/ephemeralcontainers", obj)
    assert changed["spec"]["containers"][0]["image"] == "i"
    assert "labels" not in changed["metadata"]


async def test_other_updates_leave_them(api: Any) -> None:
    await api.create(PODS, pod("p"))
    await api.patch(f"{PODS}/p/ephemeralcontainers", adding(DEBUG), STRATEGIC)
    changed = await api.patch(f"{PODS}/p", {"spec": {"ephemeralContainers": None}, "metadata": {"labels": {"a": "b"}}})
    assert [each["name"] for each in changed["spec"]["ephemeralContainers"]] == ["debug"]


@pytest.mark.parametrize(
    ("container", "field"),
    [
        ({"name": "c", "image": "i"}, "spec.ephemeralContainers[0].name"),
        ({"name": "d"}, "spec.ephemeralContainers[0].image"),
        ({**DEBUG, "targetContainerName": "x"}, "spec.ephemeralContainers[0].targetContainerName"),
        ({**DEBUG, "ports": [{"containerPort": 1}]}, "spec.ephemeralContainers[0].ports"),
        ({**DEBUG, "resources": {"limits": {"cpu": "1"}}}, "spec.ephemeralContainers[0].resources"),
        ({**DEBUG, "livenessProbe": {"exec": {"command": ["a"]}}}, "spec.ephemeralContainers[0].livenessProbe"),
    ],
)
async def test_what_is_refused(api: Any, container: Any, field: str) -> None:
    await api.create(PODS, pod("p"))
    answer = await api.patch(f"{PODS}/p/ephemeralcontainers", adding(container), STRATEGIC, 422)
    assert field in {cause["field"] for cause in answer["details"]["causes"]}


@pytest.mark.parametrize("after", [[], [{**DEBUG, "image": "other"}]])
async def test_they_cannot_be_removed_or_changed(api: Any, after: Any) -> None:
    await api.create(PODS, pod("p"))
    await api.patch(f"{PODS}/p/ephemeralcontainers", adding(DEBUG), STRATEGIC)
    answer = await api.patch(f"{PODS}/p/ephemeralcontainers", {"spec": {"ephemeralContainers": after}}, status=422)
    assert 'existing ephemeral containers "debug" may not be' in answer["message"]


REPORT = {
    "timestamp": "2026-01-01T00:00:00Z",
    "window": "15s",
    "node": {"cpu": "5n", "memory": "6Ki"},
    "pods": [
        {"namespace": "default", "name": name, "containers": [{"name": "c", "usage": {"cpu": "1n", "memory": "2Ki"}}]}
        for name in ("gone", "p", "q")
    ],
}


async def test_metrics_are_the_kubelets_for_pods_that_match(api: Any) -> None:
    def stats(request: Request) -> Reply:
        assert request.path == "/stats"
        return Response(200, msgspec.json.encode(REPORT))

    server = HttpServer(stats, logs.get("kubelet"))
    await server.listen_unix(api.kubelet_socket, name="kubelet")
    await api.create(PODS, pod("p", app="a"))
    await api.create(PODS, pod("q", app="b"))
    found = await api.get(f"{METRICS}/pods")
    assert (found["kind"], [item["metadata"]["name"] for item in found["items"]]) == ("PodMetricsList", ["p", "q"])
    found = await api.get(f"{METRICS}/namespaces/default/pods?labelSelector=app%3Db")
    assert [item["metadata"]["name"] for item in found["items"]] == ["q"]
    one = await api.get(f"{METRICS}/namespaces/default/pods/p")
    assert (one["kind"], one["window"], one["metadata"]["labels"]) == ("PodMetrics", "15s", {"app": "a"})
    assert one["containers"] == REPORT["pods"][1]["containers"]  # type: ignore[index]
    assert (await api.call("GET", f"{METRICS}/namespaces/default/pods/none")).status == 404
    assert (await api.call("DELETE", f"{METRICS}/namespaces/default/pods/p")).status == 405
    assert (await api.get(f"{METRICS}/nodes"))["items"] == []
    table = await api.get(f"{METRICS}/pods", accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert [row["cells"] for row in table["rows"]] == [["p", "1n", "2Ki", "15s"], ["q", "1n", "2Ki", "15s"]]
    await server.stop(0.1)


async def test_metrics_without_a_kubelet(api: Any) -> None:
    answer = await api.call("GET", f"{METRICS}/nodes")
    assert (answer.status, "cannot read metrics from the kubelet" in answer.message) == (503, True)
