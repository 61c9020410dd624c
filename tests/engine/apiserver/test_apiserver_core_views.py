"""Bindings by their oldest path, and the statuses of components, which are made up when asked for."""

from typing import Any

import pytest

NAMESPACE = "/api/v1/namespaces/default"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def pod(name: str) -> Any:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


def binding(pod: str, **target: str) -> Any:
    return {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": target}


async def test_a_binding_posted_to_the_namespace(api: Any) -> None:
    await api.create(f"{NAMESPACE}/pods", pod("p"))
    answer = await api.create(f"{NAMESPACE}/bindings", binding("p", kind="Node", name="n"))
    assert answer["status"] == "Success" and answer["code"] == 201
    assert (await api.get(f"{NAMESPACE}/pods/p"))["spec"]["nodeName"] == "n"
    again = await api.create(f"{NAMESPACE}/bindings", binding("p", name="m"), 409)
    assert again["message"] == (
        'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n"'
    )


@pytest.mark.parametrize("path", ["bindings", "pods/p/binding"])
@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (binding("p"), 422, 'Binding "p" is invalid: target.name: Required value'),
        (
            binding("p", kind="Pod", name="n"),
            422,
            'Binding "p" is invalid: target.kind: Unsupported value: "Pod": supported values: "Node", "<empty>"',
        ),
        ({**binding("p", name="n"), "kind": "Pod"}, 400, "cannot be handled as a Binding"),
    ],
)
async def test_what_is_refused(api: Any, path: str, body: Any, status: int, says: str) -> None:
    await api.create(f"{NAMESPACE}/pods", pod("p"))
    assert says in (await api.create(f"{NAMESPACE}/{path}", body, status))["message"]


async def test_unknown_fields_of_a_binding(api: Any) -> None:
    await api.create(f"{NAMESPACE}/pods", pod("p"))
    body = {**binding("p", name="n"), "bogus": 1}
    refused = await api.create(f"{NAMESPACE}/bindings?fieldValidation=Strict", body, 400)
    assert 'strict decoding error: unknown field "bogus"' in refused["message"]
    answer = await api.call("POST", f"{NAMESPACE}/bindings", body)
    assert answer.headers["warning"] == '299 - "unknown field \\"bogus\\""'


async def test_only_creation(api: Any) -> None:
    for method in ("GET", "DELETE"):
        assert (await api.call(method, f"{NAMESPACE}/bindings")).status == 405


async def test_components_are_well_and_deprecated(api: Any) -> None:
    answer = await api.call("GET", "/api/v1/componentstatuses")
    assert answer.headers["warning"] == '299 - "v1 ComponentStatus is deprecated in v1.19+"'
    assert [item["metadata"]["name"] for item in answer.json["items"]] == ["scheduler", "controller-manager", "etcd-0"]
    healthy = [{"type": "Healthy", "status": "True", "message": "ok"}]
    assert all(item["conditions"] == healthy for item in answer.json["items"])
    assert (await api.get("/api/v1/componentstatuses/etcd-0"))["kind"] == "ComponentStatus"
    table = await api.get("/api/v1/componentstatuses", accept=TABLE)
    assert table["rows"][0]["cells"] == ["scheduler", "Healthy", "ok", ""]
    assert (await api.call("GET", "/api/v1/componentstatuses/nothing")).status == 404
    assert (await api.call("GET", "/api/v1/componentstatuses?watch=1")).status == 405


async def test_discovery_names_both(api: Any) -> None:
    resources = {each["name"]: each for each in (await api.get("/api/v1"))["resources"]}
    assert resources["bindings"]["verbs"] == ["create"] and resources["bindings"]["namespaced"]
    assert resources["componentstatuses"]["verbs"] == ["get", "list"]
    assert resources["componentstatuses"]["shortNames"] == ["cs"]
