"""Binding, eviction and logs."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from fairway.toolkit import logs
from fairway.toolkit.http_messages import Reply, Request, Response, Sink, Stream
from fairway.toolkit.http_server import HttpServer

PODS = "/api/v1/namespaces/default/pods"


def pod(*containers: str, init: tuple[str, ...] = ()) -> dict[str, Any]:
    def made(names: tuple[str, ...]) -> list[dict[str, str]]:
        return [{"name": name, "image": "i"} for name in names]

    return {"metadata": {"name": "p"}, "spec": {"containers": made(containers or ("c",)), "initContainers": made(init)}}


BINDING = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "fairway"}}


async def test_binding(api: Any) -> None:
    await api.create(PODS, pod())
    status = await api.create(f"{PODS}/p/binding", BINDING)
    assert (status["status"], status["code"]) == ("Success", 201)
    bound = await api.get(f"{PODS}/p")
    assert bound["spec"]["nodeName"] == "fairway"
    condition = {item["type"]: item["status"] for item in bound["status"]["conditions"]}
    assert condition == {"PodScheduled": "True"}
    status = await api.create(f"{PODS}/p/binding", BINDING, 409)
    assert status["message"] == (
        'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "fairway"'
    )


@pytest.mark.parametrize(
    ("binding", "code"),
    [({"metadata": {"uid": "x"}, "target": {"name": "n"}}, 409), ({"target": {}}, 422), ([], 400)],
)
async def test_what_binding_refuses(api: Any, binding: Any, code: int) -> None:
    await api.create(PODS, pod())
    await api.create(f"{PODS}/p/binding", binding, code)


async def test_eviction_deletes(api: Any) -> None:
    await api.create(PODS, pod())
    await api.create(f"{PODS}/p/binding", BINDING)
    eviction = {"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": "p"}}
    await api.create(f"{PODS}/p/eviction", {**eviction, "deleteOptions": {"gracePeriodSeconds": 7}})
    assert (await api.get(f"{PODS}/p"))["metadata"]["deletionGracePeriodSeconds"] == 7
    await api.create(f"{PODS}/p/eviction", {**eviction, "metadata": {"name": "q"}}, 400)


@pytest.mark.parametrize(("query", "options"), [("?dryRun=All", {}), ("", {"dryRun": ["All"]})])
async def test_a_dry_eviction_costs_nothing(api: Any, query: str, options: Any) -> None:
    """`kubectl drain --dry-run=server` says it in the DeleteOptions."""
    made = pod()
    made["metadata"]["labels"] = {"app": "a"}
    await api.create(PODS, made)
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    await api.patch(f"{PODS}/p/status", {"status": ready})
    budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}
    await api.create(budgets, {"metadata": {"name": "b"}, "spec": spec})
    counted = {"disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2}
    await api.patch(f"{budgets}/b/status", {"status": {**counted, "observedGeneration": 1}})
    before = await api.get(f"{budgets}/b")
    eviction = {"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": "p"}}
    await api.create(f"{PODS}/p/eviction{query}", {**eviction, "deleteOptions": options})
    assert await api.get(f"{budgets}/b") == before
    assert "deletionTimestamp" not in (await api.get(f"{PODS}/p"))["metadata"]
    await api.create(f"{PODS}/p/eviction", eviction)
    assert (await api.get(f"{budgets}/b"))["status"]["disruptionsAllowed"] == 0


def kubelet(request: Request) -> Reply:
    if request.path.endswith("/waiting"):
        text = b'container "waiting" in pod "p" is waiting to start: ContainerCreating'
        return Response(400, text)

    async def run(sink: Sink) -> None:
        sink.write(f"{request.path}?{request.query}\n".encode())
        await sink.drain()
        sink.write(b"last\n")

    return Stream(200, run)


@pytest.fixture
async def node(api: Any) -> AsyncIterator[HttpServer]:
    server = HttpServer(kubelet, logs.get("kubelet"))
    await server.listen_unix(api.kubelet_socket, name="local")
    yield server
    await server.stop(0.1)


@pytest.mark.parametrize(
    ("obj", "query", "expected"),
    [
        (pod(), "", "/containerLogs/default/p/c?\nlast\n"),
        (pod(), "follow=true&tailLines=5&x=y", "/containerLogs/default/p/c?follow=true&tailLines=5\nlast\n"),
        (pod("a", "b"), "container=b", "/containerLogs/default/p/b?\nlast\n"),
    ],
)
async def test_logs_come_from_the_kubelet(api: Any, node: HttpServer, obj: Any, query: str, expected: str) -> None:
    await api.create(PODS, obj)
    await api.create(f"{PODS}/p/binding", BINDING)
    answer = await api.call("GET", f"{PODS}/p/log?{query}")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain")
    assert answer.body.decode() == expected


@pytest.mark.parametrize(
    ("obj", "query", "message"),
    [
        (pod("a", "b"), "", "a container name must be specified for pod p, choose one of: [a b]"),
        (
            pod("a", init=("i", "j")),
            "",
            "a container name must be specified for pod p, choose one of: [a] or one of the init containers: [i j]",
        ),
        (pod("a"), "container=x", "container x is not valid for pod p"),
        (pod("waiting"), "", 'container "waiting" in pod "p" is waiting to start: ContainerCreating'),
    ],
)
async def test_what_logs_refuse(api: Any, node: HttpServer, obj: Any, query: str, message: str) -> None:
    await api.create(PODS, obj)
    await api.create(f"{PODS}/p/binding", BINDING)
    answer = await api.call("GET", f"{PODS}/p/log?{query}")
    assert (answer.status, answer.message) == (400, message)


async def test_logs_of_a_pod_without_a_node_are_empty(api: Any) -> None:
    await api.create(PODS, pod())
    answer = await api.call("GET", f"{PODS}/p/log")
    assert (answer.status, answer.body) == (200, b"")


async def test_logs_without_a_kubelet(api: Any) -> None:
    await api.create(PODS, pod())
    await api.create(f"{PODS}/p/binding", BINDING)
    answer = await api.call("GET", f"{PODS}/p/log")
    assert answer.status == 500
    assert "cannot read logs from the kubelet" in answer.message
