"""The room with a real API server, and in front of it a real HAProxy under TLS load."""

import asyncio
import base64
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509

from fairway import certificates, edge
from fairway.engine.apiserver import ApiServer
from fairway.engine.apiserver import Config as ApiConfig
from fairway.kube.api.resource import ENDPOINT_SLICES, EVENTS, INGRESS_CLASSES, INGRESSES, SECRETS, SERVICES
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound
from fairway.toolkit.clock import Clock, SystemClock
from fairway.toolkit.haproxy import Process, find
from fairway.toolkit.http_client import HttpClient, unix_connector

LABEL = "certificates.fairway.dev/issuer"
Raw = dict[str, Any]


def ingress(name: str, *hosts: str, secret: str = "site-tls", service: str = "web") -> Raw:
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 80}}}}
    spec: Raw = {
        "ingressClassName": "nginx",
        "rules": [{"host": host, "http": {"paths": [path]}} for host in hosts if not host.startswith("a" * 64)],
    }
    if secret:
        spec["tls"] = [{"hosts": list(hosts), "secretName": secret}]
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta, "spec": spec}


def for_each(name: str, *hosts: str) -> Raw:
    """A Secret for each host, called as the host."""
    made = ingress(name, *hosts, secret="")
    return {**made, "spec": {**made["spec"], "tls": [{"hosts": [one], "secretName": f"{one}-tls"} for one in hosts]}}


def tls_secret(name: str, **meta: Any) -> Raw:
    data = {"tls.crt": base64.b64encode(b"mine").decode(), "tls.key": base64.b64encode(b"mine").decode()}
    metadata = {"name": name, "namespace": "default", **meta}
    return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "data": data}


def names(secret: Raw) -> list[str]:
    certificate = x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["tls.crt"]))
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return sorted(found.get_values_for_type(x509.DNSName))


class World:
    """An API and the room; the edge is started by those who need it."""

    def __init__(self, client: ApiClient, folder: Path) -> None:
        self.client = client
        self.folder = folder
        self.config = certificates.Config(authority_dir=folder / "pki")
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, config: certificates.Config | None = None, clock: Clock | None = None) -> "asyncio.Task[None]":
        run = certificates.run(self.client, config or self.config, clock or SystemClock())
        self._tasks.append(asyncio.create_task(run))
        return self._tasks[-1]

    def start_edge(self, https: socket.socket) -> None:
        config = edge.Config(self.folder / "run", self.folder / "state", https_fd=https.fileno(), threads=1)
        self._tasks.append(asyncio.create_task(edge.run(self.client, config, SystemClock())))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def until(self, check: Callable[[], Awaitable[Any]]) -> Any:
        async with asyncio.timeout(60):
            while True:
                try:
                    if found := await check():
                        return found
                except (NotFound, OSError, EOFError):
                    pass
                await asyncio.sleep(0.005)

    async def secret(
        self, name: str = "site-tls", *, hosts: list[str] | None = None, other_than: Raw | None = None
    ) -> Raw:
        """The Secret once it is there, for these hosts, and with another certificate than before."""

        async def check() -> Any:
            found = await self.client.get(SECRETS, name, "default")
            fits = hosts is None or names(found) == hosts
            fresh = other_than is None or found["data"]["tls.crt"] != other_than["data"]["tls.crt"]
            return found if fits and fresh else None

        found: Raw = await self.until(check)
        return found

    async def event(self, reason: str) -> Raw:
        async def check() -> Any:
            events = (await self.client.list(EVENTS, "default")).items
            return next((event for event in events if event["reason"] == reason), None)

        found: Raw = await self.until(check)
        return found


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    server = ApiServer(ApiConfig(state_dir=None, unix_socket=tmp_path / "api.sock", kubelet_socket=tmp_path / "none"))
    await server.start()
    async with HttpClient(unix_connector(tmp_path / "api.sock"), host_header="localhost") as http:
        made = World(ApiClient(http), tmp_path)
        for name in ("fairway", "nginx"):
            raw: Raw = {"metadata": {"name": name}, "spec": {"controller": "fairway.dev/ingress"}}
            raw |= {"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass"}
            await made.client.create(INGRESS_CLASSES, raw)
        yield made
        await made.stop()
    await server.stop()


async def test_an_ingress_gets_its_certificate(world: World) -> None:
    world.start()
    await world.client.create(INGRESSES, ingress("site", "*.corp.com", "www.corp.com"))
    secret = await world.secret()
    assert names(secret) == ["*.corp.com", "www.corp.com"]
    assert secret["type"] == "kubernetes.io/tls"
    assert secret["metadata"]["labels"] == {LABEL: "internal"}
    assert secret["metadata"]["annotations"]["certificates.fairway.dev/hosts"] == "*.corp.com,www.corp.com"
    assert "ownerReferences" not in secret["metadata"]
    assert base64.b64decode(secret["data"]["ca.crt"]) == (world.folder / "pki" / "web-ca.crt").read_bytes()
    event = await world.event("CertificateIssued")
    assert event["message"].startswith("Secret site-tls holds a certificate for *.corp.com, www.corp.com until 20")


async def test_hosts_that_change_get_another_one(world: World) -> None:
    world.start()
    await world.client.create(INGRESSES, ingress("one", "a.test"))
    await world.secret(hosts=["a.test"])
    await world.client.create(INGRESSES, ingress("two", "b.test"))
    await world.secret(hosts=["a.test", "b.test"])
    await world.client.apply(INGRESSES, ingress("two", "c.test"), field_manager="test")
    await world.secret(hosts=["a.test", "c.test"])
    await world.client.delete(INGRESSES, "one", namespace="default")
    await world.secret(hosts=["c.test"])


async def test_a_deleted_secret_comes_back(world: World) -> None:
    world.start()
    await world.client.create(INGRESSES, ingress("site", "a.test"))
    first = await world.secret()
    await world.client.delete(SECRETS, "site-tls", namespace="default")
    await world.secret(other_than=first)


@pytest.mark.parametrize("meta", [{}, {"labels": {LABEL: "internal"}}])
async def test_what_a_person_made_is_never_touched(world: World, meta: Raw) -> None:
    made = await world.client.create(SECRETS, tls_secret("site-tls", **meta))
    world.start()
    await world.client.create(INGRESSES, ingress("site", "a.test"))
    await world.client.create(INGRESSES, ingress("next", "b.test", secret="next-tls"))
    await world.secret("next-tls")
    await world.client.apply(INGRESSES, ingress("site", "c.test"), field_manager="test")
    await world.client.apply(INGRESSES, ingress("next", "d.test", secret="next-tls"), field_manager="test")
    await world.secret("next-tls", hosts=["d.test"])
    assert await world.client.get(SECRETS, "site-tls", "default") == made


async def test_a_person_may_take_a_secret_over(world: World) -> None:
    world.start()
    await world.client.create(INGRESSES, ingress("site", "a.test"))
    await world.secret()
    theirs = {"data": {"tls.crt": base64.b64encode(b"theirs").decode()}}
    await world.client.patch(SECRETS, "site-tls", theirs, namespace="default")
    await world.client.apply(INGRESSES, ingress("site", "b.test"), field_manager="test")
    await world.client.create(INGRESSES, ingress("next", "c.test", secret="next-tls"))
    await world.secret("next-tls")
    found = await world.client.get(SECRETS, "site-tls", "default")
    assert found["data"]["tls.crt"] == theirs["data"]["tls.crt"]


async def test_bad_hosts_and_wishes_without_a_secret_are_events(world: World) -> None:
    world.start()
    bad = f"{'a' * 64}.test"
    await world.client.create(INGRESSES, ingress("site", "good.test", bad))
    await world.secret(hosts=["good.test"])
    assert bad in (await world.event("InvalidHost"))["message"]
    wish = ingress("wish", "wish.test", secret="")
    wish["metadata"]["annotations"] = {"kubernetes.io/tls-acme": "true"}
    await world.client.create(INGRESSES, wish)
    assert "secretName wish-tls" in (await world.event("NoSecretName"))["message"]


async def test_a_new_room_finds_what_the_old_one_made(world: World) -> None:
    world.start()
    await world.client.create(INGRESSES, ingress("site", "a.test"))
    first = await world.secret()
    await world.stop()
    await world.client.create(INGRESSES, ingress("next", "b.test", secret="next-tls"))
    world.start()
    await world.secret("next-tls")
    assert await world.client.get(SECRETS, "site-tls", "default") == first


async def test_on_another_cluster_the_authority_is_a_secret(world: World) -> None:
    world.start(certificates.Config())
    await world.client.create(INGRESSES, ingress("site", "a.test"))
    secret = await world.secret()
    authority = await world.client.get(SECRETS, "fairway-web-ca", "fairway-system")
    assert secret["data"]["ca.crt"] == authority["data"]["tls.crt"]


class Ahead(SystemClock):
    """A minute ahead: by the clocks of others a certificate lasts that much longer, however late it is renewed."""

    def now(self) -> datetime:
        return super().now() + timedelta(minutes=1)


class Load:
    """Clients that keep their connections and check every certificate."""

    def __init__(self, port: int, host: str, ca: Path) -> None:
        self.requests = 0
        self.serials: set[str] = set()
        self._address = port, host
        self._context = ssl.create_default_context(cafile=ca)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        port, host = self._address
        streams = await asyncio.open_connection("127.0.0.1", port, ssl=self._context, server_hostname=host)
        self.serials.add(streams[1].get_extra_info("peercert")["serialNumber"])
        return streams

    async def ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        writer.write(f"GET / HTTP/1.1\r\nHost: {self._address[1]}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(head.partition("content-length: ")[2].split("\r\n")[0]))
        return int(head.split()[1])

    async def keep(self, stop: asyncio.Event) -> None:
        """One connection for all requests: it must not be dropped."""
        reader, writer = await self.connect()
        while not stop.is_set():
            assert await self.ask(reader, writer) == 200
            self.requests += 1
        writer.close()

    async def reconnect(self, stop: asyncio.Event) -> None:
        """A connection for each request: each handshake must succeed."""
        while not stop.is_set():
            reader, writer = await self.connect()
            assert await self.ask(reader, writer) == 200
            self.requests += 1
            writer.close()

    async def trusted(self) -> bool:
        """Whether it answers; an OSError tells why not."""
        reader, writer = await self.connect()
        status = await self.ask(reader, writer)
        writer.close()
        return status == 200


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def service(port: int) -> tuple[Raw, Raw]:
    meta = {"name": "web", "namespace": "default"}
    return (
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"ports": [{"port": 80, "targetPort": port}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**meta, "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "ports": [{"name": "", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
        },
    )


@asynccontextmanager
async def edge_of(world: World) -> AsyncIterator[int]:
    """A real HAProxy for what is in the API, with something that answers behind it; its port."""
    pod = await asyncio.start_server(answer, "127.0.0.1", 0)
    https = socket.create_server(("127.0.0.1", 0), backlog=256)
    web, slices = service(pod.sockets[0].getsockname()[1])
    await world.client.create(SERVICES, web)
    await world.client.create(ENDPOINT_SLICES, slices)
    world.start_edge(https)
    try:
        yield https.getsockname()[1]
    finally:
        await world.stop()
        process = Process(find(), world.folder / "run")
        await process.adopt()
        await process.stop()
        https.close()
        pod.close()


@pytest.mark.real
async def test_renewal_under_load_drops_no_connection_and_fails_no_handshake(world: World) -> None:
    await world.client.create(INGRESSES, ingress("site", "site.test"))
    world.start(msgspec.structs.replace(world.config, lifetime=timedelta(seconds=6)), Ahead())
    await world.secret()
    async with edge_of(world) as port:
        load = Load(port, "site.test", world.folder / "pki" / "web-ca.crt")
        await world.until(load.trusted)
        stop = asyncio.Event()
        clients = [asyncio.create_task(run(stop)) for run in (load.keep, load.keep, load.reconnect)]

        async def renewed() -> bool:
            seen_enough = len(load.serials) >= 3 and load.requests > 100
            return seen_enough or any(client.done() for client in clients)

        await world.until(renewed)
        stop.set()
        await asyncio.gather(*clients)


@pytest.mark.real
async def test_domains_that_come_and_go_are_nothing_to_the_others(world: World) -> None:
    """Also where they had one certificate for all of them before: nobody goes without for a moment."""
    room = world.start()
    await world.client.create(INGRESSES, ingress("site", "a.test", "b.test"))
    await world.client.create(INGRESSES, ingress("spare", "c.test", secret="c.test-tls"))
    await world.secret()
    await world.secret("c.test-tls")
    await world.client.delete(INGRESSES, "spare", namespace="default")
    async with edge_of(world) as port:
        root = world.folder / "pki" / "web-ca.crt"
        load = Load(port, "a.test", root)
        await world.until(load.trusted)
        room.cancel()
        stop = asyncio.Event()
        clients = [asyncio.create_task(run(stop)) for run in (load.keep, load.reconnect)]
        await world.client.apply(INGRESSES, for_each("site", "a.test", "b.test", "c.test"), field_manager="test")
        await world.until(
            Load(port, "c.test", root).trusted
        )  # the edge knows all of it, and most Secrets are not there
        await world.until(Load(port, "b.test", root).trusted)
        assert len(load.serials) == 1
        world.start()

        async def has_its_own() -> bool:
            return len(load.serials) == 2 or any(client.done() for client in clients)

        await world.until(has_its_own)
        own = await world.secret("a.test-tls", hosts=["a.test"])
        await world.client.apply(INGRESSES, for_each("site", "a.test", "d.test"), field_manager="test")
        await world.until(Load(port, "d.test", root).trusted)
        stop.set()
        await asyncio.gather(*clients)
        assert await world.client.get(SECRETS, "a.test-tls", "default") == own
        assert len(load.serials) == 2
