"""How fast a cluster boots, and how much memory it holds when idle.

    python bench/boot.py [--runs N]

Each run is `fairway up` on a fresh state directory that already has the busybox image: until the API answers, until the
first pod answers a request through the edge, and the proportional set size (PSS) of every process ten seconds later.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

import asyncio

import cluster
import yaml
from cluster import Cluster

from fairway.kube.api.resource import KINDS
from fairway.kube.client import kubeconfig
from fairway.kube.client.errors import Unreachable
from fairway.processes import instance, probe_url

MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: hello, namespace: default, labels: {app: hello}}
spec:
  containers:
  - name: web
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "mkdir /www && echo hello > /www/index.html && exec httpd -f -h /www -p 8080"]
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: hello, namespace: default}
spec: {selector: {app: hello}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: hello, namespace: default}
spec:
  rules:
  - host: hello.example.com
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: hello, port: {number: 80}}}}]}
"""


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory(prefix="fairway-boot-") as folder:
        image = Path(folder) / "image"
        _fairway("image", "build", "--base", "busybox", "--state-dir", str(image))
        results = [_run(Path(folder) / f"run{number}", image) for number in range(runs)]
    print(f"{'':34}{'min':>9}{'median':>9}{'max':>9}    aim   ({runs} runs, {os.cpu_count()} cores)")
    for name, unit, aim in (
        ("api", "s", "< 0.5"),
        ("first request", "s", "< 1.5"),
        ("idle memory, PSS", "MB", "< 120"),
    ):
        values = [result[name] for result in results]
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"{name + ' (' + unit + ')':34}{low:9.2f}{middle:9.2f}{high:9.2f}    {aim}")


def _fairway(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "fairway.processes.main", *arguments], check=True, stdout=subprocess.DEVNULL)


def _run(state_dir: Path, image: Path) -> dict[str, float]:
    shutil.copytree(image, state_dir, symlinks=True)
    made = cluster.new(state_dir)
    command = [sys.executable, "-m", "fairway.processes.main", "up", "--egress", "none", "--state-dir", str(state_dir)]
    for flag, port in (("--http", made.http), ("--https", made.https), ("--api", made.api)):
        command += [flag, f"127.0.0.1:{port}"]
    began = time.monotonic()
    made.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        asyncio.run(_apply(made))
        api_seconds = time.monotonic() - began
        while probe_url.problem("http", instance.Address("127.0.0.1", made.http), "hello.example.com", "/", None):
            time.sleep(0.005)
        first_seconds = time.monotonic() - began
        time.sleep(10)
        return {"api": api_seconds, "first request": first_seconds, "idle memory, PSS": _pss_megabytes(made)}
    finally:
        made.process.terminate()
        made.process.wait(30)


async def _apply(made: Cluster) -> None:
    while True:
        try:
            client = kubeconfig.connect(kubeconfig.load(made.kubeconfig))
            for manifest in yaml.safe_load_all(MANIFEST):
                await client.apply(KINDS[manifest["apiVersion"], manifest["kind"]], manifest, field_manager="bench")
            return
        except (Unreachable, kubeconfig.KubeconfigError):
            await asyncio.sleep(0.005)


def _pss_megabytes(made: Cluster) -> float:
    """Of the launcher and all its descendants: supervisor, engine, zygote, shims, HAProxy, the pod itself."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                parents[int(name)] = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    family = {made.process.pid}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    total_kilobytes = 0
    for pid in family:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total_kilobytes += int(line.split()[1])
    return total_kilobytes / 1024


if __name__ == "__main__":
    main()
