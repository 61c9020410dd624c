"""Everything about the edge changes for minutes, and no request fails.

    python bench/edge_soak.py [--scale N]

At scale 1: 200 endpoints swapped (the old pod killed), 50 certificates replaced, 20 reloads forced and 1,000 routes
changed, in a mixed order that is always the same, while clients ask without a pause: over connections that they keep,
over TLS, over HTTP/2, with gRPC, over WebSockets that stay open from beginning to end and over some that come and go.
Some ask so rarely that HAProxy and all pods are replaced between two requests on one connection. Ends with 1 if a
request failed. A *stale close* is a request that met a connection which HAProxy had just closed; it is sent again, as
browsers do.
"""

import argparse
import asyncio
import base64
import contextlib
import functools
import random
import socket
import ssl
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import hpack
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from fairway.edge import default_certificate
from fairway.edge.haproxy import Haproxy
from fairway.edge.place import EMPTY, place
from fairway.edge.plan import Reload, plan
from fairway.edge.render import Options, render
from fairway.edge.render.entries import Entries
from fairway.edge.snapshot import Snapshot
from fairway.edge.sources import ByService, Followed
from fairway.edge.translate import Translation, translate
from fairway.edge.translate.classes import CONTROLLER
from fairway.kube.api.config import Secret
from fairway.kube.api.ingresses import Ingress, IngressClass
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.noun import decode
from fairway.kube.api.services import EndpointSlice, Service
from fairway.kube.reconcile.cache import Cache
from fairway.toolkit.haproxy import Process, find
from fairway.toolkit.websocket import accept_key

HOST = "a.test"
RPC_HOST = "rpc.test"
WEB_SOCKET_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Broken = (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError)


class Objects:
    """A cluster in memory."""

    def __init__(self) -> None:
        self.ingresses, self.services = Cache(Ingress), Cache(Service)
        self.slices, self.secrets = Cache(EndpointSlice), Cache(Secret)
        self.trusted = b""
        self._followed = [Followed(cache) for cache in (self.ingresses, self.services, self.secrets)]
        self._by_service = ByService(self.slices)
        metadata = {"name": "c", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}}
        self._class = decode(IngressClass, {"metadata": metadata, "spec": {"controller": CONTROLLER}})

    def take(self) -> Snapshot:
        ingresses, services, secrets = (one.take() for one in self._followed)
        return Snapshot(ingresses, {"c": self._class}, services, self._by_service.take(), secrets)

    def service(self, name: str, *ports: int) -> None:
        """Its pods are on these ports of this machine; one slice each, since they have ports of their own."""
        self.services.apply({"metadata": _meta(name), "spec": {"ports": [{"port": 80}]}})
        old = [key for key in tuple(self.slices.keys()) if key.name.startswith(f"{name}-")]
        for port in ports:
            self.slices.apply(
                {
                    "metadata": {**_meta(f"{name}-{port}"), "labels": {"kubernetes.io/service-name": name}},
                    "addressType": "IPv4",
                    "ports": [{"name": "", "port": port, "protocol": "TCP"}],
                    "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
                }
            )
        for key in old:
            if key.name not in {f"{name}-{port}" for port in ports}:
                self.slices.remove(key)

    def ingress(self, name: str, *rules: tuple[str, str, str], tls: str = "", **annotations: str) -> None:
        """Rules are host, path and Service."""
        found = []
        for host, path, service in rules:
            backend = {"service": {"name": service, "port": {"number": 80}}}
            found.append({"host": host, "http": {"paths": [{"path": path, "pathType": "Prefix", "backend": backend}]}})
        names = {f"nginx.ingress.kubernetes.io/{key.replace('_', '-')}": text for key, text in annotations.items()}
        spec = {"rules": found, "tls": [{"hosts": [rules[0][0]], "secretName": tls}] if tls else []}
        self.ingresses.apply({"metadata": {**_meta(name), "annotations": names}, "spec": spec})

    def certificate(self, serial: int, secret: str = "tls", host: str = HOST) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        start = datetime.now(UTC) - timedelta(hours=1)
        builder = x509.CertificateBuilder(name, name, key.public_key(), serial, start, start + timedelta(days=30))
        made = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        data = {"tls.crt": made.sign(key, SHA256()).public_bytes(Encoding.PEM), "tls.key": private}
        encoded = {field: base64.b64encode(text).decode() for field, text in data.items()}
        if host == RPC_HOST:
            self.trusted = data["tls.crt"]
        self.secrets.apply({"metadata": _meta(secret), "type": "kubernetes.io/tls", "data": encoded})


def _meta(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"}


class Site:
    """The edge's own steps, and a real HAProxy."""

    def __init__(self, folder: Path) -> None:
        self.objects = Objects()
        self.reloads = 0
        self._sockets = [socket.create_server(("127.0.0.1", 0), backlog=512) for _ in range(2)]
        (http, https), self.ports = (
            (one.fileno() for one in self._sockets),
            [int(one.getsockname()[1]) for one in self._sockets],
        )
        self._process = Process(find(), folder, listeners=(http, https))
        self._proxy = Haproxy(self._process, folder)
        default_certificate.load_or_create(folder / "default.pem", datetime.now(UTC))
        self._options = Options(http=f"fd@{http}", https=f"fd@{https}", threads=1, version=self._proxy.version)
        self._last = Translation()
        self._entries = Entries()

    async def apply(self) -> None:
        """One pass of the loop."""
        running = self._proxy.running
        self._last = translate(self.objects.take(), self._last)
        placement = place(self._last.edge, running.placement if running else EMPTY, dynamic=self._proxy.dynamic)
        wanted = self._entries.of(self._last.groups.by_host, placement)
        desired = render(self._last.edge, placement, self._options, running, wanted)
        step = plan(running, desired)
        self.reloads += isinstance(step, Reload)
        await self._proxy.apply(step, desired)

    async def connect(self, protocol: str = "") -> Streams:
        """Plain, or TLS with a protocol."""
        if not protocol:
            return await asyncio.open_connection("127.0.0.1", self.ports[0])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols([protocol])
        return await asyncio.open_connection("127.0.0.1", self.ports[1], ssl=context, server_hostname=HOST)

    async def close(self) -> None:
        await self._process.stop()
        for one in self._sockets:
            one.close()


class Pod:
    """Answers requests, and echoes whatever comes after a change of protocol."""

    def __init__(self) -> None:
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> "Pod":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(*Broken):
            while head := await reader.readuntil(b"\r\n\r\n"):
                if b"pgrade: websocket" in head:
                    accept = f"Sec-WebSocket-Accept: {accept_key(WEB_SOCKET_KEY)}\r\n"
                    change = f"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{accept}\r\n"
                    writer.write(change.encode())
                    while data := await reader.read(4096):
                        writer.write(data)
                    return
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        self._writers.discard(writer)
        writer.close()

    def kill(self) -> None:
        """As a kill -9: the port is closed and connections are reset."""
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()


class Http2:
    """A client that honours GOAWAY to the letter (RFC 9113, 6.8), unlike ready-made ones; a stream at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.going = False
        self._reader, self._writer = reader, writer
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder()
        self._stream = -1
        self._last = 1 << 31
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize())

    async def ask(self) -> str:
        """The status; "" when the server said that it has not looked at the request. Raises ConnectionError."""
        self._stream += 2
        names = ((":method", "GET"), (":path", "/"), (":authority", HOST), (":scheme", "https"))
        head = HeadersFrame(self._stream, self._encoder.encode(names), flags=("END_HEADERS", "END_STREAM"))
        self._writer.write(head.serialize())
        status = ""
        while self._last >= self._stream:
            try:
                frame = await self._frame()
            except asyncio.IncompleteReadError:
                if self.going and not status:
                    return ""
                raise
            if isinstance(frame, HeadersFrame):
                status = dict(self._decoder.decode(frame.data, raw=True))[b":status"].decode()
            if isinstance(frame, RstStreamFrame):
                raise ConnectionResetError(f"stream reset: {frame.error_code}")
            if "END_STREAM" in frame.flags and frame.stream_id == self._stream:
                return status
        return ""

    async def _frame(self) -> Frame:
        frame, length = Frame.parse_frame_header(memoryview(await self._reader.readexactly(9)))
        frame.parse_body(memoryview(await self._reader.readexactly(length)))
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self._writer.write(SettingsFrame(0, flags=("ACK",)).serialize())
        if isinstance(frame, DataFrame) and length:
            self._writer.write(WindowUpdateFrame(0, window_increment=length).serialize())
        if isinstance(frame, GoAwayFrame):
            self.going, self._last = True, frame.last_stream_id
        return frame


class Clients:
    """Those who ask: answers and stale closes by kind, and failures in words."""

    def __init__(self, site: Site) -> None:
        self.answers: Counter[str] = Counter()
        self.stale: Counter[str] = Counter()
        self.failures: list[str] = []
        self._site = site
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Clients":
        kinds: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (4, functools.partial(self._http1, "busy", "", 0.002)),
            (16, functools.partial(self._http1, "mostly idle", "", 0.05)),
            (6, functools.partial(self._http1, "TLS", "http/1.1", 0.02)),
            (4, functools.partial(self._http1, "rarely", "", 1.0)),
            (4, functools.partial(self._http1, "rarely", "http/1.1", 1.0)),
            (4, functools.partial(self._http2, 0.01)),
            (4, functools.partial(self._http2, 1.0)),
            (4, self._web_socket),
            (2, self._short_web_sockets),
            (2, self._grpc),
        ]
        self._tasks = [asyncio.ensure_future(make()) for number, make in kinds for _ in range(number)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    async def more(self, count: int) -> None:
        """Until that many more were answered."""
        goal = self.answers.total() + count
        while self.answers.total() < goal and not any(task.done() for task in self._tasks):
            await asyncio.sleep(0.002)

    async def _http1(self, kind: str, protocol: str, pause_seconds: float) -> None:
        streams, again = None, False
        while not self._stop.is_set():
            used = streams is not None
            reader, writer = streams = streams or await self._site.connect(protocol)
            try:
                writer.write(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                await reader.readexactly(int(head.lower().partition("content-length: ")[2].split()[0]))
            except Broken as error:
                partial = isinstance(error, asyncio.IncompleteReadError) and error.partial
                if used and not again and not partial:
                    self.stale[kind] += 1
                    streams, again = None, True
                    continue
                self.failures.append(f"{kind}: {error!r}")
                streams = None
                continue
            again = False
            self._answered(kind, head.split()[1])
            if "connection: close" in head.lower():
                writer.close()
                streams = None
            await self._pause(pause_seconds)

    def _answered(self, kind: str, status: str) -> None:
        self.answers[kind] += 1
        if status != "200":
            self.failures.append(f"{kind}: {status}")

    async def _http2(self, pause_seconds: float) -> None:
        while not self._stop.is_set():
            reader, writer = await self._site.connect("h2")
            session = Http2(reader, writer)
            try:
                while not self._stop.is_set() and not session.going:
                    status = await session.ask()
                    if status:
                        self._answered("HTTP/2", status)
                        await self._pause(pause_seconds)
                    else:
                        self.stale["HTTP/2"] += 1
            except Broken as error:
                self.failures.append(f"HTTP/2: {error!r}")
            writer.close()

    async def _web_socket(self) -> None:
        """One connection from the beginning to the end; what matters here is the bytes after the change of protocol."""
        try:
            reader, writer = await self._upgraded()
            while not self._stop.is_set():
                await self._echo(reader, writer)
                await self._pause(0.02)
        except Broken as error:
            self.failures.append(f"WebSocket: {error!r}")
            return
        writer.close()

    async def _short_web_sockets(self) -> None:
        """One after the other, so that some begin and end while HAProxy is replaced."""
        try:
            while not self._stop.is_set():
                reader, writer = await self._upgraded()
                for _ in range(10):
                    await self._echo(reader, writer)
                writer.close()
                await self._pause(0.02)
        except Broken as error:
            self.failures.append(f"short WebSocket: {error!r}")

    async def _upgraded(self) -> Streams:
        reader, writer = await self._site.connect()
        writer.write(
            f"GET /ws HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {WEB_SOCKET_KEY}\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head:
            raise ConnectionError(head.decode())
        return reader, writer

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x82\x80abcd")  # an empty binary frame, masked
        if await reader.readexactly(6) == b"\x82\x80abcd":
            self.answers["WebSocket"] += 1

    async def _grpc(self) -> None:
        """The real library on one channel: calls with one answer, and streams both ways."""
        options = (("grpc.ssl_target_name_override", RPC_HOST), ("grpc.default_authority", RPC_HOST))
        credentials = grpc.ssl_channel_credentials(self._site.objects.trusted)
        target = f"127.0.0.1:{self._site.ports[1]}"
        async with grpc.aio.secure_channel(target, credentials, options) as channel:
            once = channel.unary_unary("/soak.Echo/Once", _same, _same)
            stream = channel.stream_stream("/soak.Echo/Stream", _same, _same)
            while not self._stop.is_set():
                try:
                    if await once(b"hello", timeout=60) == b"hello":
                        self.answers["gRPC"] += 1
                    async for _ in stream(iter([b"a"] * 5), timeout=60):
                        self.answers["gRPC stream"] += 1
                except grpc.aio.AioRpcError as error:
                    self.failures.append(f"gRPC: {error.code()} {error.details()}")
                await self._pause(0.02)


def _same(data: bytes) -> bytes:
    return data


async def _once(request: bytes, _: Any) -> bytes:
    return request


async def _stream(requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


async def rpc_server() -> tuple[grpc.aio.Server, int]:
    """A gRPC server that says what it hears, and its port."""
    server = grpc.aio.server()
    handlers = {
        "Once": grpc.unary_unary_rpc_method_handler(_once, _same, _same),
        "Stream": grpc.stream_stream_rpc_method_handler(_stream, _same, _same),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("soak.Echo", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, port


class Soak:
    """The changes; each waits until it is so, and asks."""

    def __init__(self, site: Site, clients: Clients, pods: list[Pod], lasting: Pod) -> None:
        self._site, self._clients, self._pods, self._lasting = site, clients, pods, lasting
        self._number = 0

    async def swap(self) -> None:
        old = self._pods.pop(0)
        self._pods.append(await Pod().start())
        self._site.objects.service("web", *(pod.port for pod in self._pods))
        await self._site.apply()
        await self._clients.more(60)  # what it has is done, as the kubelet sees to before it ends a pod
        old.kill()

    async def replace_certificate(self) -> None:
        self._number += 1
        self._site.objects.certificate(1000 + self._number)
        await self._site.apply()
        _, writer = await self._site.connect("http/1.1")
        found = x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        writer.close()
        if found.serial_number != 1000 + self._number:
            self._clients.failures.append(f"certificate {found.serial_number} instead of {1000 + self._number}")

    async def reload(self) -> None:
        self._number += 1
        self._site.objects.ingress("forced", ("f.test", "/", "web"), upstream_vhost=f"v{self._number}.internal")
        before = self._site.reloads
        await self._site.apply()
        if self._site.reloads == before:
            self._clients.failures.append("no reload where one was to be forced")

    async def change_route(self) -> None:
        self._number += 1
        name = f"r{self._number % 300}"
        if self._site.objects.ingresses.get(ObjectKey("default", name)) and self._number % 2:
            self._site.objects.ingresses.remove(ObjectKey("default", name))
        else:
            self._site.objects.ingress(name, (f"{name}.test", f"/p{self._number}", "web"))
        await self._site.apply()
        await self._clients.more(2)


async def soak(folder: Path, scale: float) -> int:
    """Run it; the exit code."""
    site, pods, lasting = Site(folder), [await Pod().start() for _ in range(2)], await Pod().start()
    site.objects.certificate(1)
    site.objects.service("web", *(pod.port for pod in pods))
    site.objects.service("ws", lasting.port)
    site.objects.ingress("a", (HOST, "/", "web"), (HOST, "/ws", "ws"), tls="tls", ssl_redirect="false")
    rpc, rpc_port = await rpc_server()
    site.objects.certificate(2, "rpc", RPC_HOST)
    site.objects.service("rpc", rpc_port)
    site.objects.ingress("rpc", (RPC_HOST, "/", "rpc"), tls="rpc", backend_protocol="GRPC")
    started = time.monotonic()
    try:
        await site.apply()
        async with Clients(site) as clients:
            await clients.more(100)
            run = Soak(site, clients, pods, lasting)
            kinds = ((200, run.swap), (50, run.replace_certificate), (20, run.reload), (1000, run.change_route))
            steps = [step for number, step in kinds for _ in range(max(1, int(number * scale)))]
            random.Random(5).shuffle(steps)
            for step in steps:
                await step()
            await clients.more(100)
    finally:
        for pod in (*pods, lasting):
            pod.kill()
        await rpc.stop(None)
        await site.close()
    print(f"{len(steps)} changes, {site.reloads - 1} reloads in {time.monotonic() - started:.0f} s")
    for kind, number in clients.answers.items():
        print(f"  {kind:12}{number:8} answered{clients.stale[kind]:6} stale closes")
    print(f"failed: {len(clients.failures)} {Counter(clients.failures).most_common(5) if clients.failures else ''}")
    return 1 if clients.failures else 0


def main() -> None:
    """Run and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fairway-soak-") as folder:
        sys.exit(asyncio.run(soak(Path(folder), arguments.scale)))


if __name__ == "__main__":
    main()
