"""The edge beside plain HAProxy and plain nginx, and how long its changes take.

    python bench/edge.py [--rounds N] [--seconds N] [--changes N]

Throughput: each variant has one worker thread and the same static server behind it; wrk keeps 32 connections busy.
The variants take turns, so that a noisy machine is noisy for all of them; the table shows medians. CPU per request is
the proxy's own. Changes: a real API server and the real room in this process, HAProxy beside it.
"""

import argparse
import asyncio
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from fairway import edge as room
from fairway.edge.haproxy import Haproxy
from fairway.edge.ir import Backend, Edge, Forward, Match, PathKind, Route, Server
from fairway.edge.place import place
from fairway.edge.plan import Reload
from fairway.edge.render import Options, render
from fairway.engine.apiserver import ApiServer
from fairway.engine.apiserver import Config as ApiConfig
from fairway.kube.api.resource import ENDPOINT_SLICES, INGRESSES, SERVICES
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
        self._children.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return self._children[-1].pid

    def haproxy(self, name: str, frontend: str, more: str = "") -> tuple[int, int]:
        """A plain one; the port it listens on and its process id."""
        port = free_port()
        path = self.folder / f"{name}.cfg"
        head = f"global\n  nbthread 1\ndefaults\n  mode http\n{LIMITS}frontend f\n  bind 127.0.0.1:{port}\n"
        path.write_text(f"{head}{frontend}\n{more}")
        return port, self.spawn(find().path, "-db", "-f", str(path))

    async def edge(self, name: str, hosts: int, upstream: int) -> Variant:
        """Ours, with that many hosts."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._sockets.append(listener)
        folder = self.folder / name
        process = Process(find(), folder, listeners=(listener.fileno(),))
        self._edges.append(process)
        names = ["a.test", *(f"host-{number}.example.com" for number in range(hosts - 1))]
        routes = tuple(Route(Match(host, "/", PathKind.PREFIX), Forward("n/web:80")) for host in names)
        wanted = Edge(routes, (Backend("n/web:80", (Server("127.0.0.1", upstream),)),))
        desired = render(wanted, place(wanted), Options(http=f"fd@{listener.fileno()}", threads=1))
        await Haproxy(process, folder).apply(Reload(("bench",)), desired)
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
    requests = int(re.search(r"(\d+) requests in", text)[1])  # type: ignore[index]
    variant.rates.append(float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]))  # type: ignore[index]
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
        variants += [
            await stage.edge("Fairway, 1 host", 1, upstream),
            await stage.edge("Fairway, 10,000 hosts", 10_000, upstream),
        ]
        await asyncio.sleep(0.5)
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
    """A cluster of one API server and the room, and a pod."""

    def __init__(self, client: ApiClient, port: int) -> None:
        self._client = client
        self._port = port

    async def status(self, host: str) -> tuple[int, str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            head = (await reader.read()).decode("latin-1")
            return int(head.split()[1]), head.rpartition("\r\n")[2]
        finally:
            writer.close()

    async def until(self, check: Callable[[], Awaitable[bool]]) -> float:
        """Milliseconds until something is so."""
        started = time.perf_counter()
        while not await check():
            await asyncio.sleep(0)
        return (time.perf_counter() - started) * 1000

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

    async def new_ingress(self, host: str) -> float:
        path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}
        spec = {"rules": [{"host": host, "http": {"paths": [path]}}]}
        started = time.perf_counter()
        await self._client.create(INGRESSES, {"metadata": {"name": host, "namespace": "default"}, "spec": spec})

        async def answers() -> bool:
            return (await self.status(host))[0] == 200

        await self.until(answers)
        return (time.perf_counter() - started) * 1000

    async def new_endpoint(self, host: str, port: int, word: str) -> float:
        """From the moment that the API has it."""
        await self._client.apply(ENDPOINT_SLICES, self._slice("web", port), field_manager="bench")

        async def answers() -> bool:
            return (await self.status(host))[1] == word

        return await self.until(answers)


async def changes(folder: Path, count: int) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
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
    config = room.Config(
        run_dir=folder / "run", state_dir=folder / "state", http_fd=listener.fileno(), status_addresses=("127.0.0.1",)
    )
    try:
        async with HttpClient(unix_connector(folder / "api.sock"), host_header="localhost") as http:
            client = ApiClient(http)
            task = asyncio.create_task(room.run(client, config, SystemClock()))
            site = Site(client, listener.getsockname()[1])
            await site.service("web", ports[0])
            await site.new_ingress("first.example.com")
            ingresses = [await site.new_ingress(f"h{number}.example.com") for number in range(count)]
            turns = [(number + 1) % 2 for number in range(count)]
            endpoints = [await site.new_endpoint("first.example.com", ports[turn], words[turn]) for turn in turns]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    finally:
        process = Process(find(), config.run_dir)
        await process.adopt()
        await process.stop()
        await stage.close()
        await server.stop()
        listener.close()
    print(f"{'milliseconds':42}{'p50':>7}{'p99':>7}   aim p50")
    for name, found, aim in (
        ("new Ingress applied -> first 200", ingresses, "< 50"),
        ("endpoint in the API -> first request to it", endpoints, "< 20"),
    ):
        cuts = statistics.quantiles(found, n=100)
        print(f"{name:42}{cuts[49]:7.1f}{cuts[98]:7.1f}   {aim}")


def main() -> None:
    """Run and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--changes", type=int, default=100)
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        subprocess.run(["apt-get", "install", "-y", "-q", "wrk"], check=True, stdout=subprocess.DEVNULL)
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - the room's log lines are not what this is about
    with tempfile.TemporaryDirectory(prefix="fairway-edge-") as folder:
        asyncio.run(throughput(Path(folder), arguments.rounds, arguments.seconds))
        asyncio.run(changes(Path(folder), arguments.changes))


if __name__ == "__main__":
    main()
