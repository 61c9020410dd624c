"""How the service proxy scales: loading, changing and connecting, in a network namespace of its own.

    python bench/services.py [services] [endpoints per service]

Needs root and nft.  Everything is measured through the room's own loop, on real kernel rules.
"""

import asyncio
import gc
import io
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from fairway.engine.serviceproxy import controller
from fairway.engine.serviceproxy.config import Config
from fairway.engine.serviceproxy.nftables import KernelNftables
from fairway.kube.api.services import EndpointSlice, Service
from fairway.kube.reconcile.cache import Cache
from fairway.toolkit import linux

CHANGES = 200
CONNECTS = 2000
NODE = (
    "ip link set lo up",
    "ip link add node0 type bridge",
    "ip addr add 10.42.0.1/16 dev node0",
    "ip link set node0 up",
    "ip route add 10.96.0.0/12 dev node0",
)


def address(network: int, number: int) -> str:
    """The number-th address of 10.<network>.0.0/12."""
    return f"10.{network + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def service(number: int) -> dict[str, Any]:
    spec = {"clusterIP": address(96, number + 1), "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    return {"metadata": {"name": f"s{number}", "namespace": "default"}, "spec": spec}


def endpoint_slice(number: int, count: int, shift: int = 0, local: bool = False) -> dict[str, Any]:
    first = number * count + shift
    addresses = ["10.42.0.1"] if local else [address(48, first + each + 1) for each in range(count)]
    return {
        "metadata": {
            "name": f"s{number}-x",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": f"s{number}"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [each], "conditions": {"ready": True}} for each in addresses],
        "ports": [{"name": "http", "port": 8080}],
    }


class Bench:
    """A filled cluster and its proxy."""

    def __init__(self, services: int, endpoints: int) -> None:
        self.services: Cache[Service] = Cache(Service)
        self.slices = Cache(EndpointSlice, {"service": controller.slice_index})
        self.count, self.endpoints = services, endpoints
        for number in range(services):
            self.services.apply(service(number))
            self.slices.apply(endpoint_slice(number, endpoints, local=number == 0))
        self.kernel = KernelNftables(Config(service_cidr="10.96.0.0/12"))
        self.proxy = controller.ServiceProxy(
            self.services, self.slices, self.kernel, Config(service_cidr="10.96.0.0/12")
        )

    async def load(self) -> float:
        return await timed(self.proxy.once)

    async def adopt(self) -> float:
        """What a restarted engine does with rules that are in force."""
        fresh = controller.ServiceProxy(self.services, self.slices, self.kernel, Config(service_cidr="10.96.0.0/12"))
        return await timed(fresh.once)

    async def change(self) -> list[float]:
        """One endpoint of one Service exchanged, from the watch event to the committed transaction."""
        times = []
        for round_number in range(CHANGES):
            number = 1 + round_number % (self.count - 1)
            raw = endpoint_slice(number, self.endpoints)
            raw["endpoints"][0]["addresses"] = [f"10.64.{round_number >> 8}.{round_number & 255}"]
            start = time.perf_counter()
            self.slices.apply(raw)
            await self.proxy.once()
            times.append(time.perf_counter() - start)
        return times

    async def idle(self) -> float:
        """A pass that only asks whether somebody else wrote rules."""
        return statistics.median([await timed(self.proxy.once) for _ in range(50)])


async def timed(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    await call()
    return time.perf_counter() - start


def connects(host: str, port: int) -> list[float]:
    times = []
    for _ in range(CONNECTS):
        start = time.perf_counter()
        with socket.create_connection((host, port)):
            times.append(time.perf_counter() - start)
    return times


def accept_forever(listener: socket.socket) -> None:
    while True:
        listener.accept()[0].close()


def quantiles(times: list[float], scale: float) -> str:
    ordered = sorted(times)
    middle, late = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    return f"p50 {middle * scale:.2f}  p99 {late * scale:.2f}"


async def measure(services: int, endpoints: int) -> None:
    bench = Bench(services, endpoints)
    gc.collect()
    gc.freeze()
    row = f"{services} x {endpoints}"
    print(f"{row:14} load from nothing              {await bench.load():.3f} s")
    print(f"{row:14} adopt after a restart          {await bench.adopt():.3f} s")
    print(f"{row:14} pass without a change          {await bench.idle() * 1e3:.2f} ms")
    print(f"{row:14} one endpoint changed           {quantiles(await bench.change(), 1e3)} ms")
    direct, through = connects("10.42.0.1", 8080), connects(address(96, 1), 80)
    ratio = statistics.median(through) / statistics.median(direct)
    print(f"{row:14} connect to the pod             {quantiles(direct, 1e6)} us")
    print(f"{row:14} connect to the ClusterIP       {quantiles(through, 1e6)} us   ratio {ratio:.2f}")
    bench.kernel.close()


async def main(services: int, endpoints: int) -> None:
    linux.unshare(linux.CLONE_NEWNET)
    for command in NODE:
        subprocess.run(command.split(), check=True)
    controller.log.stream = io.StringIO()
    listener = socket.create_server(("10.42.0.1", 8080), backlog=1024)
    threading.Thread(target=accept_forever, args=(listener,), daemon=True).start()
    for count in sorted({10, min(1000, services), services}):
        await measure(count, endpoints)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"memory at its highest: this process {own:.0f} MB (objects included), nft {child:.0f} MB")


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:]]
    asyncio.run(main(*(numbers + [10_000, 3][len(numbers) :])))
