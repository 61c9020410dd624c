"""Answers per second of one core, beside unbound and dnsmasq with the same records, measured by dnsperf.

    python bench/dns.py [seconds per server]

Needs root (a network namespace of its own) and Debian's dnsperf; unbound and dnsmasq-base are measured where they are
installed.  "Per core" counts the processor time that the server itself used, so that a busy machine does not matter.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import uvloop

from fairway.engine.dns.config import Config
from fairway.engine.dns.forward import Forwarder
from fairway.engine.dns.ir import zone
from fairway.engine.dns.records import SERVICE_INDEXES, SLICE_INDEXES, CacheRecords, Namespace
from fairway.engine.dns.server import NameServer, bind, serve
from fairway.kube.api.services import EndpointSlice, Service
from fairway.kube.reconcile.cache import Cache
from fairway.toolkit import linux
from fairway.toolkit.clock import SystemClock

SERVICES = 1000
PORT = 5353
DOMAIN = "default.svc.cluster.local"


class Result(NamedTuple):
    """What dnsperf saw and what the server used."""

    server: str
    answers_per_second: float
    latency_ms: float
    processor_seconds: float
    seconds: float

    @property
    def per_core(self) -> float:
        return self.answers_per_second * self.seconds / max(self.processor_seconds, 0.01)


def cluster_ip(number: int) -> str:
    return f"10.96.{number >> 8}.{number & 255}"


def questions() -> str:
    """What pods ask: each name with A and AAAA, and the misses that search paths make of names outside."""
    lines = []
    for number in range(1, SERVICES):
        lines += [f"s{number}.{DOMAIN} A", f"s{number}.{DOMAIN} AAAA", f"s{number}.{DOMAIN}.{DOMAIN} A"]
        if number % 10 == 0:
            reverse = ".".join(reversed(cluster_ip(number).split(".")))
            lines += [f"_http._tcp.s{number}.{DOMAIN} SRV", f"{reverse}.in-addr.arpa PTR"]
    return "\n".join(lines) + "\n"


async def serve_own() -> None:
    """The room's server with the records."""
    services, slices = Cache(Service, SERVICE_INDEXES), Cache(EndpointSlice, SLICE_INDEXES)
    namespaces: Cache[Namespace] = Cache(Namespace)
    namespaces.apply({"metadata": {"name": "default"}})
    for number in range(1, SERVICES):
        spec = {"clusterIP": cluster_ip(number), "ports": [{"name": "http", "port": 80}]}
        services.apply({"metadata": {"name": f"s{number}", "namespace": "default"}, "spec": spec})
    own = zone("cluster.local", "10.96.0.10", ("10.96.0.0/16", "10.42.0.0/16"), 5)
    records = CacheRecords(services, slices, namespaces)
    udp, tcp = bind("127.0.0.1", PORT)
    await serve(NameServer(own, records, Forwarder(Config(), SystemClock())), udp, tcp)


def unbound(folder: Path) -> list[str]:
    data = [
        "server:",
        " num-threads: 1",
        f" interface: 127.0.0.1@{PORT}",
        " do-daemonize: no",
        ' chroot: ""',
        ' username: ""',
        ' pidfile: ""',
        " use-syslog: no",
        " local-zone: cluster.local. static",
    ]
    for number in range(1, SERVICES):
        name, address = f"s{number}.{DOMAIN}", cluster_ip(number)
        data += [f' local-data: "{name}. 5 IN A {address}"', f' local-data-ptr: "{address} 5 {name}"']
        data += [f' local-data: "_http._tcp.{name}. 5 IN SRV 0 100 80 {name}."']
    path = folder / "unbound.conf"
    path.write_text("\n".join(data) + "\n")
    return ["unbound", "-c", str(path), "-d"]


def dnsmasq(folder: Path) -> list[str]:
    data = [
        "no-resolv",
        "no-hosts",
        "local=/cluster.local/",
        "local-ttl=5",
        "bind-interfaces",
        "no-daemon",
        "user=root",
    ]
    data += ["listen-address=127.0.0.1", f"port={PORT}"]
    for number in range(1, SERVICES):
        name = f"s{number}.{DOMAIN}"
        data += [f"host-record={name},{cluster_ip(number)}", f"srv-host=_http._tcp.{name},{name},80,0,100"]
    path = folder / "dnsmasq.conf"
    path.write_text("\n".join(data) + "\n")
    return ["dnsmasq", "-C", str(path)]


def own(folder: Path) -> list[str]:
    return [sys.executable, __file__, "serve"]


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def answers() -> bool:
    command = ["dnsperf", "-s", "127.0.0.1", "-p", str(PORT), "-n", "1", "-l", "1", "-t", "1"]
    asked = subprocess.run(command, input=f"s1.{DOMAIN} A\n", capture_output=True, text=True)
    return "NOERROR 1 " in asked.stdout


def measure(name: str, command: list[str], data: Path, seconds: int) -> Result:
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, stdout=quiet, stderr=quiet)
    try:
        while not answers():
            if server.poll() is not None:
                raise SystemExit(f"{name} ended with status {server.returncode}")
        before, start = processor_seconds(server.pid), time.monotonic()
        perf = [
            "dnsperf",
            "-s",
            "127.0.0.1",
            "-p",
            str(PORT),
            "-d",
            str(data),
            "-l",
            str(seconds),
            "-c",
            "4",
            "-q",
            "50",
        ]
        output = subprocess.run(perf, capture_output=True, text=True, check=True).stdout
        used, elapsed = processor_seconds(server.pid) - before, time.monotonic() - start
    finally:
        server.kill()
        server.wait()
    return Result(
        name, figure(output, "Queries per second"), figure(output, "Average Latency (s)") * 1e3, used, elapsed
    )


def figure(output: str, name: str) -> float:
    found = re.search(rf"{re.escape(name)}:\s+([0-9.]+)", output)
    if not found:
        raise SystemExit(f"dnsperf did not tell {name!r}")
    return float(found[1])


def main(seconds: int) -> None:
    if not shutil.which("dnsperf"):
        raise SystemExit("dnsperf is missing: apt-get install dnsperf")
    linux.unshare(linux.CLONE_NEWNET)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    servers: dict[str, Callable[[Path], list[str]]] = {"fairway": own, "unbound": unbound, "dnsmasq": dnsmasq}
    print(f"{'server':10} {'answers/s':>10} {'latency ms':>11} {'answers per core second':>24}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "questions"
        data.write_text(questions())
        for server, command in servers.items():
            if server != "fairway" and not shutil.which(server):
                print(f"{server:10} not installed")
                continue
            result = measure(server, command(folder), data, seconds)
            print(f"{server:10} {result.answers_per_second:10.0f} {result.latency_ms:11.2f} {result.per_core:24.0f}")


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        uvloop.install()
        asyncio.run(serve_own())
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
