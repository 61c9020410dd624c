"""A real kubectl against the server over TLS."""

import asyncio
import contextlib
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fairway.toolkit.http_client import HttpClient, unix_connector

pytestmark = pytest.mark.real

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "nginx:1", ports: [{containerPort: 80}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  rules:
  - host: a.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
---
apiVersion: v1
kind: Pod
metadata: {name: one, labels: {app: one}}
spec: {containers: [{name: c, image: "busybox:1"}]}
"""

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "https://127.0.0.1:{port}", certificate-authority: {ca}}}}}]
users: [{{name: u, user: {{client-certificate: {certificate}, client-key: {key}}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
current-context: c
"""


def newest_kubectl() -> str:
    """The newest `kubectl.1.*` beside the real kubectl, which may only be a dispatcher; else kubectl itself."""
    found = shutil.which("kubectl")
    assert found is not None, "kubectl is not installed"
    versions = Path(found).resolve().parent.glob("kubectl.1.*")
    best = max(versions, key=lambda path: int(path.name.rpartition(".")[2]), default=None)
    return str(best or found)


class Kubectl:
    """Runs kubectl with a configuration and a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.program = newest_kubectl()
        self.environment: Mapping[str, str] = {**os.environ, "HOME": str(folder), "KUBECONFIG": str(folder / "config")}

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            self.program,
            *arguments,
            env=self.environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def __call__(self, *arguments: str, stdin: str = "") -> str:
        process = await self.start(*arguments)
        output, _ = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
        text = output.decode()
        assert process.returncode == 0, f"kubectl {' '.join(arguments)}: {text}"
        return text


@pytest.fixture
async def kubectl(secure: Any, tmp_path: Path) -> AsyncIterator[Kubectl]:
    certificate, key = secure.authority.issue("admin", "system:masters")
    config = KUBECONFIG.format(port=secure.port, ca=secure.authority.path, certificate=certificate, key=key)
    (tmp_path / "config").write_text(config)
    yield Kubectl(tmp_path)


async def report(folder: Path, path: str, status: Mapping[str, Any]) -> None:
    """Be the controller: write a status through the local socket."""
    async with HttpClient(unix_connector(folder / "api.sock"), host_header="local") as client:
        headers = [("Content-Type", "application/merge-patch+json")]
        body = json.dumps({"status": status}).encode()
        response = await client.request("PATCH", f"{path}/status", headers=headers, body=body)
        assert response.status == 200, await response.read()


async def test_apply_and_change(kubectl: Kubectl) -> None:
    assert await kubectl("apply", "-f", "-", stdin=MANIFEST) == (
        "deployment.apps/web created\nservice/web created\ningress.networking.k8s.io/web created\npod/one created\n"
    )
    assert "unchanged" in await kubectl("apply", "-f", "-", stdin=MANIFEST)
    changed = MANIFEST.replace("nginx:1", "nginx:2")
    assert "deployment.apps/web configured" in await kubectl("apply", "-f", "-", stdin=changed)
    await kubectl("scale", "deployment/web", "--replicas=5")
    await kubectl("set", "image", "deployment/web", "web=nginx:3")
    await kubectl("label", "deployment/web", "tier=front")
    shown = json.loads(await kubectl("get", "deployment", "web", "-o", "json"))
    assert shown["spec"]["replicas"] == 5
    assert shown["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:3"
    assert shown["metadata"]["labels"] == {"tier": "front"}
    assert shown["metadata"]["generation"] == 4


async def test_tables_and_descriptions(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=MANIFEST)
    table = await kubectl("get", "deployments,services,ingresses,pods")
    assert re.search(r"NAME +READY +UP-TO-DATE +AVAILABLE +AGE", table)
    assert re.search(r"service/web +ClusterIP +10\.96\.\d+\.\d+ +<none> +80/TCP", table)
    assert re.search(r"ingress.networking.k8s.io/web +<none> +a.example", table)
    assert re.search(r"pod/one +0/1 +Pending +0", table)
    described = await kubectl("describe", "deployment/web")
    assert re.search(r"Image: +nginx:1", described)
    assert "Host" in await kubectl("describe", "ingress/web")
    assert "default" in await kubectl("get", "namespaces", "--sort-by=.metadata.name")


async def test_creates_send_protobuf(kubectl: Kubectl) -> None:
    await kubectl("create", "namespace", "team")
    await kubectl("create", "configmap", "c", "--from-literal=a=b", "-n", "team")
    await kubectl("create", "secret", "generic", "s", "--from-literal=a=b", "-n", "team")
    await kubectl("create", "deployment", "d", "--image=nginx:1", "--replicas=3", "-n", "team")
    shown = json.loads(await kubectl("get", "configmap,secret,deployment", "-n", "team", "-o", "json"))
    config_map, secret, deployment = shown["items"]
    assert (config_map["data"], secret["data"]) == ({"a": "b"}, {"a": "Yg=="})
    assert deployment["spec"]["replicas"] == 3


async def test_server_side_apply_conflicts(kubectl: Kubectl) -> None:
    await kubectl("apply", "--server-side", "--field-manager=one", "-f", "-", stdin=MANIFEST)
    other = MANIFEST.replace("replicas: 2", "replicas: 4")
    process = await kubectl.start("apply", "--server-side", "--field-manager=two", "-f", "-")
    output, _ = await process.communicate(other.encode())
    assert process.returncode == 1
    assert 'conflict with "one": .spec.replicas' in output.decode()
    await kubectl("apply", "--server-side", "--field-manager=two", "--force-conflicts", "-f", "-", stdin=other)


async def test_unknown_fields_are_refused(kubectl: Kubectl) -> None:
    process = await kubectl.start("apply", "-f", "-")
    output, _ = await process.communicate(MANIFEST.replace("replicas: 2", "replicaz: 2").encode())
    assert process.returncode == 1
    assert 'strict decoding error: unknown field "spec.replicaz"' in output.decode()


async def test_watching_and_waiting(kubectl: Kubectl, tmp_path: Path) -> None:
    await kubectl("apply", "-f", "-", stdin=MANIFEST)
    watching = await kubectl.start("get", "deployment", "web", "-w")
    assert watching.stdout is not None
    assert (await watching.stdout.readline()).startswith(b"NAME")
    assert (await watching.stdout.readline()).startswith(b"web    0/2")
    waiting = asyncio.create_task(kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=60s"))
    condition = {"type": "Available", "status": "True"}
    status = {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}
    path = "/apis/apps/v1/namespaces/default/deployments/web"
    await report(tmp_path, path, {**status, "conditions": [condition]})
    assert (await watching.stdout.readline()).startswith(b"web    2/2")
    assert "condition met" in await waiting
    assert "successfully rolled out" in await kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    with contextlib.suppress(ProcessLookupError):
        watching.kill()
    await watching.communicate()


async def test_deleting(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=MANIFEST)
    assert 'deployment.apps "web" deleted' in await kubectl("delete", "deployment/web")
    assert 'pod "one" deleted' in await kubectl("delete", "-f", "-", "--ignore-not-found", stdin=MANIFEST)
    assert "No resources found" in await kubectl("get", "deployments,pods,ingresses")
