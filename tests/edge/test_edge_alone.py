"""`fairway run edge` beside a cluster that serves no Ingresses: with the rights of docs/run-edge.yaml and no more."""

import base64
import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster import Cluster, free_port

ROOT = Path(__file__).parents[2]
NODE = "10.42.0.1"
SITE = f"""
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{ports: [{{port: 80, targetPort: 8000}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{name: "", port: 8000, protocol: TCP}}]
endpoints: [{{addresses: ["{NODE}"], conditions: {{ready: true}}}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  annotations: {{nginx.ingress.kubernetes.io/proxy-body-size: 1m}}
spec:
  ingressClassName: nginx
  rules:
  - host: web.test
    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]}}
  - host: bad.test
    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: none, port: {{number: 80}}}}}}}}]}}
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    ports = [free_port() for _ in range(3)]
    started = Cluster(tmp_path / "state", *ports, flags=("--egress", "none", "--no-edge"))
    started.start()
    yield started
    started.stop()


def until(check: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if found := check():
                return found
        time.sleep(0.05)
    raise AssertionError(what)


def kubeconfig(cluster: Cluster, path: Path) -> Path:
    """What a person would write for the ServiceAccount of the manifest."""

    def token() -> str:
        return cluster.kubectl(
            "-n", "fairway-edge", "get", "secret", "edge-token", "-o", "jsonpath={.data.token}", check=False
        )

    admin = yaml.safe_load(cluster.kubeconfig.read_text())
    authority = admin["clusters"][0]["cluster"]["certificate-authority-data"]
    found = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [
            {"name": "c", "cluster": {"server": f"https://{NODE}:6443", "certificate-authority-data": authority}}
        ],
        "users": [{"name": "u", "user": {"token": base64.b64decode(until(token, "no token")).decode()}}],
    }
    path.write_text(yaml.safe_dump(found))
    path.chmod(0o644)
    return path


@pytest.mark.real
def test_two_edges_serve_and_one_writes(cluster: Cluster, tmp_path: Path) -> None:
    cluster.apply((ROOT / "docs" / "run-edge.yaml").read_text())
    cluster.apply(SITE)
    access = kubeconfig(cluster, tmp_path / "edge.kubeconfig")
    (inside,) = (
        int(pid) for pid in Path(f"/proc/{cluster.process.pid}/task/{cluster.process.pid}/children").read_text().split()
    )
    enter = ("nsenter", "-t", str(inside), "-n")
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    running = [subprocess.Popen([*enter, sys.executable, "-m", "http.server", "8000", "--bind", NODE],
                                cwd=ROOT / "docs", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)]  # fmt: skip
    home = Path(f"/tmp/fairway-edge-{os.getpid()}")  # an ordinary user cannot look into the test's own folder
    home.mkdir()
    shutil.chown(home, 65534, 65534)
    shutil.copy(access, home / "kubeconfig")
    folders = {"root": tmp_path / "root", "nobody": home / "state"}
    try:
        for number, (who, folder) in enumerate(folders.items(), 1):
            command = [
                *enter,
                *(nobody if who == "nobody" else ()),
                sys.executable,
                "-m",
                "fairway.processes.main",
                "run",
                "edge",
            ]
            command += ["--kubeconfig", str(home / "kubeconfig"), "--state-dir", str(folder)]
            command += ["--http", f"127.0.0.1:808{number}", "--https", f"127.0.0.1:844{number}"]
            command += ["--status-address", f"192.0.2.{number}"]
            with (tmp_path / f"{who}.log").open("w") as log:
                running.append(subprocess.Popen(command, stdout=log, stderr=log))

        def ask(number: int, host: str) -> str:
            done = subprocess.run([*enter, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Host: {host}",
                                   f"http://127.0.0.1:808{number}/run-edge.yaml"],
                                  capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
            return done.stdout

        logs = "\n".join
        for number in (1, 2):
            until(lambda: ask(number, "web.test") == "200", logs(path.read_text() for path in tmp_path.glob("*.log")))  # noqa: B023
            assert ask(number, "other.test") == "404"

        def status() -> Any:
            found = json.loads(cluster.kubectl("get", "ingress", "web", "-o", "json"))
            return found["status"].get("loadBalancer", {}).get("ingress")

        (address,) = until(status, "no status")
        lease = json.loads(cluster.kubectl("-n", "fairway-edge", "get", "lease", "fairway-edge", "-o", "json"))
        assert lease["spec"]["leaseTransitions"] == 0 and address["ip"] in ("192.0.2.1", "192.0.2.2")

        def told() -> set[str]:
            return {e["reason"] for e in cluster.objects("events") if e["involvedObject"]["kind"] == "Ingress"}

        assert until(told, "no Event") == {"ServiceNotFound"}
        for folder in folders.values():
            top = (sys.executable, "-m", "fairway.processes.main", "edge", "top", "--once", "--interval", "0.1")
            done = subprocess.run(
                [*top, "--state-dir", str(folder)], capture_output=True, text=True, timeout=60, check=False
            )
            assert "web.test" in done.stdout, done.stderr
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(60)
        shutil.rmtree(home)
    assert not [
        line for path in tmp_path.glob("*.log") for line in path.read_text().splitlines() if "level=error" in line
    ]
