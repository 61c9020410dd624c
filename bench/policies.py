"""How NetworkPolicies scale: loading and changing, in a network namespace of its own.

    python bench/policies.py [policies, and as many pods]

Needs root and nft.  Everything is measured through the room's own loop, on real kernel rules.
"""

import asyncio
import gc
import io
import statistics
import sys
import time
from typing import Any

from fairway.engine.serviceproxy.policies import controller
from fairway.engine.serviceproxy.policies.gate import Gate
from fairway.engine.serviceproxy.policies.nftables import KernelNftables
from fairway.kube.api.config import Namespace
from fairway.kube.api.networkpolicies import NetworkPolicy
from fairway.kube.api.pods import Pod
from fairway.kube.reconcile.cache import Cache
from fairway.toolkit import linux

CHANGES = 50
NAMESPACES, APPS = 20, 50


def pod(number: int, app: int) -> dict[str, Any]:
    metadata = {"name": f"p{number}", "namespace": f"n{number % NAMESPACES}", "labels": {"app": f"a{app % APPS}"}}
    ports = [{"name": "http", "containerPort": 8080}]
    address = f"10.42.{number // 250 + 1}.{number % 250 + 1}"
    return {"metadata": metadata, "spec": {"containers": [{"name": "x", "ports": ports}]}, "status": {"podIP": address}}


def policy(number: int, port: int) -> dict[str, Any]:
    peers = [
        {"podSelector": {"matchLabels": {"app": f"a{(number + 1) % APPS}"}}},
        {"namespaceSelector": {"matchLabels": {"team": f"t{number % 7}"}}},
        {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.42.0.0/16"]}},
    ]
    names = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}
    spec = {
        "podSelector": {"matchLabels": {"app": f"a{number % APPS}"}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": peers, "ports": [{"port": port}, {"port": "http"}]}],
        "egress": [{"to": [names], "ports": [{"protocol": "UDP", "port": 53}]}],
    }
    return {"metadata": {"name": f"p{number}", "namespace": f"n{number % NAMESPACES}"}, "spec": spec}


class Bench:
    """Filled caches and the loop."""

    def __init__(self, count: int) -> None:
        self.policies, self.pods, self.namespaces = Cache(NetworkPolicy), Cache(Pod), Cache(Namespace)
        self.kernel = KernelNftables("fairway-policy", "10.42.0.1")
        for number in range(NAMESPACES):
            self.namespaces.apply({"metadata": {"name": f"n{number}", "labels": {"team": f"t{number % 7}"}}})
        for number in range(count):
            self.policies.apply(policy(number, 1000 + number))
            self.pods.apply(pod(number, number))
        self.room = self.fresh()

    def fresh(self) -> controller.Policies:
        return controller.Policies(self.policies, self.pods, self.namespaces, self.kernel, 5.0, Gate())

    async def one(self, cache: Cache[Any], raws: list[dict[str, Any]]) -> str:
        """Each applied alone, from the watch event to the committed transaction."""
        times = []
        for raw in raws:
            start = time.perf_counter()
            cache.apply(raw)
            await self.room.once()
            times.append(time.perf_counter() - start)
        return f"p50 {statistics.median(times) * 1e3:.1f}  max {max(times) * 1e3:.1f} ms"


async def passed(room: controller.Policies) -> float:
    start = time.perf_counter()
    await room.once()
    return time.perf_counter() - start


async def measure(count: int) -> None:
    bench = Bench(count)
    gc.collect()
    gc.freeze()
    row = f"{count} x {count}"
    print(f"{row:12} load from nothing        {await passed(bench.room):.3f} s")
    print(f"{row:12} adopt after a restart    {await passed(bench.fresh()):.3f} s")
    bench.room = bench.fresh()
    await bench.room.once()
    changes = range(min(count, CHANGES))
    print(f"{row:12} one policy changed       {await bench.one(bench.policies, [policy(n, 9) for n in changes])}")
    print(f"{row:12} one pod relabelled       {await bench.one(bench.pods, [pod(n, n + 1) for n in changes])}")
    print(f"{row:12} one pod more             {await bench.one(bench.pods, [pod(count + n, n) for n in changes])}")
    bench.kernel.close()


async def main(count: int) -> None:
    linux.unshare(linux.CLONE_NEWNET)
    controller.log.stream = io.StringIO()
    for size in sorted({10, min(100, count), count}):
        await measure(size)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
