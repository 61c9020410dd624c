"""The audit log: what a policy wants is written, secrets never are."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fairway.engine.apiserver import ApiServer, Config
from fairway.engine.apiserver.audit import AuditFile, load
from fairway.engine.apiserver.audit.policy import Level
from fairway.engine.apiserver.authentication import User
from fairway.engine.apiserver.authorization import Attributes
from fairway.toolkit.http_client import HttpClient, unix_connector

POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: None
  users: [system:kube-proxy]
- level: None
  nonResourceURLs: ["/healthz*", "/version"]
- level: RequestResponse
  resources: [{group: "", resources: [configmaps, "pods/*", secrets, serviceaccounts]}]
- level: Request
  verbs: [create]
  resources: [{group: apps}]
- level: Metadata
  namespaces: [default]
- level: Metadata
  resources: [{group: "", resources: [nodes], resourceNames: [a]}]
"""


def on(verb: str, group: str, resource: str, *, sub: str = "", namespace: str = "x", name: str = "") -> Attributes:
    return Attributes(User("u", ("g",)), verb, "", group, "v1", resource, sub, namespace, name)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


@pytest.mark.parametrize(
    ("attributes", "level"),
    [
        (on("get", "", "configmaps"), Level.REQUEST_RESPONSE),
        (on("get", "", "pods", sub="log"), Level.REQUEST_RESPONSE),
        (on("get", "", "pods"), Level.NONE),
        (on("create", "apps", "deployments"), Level.REQUEST),
        (on("get", "apps", "deployments"), Level.NONE),
        (on("get", "apps", "deployments", namespace="default"), Level.METADATA),
        (on("get", "", "nodes", namespace="", name="a"), Level.METADATA),
        (on("get", "", "nodes", namespace="", name="b"), Level.NONE),
        (Attributes(User("system:kube-proxy"), "get", "", "", "v1", "configmaps"), Level.NONE),
        (Attributes(User("u"), "get", "/healthz/ping"), Level.NONE),
    ],
)
def test_the_first_rule_that_fits(policy: Path, attributes: Attributes, level: Level) -> None:
    assert load(policy).level(attributes) is level


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rules: [{level: Some}]", "rules\\[0\\].level: 'Some' must be one of None, Metadata"),
        ("rules: []\nkind: Pod", "must be a Policy"),
        ("rules: [{level: None, wrong: 1}]", "unknown field `wrong`"),
        ("rules: [{level: None, omitStages: [X]}]", "omitStages"),
        ("rules: [{level: None, namespaces: [a], nonResourceURLs: [/b]}]", "cannot apply to both"),
        ("rules: {", "policy.yaml"),
    ],
)
def test_bad_policies(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=says):
        load(path)


class Server:
    def __init__(self, folder: Path, client: HttpClient) -> None:
        self.folder = folder
        self.client = client

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> int:
        pairs = [(key.replace("_", "-"), value) for key, value in headers.items()]
        data = json.dumps(body).encode() if body is not None else None
        response = await self.client.request(method, path, headers=pairs, body=data)
        await response.read()
        return response.status


@pytest.fixture
async def server(policy: Path, tmp_path: Path) -> AsyncIterator[Server]:
    state, path = tmp_path / "state", tmp_path / "api.sock"
    running = ApiServer(
        Config(state_dir=state, unix_socket=path, kubelet_socket=tmp_path / "none", audit_policy=policy)
    )
    await running.start()
    async with HttpClient(unix_connector(path), host_header="local") as client:
        yield Server(state, client)
    await running.stop()


async def lines(folder: Path, count: int) -> list[Any]:
    """What the writer thread has written, once it is that much."""
    async with asyncio.timeout(60):
        while len(found := (folder / "audit.log").read_bytes().splitlines()) < count:
            await asyncio.sleep(0.01)
    return [json.loads(line) for line in found]


async def test_requests_and_answers(server: Server) -> None:
    body = {"metadata": {"name": "c"}, "data": {"a": "1"}}
    assert await server.send("POST", "/api/v1/namespaces/x/configmaps", body, User_Agent="t/1") == 404
    assert await server.send("POST", "/api/v1/namespaces/default/configmaps", body) == 201
    assert await server.send("GET", "/version") == 200
    assert await server.send("GET", "/api/v1/namespaces/default/pods", Impersonate_User="bob") == 403
    refused, created, pods = await lines(server.folder, 3)
    assert (refused["userAgent"], refused["responseStatus"]["reason"]) == ("t/1", "NotFound")
    assert created["level"] == "RequestResponse"
    assert (created["stage"], created["verb"]) == ("ResponseComplete", "create")
    assert created["requestURI"] == "/api/v1/namespaces/default/configmaps"
    assert created["user"]["username"] == "system:local"
    assert created["objectRef"] == {"resource": "configmaps", "namespace": "default", "apiVersion": "v1"}
    assert created["requestObject"] == body
    assert created["responseObject"]["data"] == {"a": "1"}
    assert "managedFields" not in created["responseObject"]["metadata"]
    assert created["responseStatus"] == {"metadata": {}, "code": 201}
    assert pods["impersonatedUser"]["username"] == "bob"
    assert pods["annotations"]["authorization.k8s.io/decision"] == "forbid"
    assert pods["responseStatus"]["code"] == 403
    assert (server.folder / "audit.log").stat().st_mode & 0o777 == 0o600


async def test_secrets_and_tokens_are_never_written(server: Server) -> None:
    base = "/api/v1/namespaces/default"
    secret = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s"}, "stringData": {"a": "hunter2"}}
    assert await server.send("POST", f"{base}/secrets", secret) == 201
    assert await server.send("PUT", f"{base}/secrets/s", secret) == 200
    assert await server.send("GET", f"{base}/secrets") == 200
    assert await server.send("POST", f"{base}/configmaps", secret) == 400
    token = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": {}}
    assert await server.send("POST", f"{base}/serviceaccounts/default/token", token) == 201
    events = await lines(server.folder, 5)
    assert [event["verb"] for event in events] == ["create", "update", "list", "create", "create"]
    text = (server.folder / "audit.log").read_text()
    assert "hunter2" not in text
    assert "aHVudGVyM" not in text
    assert "eyJ" not in text


async def test_a_watch_is_complete_when_it_ends(server: Server) -> None:
    path = "/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=1"
    assert await server.send("GET", path) == 200
    started, ended = await lines(server.folder, 2)
    assert (started["stage"], ended["stage"]) == ("ResponseStarted", "ResponseComplete")
    assert started["auditID"] == ended["auditID"]


def test_full_files_are_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    for number in range(10):
        file = AuditFile(path, bytes_max=100, files_max=3)
        file.start()
        file.write(b"%03d" % number + b"x" * 56 + b"\n")
        file.close()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["audit.log", "audit.log.1", "audit.log.2"]
    assert [each.read_bytes()[:3] for each in sorted(tmp_path.iterdir())] == [b"009", b"008", b"007"]
