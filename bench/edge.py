"""The edge beside plain HAProxy and its peers (see peers/edge_throughput.py), and how long its changes take.

    python bench/edge.py [--rounds N] [--seconds N] [--changes N] [--existing N …]

Changes: a real API server in this process, the edge in another with log and metrics, HAProxy beside.
"""

import argparse
import asyncio
import base64
import contextlib
import os
import re
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop
from cryptography import x509
from peers.edge_throughput import Stage, self_signed
from peers.edge_throughput import run as throughput

from fairway import edge as room
from fairway.engine.apiserver import ApiServer
from fairway.engine.apiserver import Config as ApiConfig
from fairway.kube.api.resource import ENDPOINT_SLICES, INGRESSES, SECRETS, SERVICES
from fairway.kube.client.client import ApiClient
from fairway.toolkit.clock import SystemClock
from fairway.toolkit.haproxy import Process, find
from fairway.toolkit.http_client import HttpClient, unix_connector


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
    texts = zip(("tls.crt", "tls.key"), self_signed(host, serial), strict=True)
    return {field: base64.b64encode(text).decode() for field, text in texts}


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
    if arguments.rounds:
        throughput(arguments.rounds, arguments.seconds)
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - the room's log lines are not what this is about
    with tempfile.TemporaryDirectory(prefix="fairway-edge-") as folder:
        if arguments.changes:
            existing = tuple(arguments.existing)
            uvloop.run(changes(Path(folder), arguments.changes, existing, arguments.services))


if __name__ == "__main__":
    main()
