"""CertificateSigningRequests: asked for, approved by those who may, signed."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fairway.engine.apiserver import ApiServer, Config
from fairway.toolkit import signing
from fairway.toolkit.clock import SystemClock
from fairway.toolkit.http_client import HttpClient, unix_connector

PATH = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
SIGNER = "kubernetes.io/kube-apiserver-client"


def pem(name: str, *groups: str) -> tuple[bytes, bytes]:
    """A request and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject = x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return made.public_bytes(serialization.Encoding.PEM), private


def request(name: str, content: bytes, **spec: Any) -> Any:
    text = base64.b64encode(content).decode()
    wanted = {"request": text, "signerName": SIGNER, "usages": ["client auth"], **spec}
    return {"metadata": {"name": name}, "spec": wanted}


class World:
    def __init__(self, client: HttpClient, folder: Path) -> None:
        self.client = client
        self.folder = folder

    async def call(self, method: str, path: str, body: Any = None, user: str = "") -> tuple[int, Any]:
        headers = [("Impersonate-User", user)] if user else []
        data = msgspec.json.encode(body) if body is not None else None
        response = await self.client.request(method, path, headers=headers, body=data)
        return response.status, msgspec.json.decode(await response.read())

    async def approve(self, name: str, user: str = "", kind: str = "Approved") -> tuple[int, Any]:
        _, found = await self.call("GET", f"{PATH}/{name}")
        found["status"] = {"conditions": [{"type": kind, "status": "True", "reason": "Test"}]}
        return await self.call("PUT", f"{PATH}/{name}/approval", found, user)

    async def decided(self, name: str) -> Any:
        """The status once there is a certificate, or it failed."""
        response = await self.client.request(
            "GET", f"{PATH}?watch=1&fieldSelector=metadata.name%3D{name}", dedicated=True
        )
        try:
            async for line in response.iter_lines():
                status = msgspec.json.decode(line)["object"].get("status") or {}
                kinds = {each["type"] for each in status.get("conditions") or ()}
                if status.get("certificate") or "Failed" in kinds:
                    return status
        finally:
            await response.aclose()
        raise AssertionError("the watch ended")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    authority = signing.authority("ca", SystemClock().now())
    (tmp_path / "ca.crt").write_bytes(authority.certificate)
    (tmp_path / "ca.key").write_bytes(authority.key)
    server = ApiServer(
        Config(
            state_dir=None,
            unix_socket=tmp_path / "api.sock",
            kubelet_socket=tmp_path / "none",
            client_ca=tmp_path / "ca.crt",
            client_ca_key=tmp_path / "ca.key",
        )
    )
    await server.start()
    async with HttpClient(unix_connector(tmp_path / "api.sock"), host_header="local") as client:
        yield World(client, tmp_path)
    await server.stop()


async def test_an_approved_request_is_signed(world: World) -> None:
    content, _ = pem("alice", "people")
    status, made = await world.call("POST", PATH, request("alice", content, expirationSeconds=3600, username="forged"))
    assert (status, made["spec"]["username"]) == (201, "system:local")
    assert (await world.approve("alice"))[0] == 200
    decided = await world.decided("alice")
    assert decided["conditions"][0]["lastTransitionTime"]
    certificate = x509.load_pem_x509_certificate(base64.b64decode(decided["certificate"]))
    authority = x509.load_pem_x509_certificate((world.folder / "ca.crt").read_bytes())
    certificate.verify_directly_issued_by(authority)
    assert certificate.subject.rfc4514_string() == "CN=alice,O=people"
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).total_seconds() == 3900
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


async def test_a_denied_request_is_not(world: World) -> None:
    await world.call("POST", PATH, request("eve", pem("eve")[0]))
    assert (await world.approve("eve", kind="Denied"))[0] == 200
    status, answer = await world.approve("eve")
    assert (status, "updates may not remove a condition" in answer["message"]) == (422, True)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"usages": ["client auth", "server auth"]}, "invalid usage for client certificate"),
        ({"signerName": f"{SIGNER}-kubelet"}, "subject organization is not system:nodes"),
    ],
)
async def test_what_the_signer_refuses(world: World, spec: Any, message: str) -> None:
    await world.call("POST", PATH, request("x", pem("x")[0], **spec))
    await world.approve("x")
    failed = (await world.decided("x"))["conditions"][-1]
    assert (failed["type"], failed["reason"]) == ("Failed", "SignerValidationFailure")
    assert message in failed["message"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"request": "bm8="}, "PEM block type must be CERTIFICATE REQUEST"),
        ({"usages": []}, "usages are required"),
        ({"usages": ["x"]}, "Unsupported value"),
        ({"signerName": ""}, "spec.signerName: Required value"),
        ({"signerName": "x"}, "must be a fully qualified domain and path"),
        ({"expirationSeconds": 599}, "may not specify a duration less than 600 seconds"),
    ],
)
async def test_what_is_no_request(world: World, spec: Any, message: str) -> None:
    status, answer = await world.call("POST", PATH, request("x", pem("x")[0], **spec))
    assert (status, message in answer["message"]) == (422, True), answer


async def test_nobody_becomes_a_master(world: World) -> None:
    status, answer = await world.call("POST", PATH, request("x", pem("x", "system:masters")[0]))
    assert (status, "with system:masters group is not allowed" in answer["message"]) == (403, True)


async def test_approving_takes_two_rights(world: World) -> None:
    await world.call("POST", PATH, request("x", pem("x")[0]))
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    rule = {
        "verbs": ["update"],
        "apiGroups": ["certificates.k8s.io"],
        "resources": ["certificatesigningrequests/approval"],
    }
    await world.call("POST", f"{rbac}/clusterroles", {"metadata": {"name": "r"}, "rules": [rule]})
    subjects = [{"kind": "User", "name": "bob", "apiGroup": "rbac.authorization.k8s.io"}]
    for name in ("r", f"system:certificates.k8s.io:{SIGNER.partition('/')[2]}-approver"):
        reference = {"kind": "ClusterRole", "name": name, "apiGroup": "rbac.authorization.k8s.io"}
        if name != "r":
            status, answer = await world.approve("x", "bob")
            assert (status, f'not permitted to approve requests with signerName "{SIGNER}"' in answer["message"]) == (
                403,
                True,
            )
        body = {"metadata": {"name": name}, "roleRef": reference, "subjects": subjects}
        assert (await world.call("POST", f"{rbac}/clusterrolebindings", body))[0] == 201
    assert (await world.approve("x", "bob"))[0] == 200
