"""How soon a change is live on a whole cluster: Ingress applied → first 200, pod ready → first request.

    python bench/path.py [--changes N]

The cluster is started for the purpose; requests go to its HTTP port on loopback. A change counts from the moment
at which the API has acknowledged it (a pod: at which a watch shows it ready) to the first 200 that comes back.
"""

import argparse
import asyncio
import http.client
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

import cluster
from cluster import Cluster

from fairway.kube.api import noun
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import INGRESSES, PODS, SERVICES
from fairway.kube.client import kubeconfig
from fairway.kube.client.client import ApiClient


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--changes", type=int, default=50)
    changes = parser.parse_args().changes
    with tempfile.TemporaryDirectory(prefix="fairway-path-") as folder:
        made = cluster.new(Path(folder) / "state")
        command = [sys.executable, "-m", "fairway.processes.main", "image", "build", "--base", "busybox"]
        subprocess.run([*command, "--state-dir", str(made.state_dir)], check=True, stdout=subprocess.DEVNULL)
        made.start()
        try:
            ingresses, pods = asyncio.run(_measure(made, changes))
        finally:
            made.stop()
    print(f"{'milliseconds':34}{'p50':>9}{'p99':>9}    aim   ({changes} changes each)")
    for name, values, aim in (
        ("Ingress applied → first 200", ingresses, "p50 < 50"),
        ("pod ready → first request", pods, "p50 < 20"),
    ):
        ordered = sorted(values)
        print(f"{name:34}{statistics.median(ordered):9.1f}{ordered[int(len(ordered) * 0.99)]:9.1f}    {aim}")


async def _measure(made: Cluster, changes: int) -> tuple[list[float], list[float]]:
    client = kubeconfig.connect(kubeconfig.load(made.kubeconfig))
    await client.create(PODS, _pod("base"))
    await client.create(SERVICES, _service("base"))
    await client.create(INGRESSES, _ingress("base", "base"))
    await asyncio.to_thread(_first_200, made, "base.example.com")
    ingresses = [await _ingress_ms(made, client, number) for number in range(changes)]
    pods = [await _pod_ms(made, client, number) for number in range(changes)]
    return ingresses, pods


async def _ingress_ms(made: Cluster, client: ApiClient, number: int) -> float:
    name = f"site-{number}"
    await client.create(INGRESSES, _ingress(name, "base"))
    began = time.perf_counter()
    await asyncio.to_thread(_first_200, made, f"{name}.example.com")
    return (time.perf_counter() - began) * 1000


async def _pod_ms(made: Cluster, client: ApiClient, number: int) -> float:
    name = f"pod-{number}"
    await client.create(SERVICES, _service(name))
    await client.create(INGRESSES, _ingress(name, name))
    created = await client.create(PODS, _pod(name))
    revision = created["metadata"]["resourceVersion"]
    began = 0.0
    async for event in client.watch(PODS, "default", resource_version=revision, fields=f"metadata.name={name}"):
        if event.type == "MODIFIED" and noun.decode(Pod, event.object).ready:
            began = time.perf_counter()
            break
    await asyncio.to_thread(_first_200, made, f"{name}.example.com")
    elapsed_ms = (time.perf_counter() - began) * 1000
    await client.delete(PODS, name, namespace="default", grace_period_seconds=0)
    return elapsed_ms


def _first_200(made: Cluster, host: str) -> None:
    deadline = time.monotonic() + 30
    connection = http.client.HTTPConnection("127.0.0.1", made.http)
    while time.monotonic() < deadline:
        connection.request("GET", "/", headers={"Host": host})
        answer = connection.getresponse()
        answer.read()
        if answer.status == 200:
            connection.close()
            return
    raise SystemExit(f"{host} never answered 200\n{made.log()}")


def _object(api_version: str, kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", **metadata}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


def _pod(name: str) -> dict[str, Any]:
    command = "mkdir /www && echo hello > /www/index.html && exec httpd -f -h /www -p 8080"
    container = {
        "name": "web",
        "image": "busybox",
        "command": ["sh", "-c", command],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    return _object("v1", "Pod", name, {"containers": [container]}, labels={"app": name})


def _service(name: str) -> dict[str, Any]:
    return _object("v1", "Service", name, {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]})


def _ingress(name: str, service: str) -> dict[str, Any]:
    backend = {"service": {"name": service, "port": {"number": 80}}}
    paths = {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}
    return _object("networking.k8s.io/v1", "Ingress", name, {"rules": [{"host": f"{name}.example.com", "http": paths}]})


if __name__ == "__main__":
    main()
