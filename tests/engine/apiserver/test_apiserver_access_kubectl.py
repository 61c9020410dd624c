"""Every kubectl of this machine asks who it is and what it may, makes tokens, and acts as others."""

import asyncio
import base64
import json
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

pytestmark = pytest.mark.real

CONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "https://127.0.0.1:{port}", certificate-authority: {ca}}}}}]
users:
- {{name: admin, user: {{client-certificate: {certificate}, client-key: {key}}}}}
- {{name: token, user: {{tokenFile: {token}}}}}
contexts:
- {{name: admin, context: {{cluster: c, user: admin}}}}
- {{name: token, context: {{cluster: c, user: token}}}}
current-context: admin
"""


def programs() -> Mapping[str, str]:
    """Versioned programs beside the real kubectl, which may only be a dispatcher for them; else kubectl itself."""
    found = shutil.which("kubectl")
    assert found is not None, "kubectl is not installed"
    versions = sorted(Path(found).resolve().parent.glob("kubectl.1.*"))
    return {path.name.removeprefix("kubectl."): str(path) for path in versions} or {"distribution": found}


class Kubectl:
    def __init__(self, version: str, program: str, folder: Path) -> None:
        self.version = version
        self.folder = folder
        self._program = program
        self._environment = {**os.environ, "HOME": str(folder), "KUBECONFIG": str(folder / "config")}

    async def __call__(self, *arguments: str, fails: bool = False, stdin: str = "") -> str:
        process = await asyncio.create_subprocess_exec(
            self._program,
            *arguments,
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
        assert bool(process.returncode) is fails, output.decode()
        return output.decode().strip()


@pytest.fixture(params=programs().items(), ids=lambda item: item[0])
async def kubectl(request: pytest.FixtureRequest, secure: Any, tmp_path: Path) -> AsyncIterator[Kubectl]:
    certificate, key = secure.authority.issue("admin", "system:masters")
    token = tmp_path / "token"
    config = CONFIG.format(port=secure.port, ca=secure.authority.path, certificate=certificate, key=key, token=token)
    (tmp_path / "config").write_text(config)
    yield Kubectl(*request.param, tmp_path)


async def test_who_and_what(kubectl: Kubectl) -> None:
    whoami = await kubectl("auth", "whoami", "-o", "json")
    info = json.loads(whoami)["status"]["userInfo"]
    assert info == {"username": "admin", "groups": ["system:masters", "system:authenticated"]}
    assert await kubectl("auth", "can-i", "*", "*") == "yes"
    assert "no" in (await kubectl("auth", "can-i", "get", "pods", "--as", "bob", fails=True)).split()
    assert await kubectl("auth", "can-i", "get", "/healthz", "--as", "bob") == "yes"
    listed = await kubectl("auth", "can-i", "--list")
    assert "*.*" in listed

    await kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods,pods/log")
    await kubectl("create", "rolebinding", "reader", "--role=reader", "--user=bob")
    assert await kubectl("auth", "can-i", "get", "pods", "--subresource=log", "--as", "bob") == "yes"
    assert "no" in (await kubectl("auth", "can-i", "list", "pods", "-A", "--as", "bob", fails=True)).split()
    assert "No resources found" in await kubectl("get", "pods", "--as", "bob")
    assert "pods/log" in await kubectl("auth", "can-i", "--list", "--as", "bob")
    assert await kubectl("get", "secrets", "--as", "bob", fails=True) == (
        'Error from server (Forbidden): secrets is forbidden: User "bob" cannot list resource "secrets" '
        'in API group "" in the namespace "default"'
    )
    as_group = ("--as", "eve", "--as-group", "system:masters")
    assert "kube-system" in await kubectl("get", "namespaces", *as_group)


async def test_tokens(kubectl: Kubectl) -> None:
    await kubectl("create", "serviceaccount", "robot")
    token = await kubectl("create", "token", "robot", "--duration=10m")
    (kubectl.folder / "token").write_text(token)
    whoami = await kubectl("--context=token", "auth", "whoami", "-o", "json")
    assert json.loads(whoami)["status"]["userInfo"]["username"] == "system:serviceaccount:default:robot"
    refused = await kubectl("--context=token", "get", "pods", fails=True)
    assert 'User "system:serviceaccount:default:robot" cannot list resource "pods"' in refused
    await kubectl("create", "clusterrolebinding", "robot", "--clusterrole=view", "--serviceaccount=default:robot")
    assert "No resources found" in await kubectl("--context=token", "get", "pods")
    assert "Forbidden" in await kubectl("--context=token", "create", "namespace", "x", fails=True)
    await kubectl("delete", "serviceaccount", "robot")
    assert "Unauthorized" in await kubectl("--context=token", "get", "pods", fails=True)


async def test_certificates(kubectl: Kubectl) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "carol")])
    content = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    text = base64.b64encode(content.public_bytes(serialization.Encoding.PEM)).decode()
    spec = {"request": text, "signerName": "example.com/own", "usages": ["client auth"]}
    body = {
        "kind": "CertificateSigningRequest",
        "apiVersion": "certificates.k8s.io/v1",
        "metadata": {"name": "carol"},
        "spec": spec,
    }
    await kubectl("create", "--validate=false", "-f", "-", stdin=json.dumps(body))
    assert (await kubectl("get", "csr", "--no-headers")).split()[2:] == [
        "example.com/own",
        "admin",
        "<none>",
        "Pending",
    ]
    assert await kubectl("certificate", "approve", "carol") == (
        "certificatesigningrequest.certificates.k8s.io/carol approved"
    )
    assert (await kubectl("get", "csr", "carol", "--no-headers")).split()[-1] == "Approved"


async def test_reconcile(kubectl: Kubectl) -> None:
    role = {
        "kind": "ClusterRole",
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "metadata": {"name": "r"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
    }
    (kubectl.folder / "role.json").write_text(json.dumps(role))
    assert "reconciled" in await kubectl("auth", "reconcile", "-f", str(kubectl.folder / "role.json"))
    assert "PolicyRule" in await kubectl("describe", "clusterrole", "r")
    assert "Mountable secrets" in await kubectl("describe", "serviceaccount", "default")
