"""A running API server in memory, and a client that speaks plain HTTP to it."""

import datetime
import ipaddress
import json
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fairway.engine.apiserver import ApiServer, Config
from fairway.toolkit.clock import FakeClock
from fairway.toolkit.http_client import HttpClient, Response, tcp_connector, unix_connector


class Answer(msgspec.Struct, frozen=True):
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json.get("message"))


class Watching:
    """A watch that is open."""

    def __init__(self, response: Response) -> None:
        self._response = response
        self._lines = response.iter_lines()

    async def next(self) -> Any:
        """The next event."""
        return json.loads(await anext(self._lines))

    async def names(self, count: int) -> list[tuple[str, str]]:
        """(type, name) of the next events."""
        events = [await self.next() for _ in range(count)]
        return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]

    async def rest(self) -> list[Any]:
        """All events until the server ends the stream."""
        return [json.loads(line) async for line in self._lines]

    async def close(self) -> None:
        await self._lines.aclose()  # type: ignore[attr-defined]
        await self._response.aclose()


class Api:
    """The server under test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.socket = folder / "api.sock"
        self.kubelet_socket = folder / "kubelet.sock"
        self.server = ApiServer(
            Config(state_dir=None, unix_socket=self.socket, kubelet_socket=self.kubelet_socket), clock=self.clock
        )
        self.client = HttpClient(unix_connector(self.socket), host_header="local", max_connections=64)
        self.watches: list[Watching] = []

    async def close(self) -> None:
        for watching in self.watches:
            await watching.close()
        await self.client.aclose()
        await self.server.stop()

    async def call(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json", **headers: str
    ) -> Answer:
        """Send a request; a body that is not bytes is encoded as JSON."""
        pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
        if body is not None:
            pairs.append(("Content-Type", content_type))
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = await self.client.request(method, path, headers=pairs, body=body)
        return Answer(response.status, dict(response.headers), await response.read())

    async def get(self, path: str, **headers: str) -> Any:
        answer = await self.call("GET", path, **headers)
        assert answer.status == 200, answer.body
        return answer.json

    async def create(self, path: str, obj: Any, status: int = 201) -> Any:
        answer = await self.call("POST", path, obj)
        assert answer.status == status, answer.body
        return answer.json

    async def put(self, path: str, obj: Any, status: int = 200) -> Any:
        answer = await self.call("PUT", path, obj)
        assert answer.status == status, answer.body
        return answer.json

    async def patch(self, path: str, patch: Any, how: str = "merge-patch+json", status: int = 200) -> Any:
        answer = await self.call("PATCH", path, patch, f"application/{how}")
        assert answer.status == status, answer.body
        return answer.json

    async def delete(self, path: str, options: Any = None, status: int = 200) -> Any:
        answer = await self.call("DELETE", path, options)
        assert answer.status == status, answer.body
        return answer.json

    async def watch(self, path: str, **headers: str) -> Watching:
        pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
        response = await self.client.request("GET", path, headers=pairs, dedicated=True)
        assert response.status == 200, await response.read()
        watching = Watching(response)
        self.watches.append(watching)
        return watching


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    made = Api(tmp_path)
    await made.server.start()
    yield made
    await made.close()


class Authority:
    """A certificate authority in a folder, and what it has signed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _subject("ca")
        self.path = folder / "ca.crt"
        self.path.write_bytes(self._sign(self._name, self._key.public_key(), is_ca=True))

    def issue(self, name: str, *groups: str) -> tuple[Path, Path]:
        """Certificate and key of a user (or, for 127.0.0.1, of a server)."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate, private = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        certificate.write_bytes(self._sign(_subject(name, *groups), key.public_key()))
        plain = serialization.NoEncryption()
        private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
        return certificate, private

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, is_ca: bool = False) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
        builder = (
            builder.serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + day)
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _subject(name: str, *groups: str) -> x509.Name:
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, name)])


class SecureApi:
    """A server on disk, behind TLS."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        certificate, key = self.authority.issue("server")
        sock = socket.create_server(("127.0.0.1", 0))
        self.port: int = sock.getsockname()[1]
        self.server = ApiServer(
            Config(
                state_dir=folder / "state",
                unix_socket=folder / "api.sock",
                kubelet_socket=folder / "kubelet.sock",
                tls_socket=sock,
                tls_cert=certificate,
                tls_key=key,
                client_ca=self.authority.path,
            )
        )

    def client(self, user: str = "", *groups: str) -> HttpClient:
        """A client with a certificate of that user, or with none."""
        context = ssl.create_default_context(cafile=str(self.authority.path))
        if user:
            context.load_cert_chain(*self.authority.issue(user, *groups))
        return HttpClient(tcp_connector("127.0.0.1", self.port, context), host_header="127.0.0.1")


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[SecureApi]:
    made = SecureApi(tmp_path)
    await made.server.start()
    yield made
    await made.server.stop()
