"""HTTPS from the first second: an Ingress with a tls section and nothing else."""

import json
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from cluster import Cluster

from fairway.certificates import authority
from fairway.toolkit import signing

pytestmark = pytest.mark.real

_SITE = """
apiVersion: v1
kind: Pod
metadata: {name: secure, labels: {app: secure}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: busybox
    command: [sh, -c, "mkdir -p /www && echo secure > /www/index.html && exec httpd -f -p 8080 -h /www"]
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: secure}
spec: {selector: {app: secure}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: secure}
spec:
  tls: [{hosts: [secure.test, "*.secure.test"], secretName: secure-tls}]
  rules:
  - host: secure.test
    http: &paths
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: secure, port: {number: 80}}}}
  - {host: "*.secure.test", http: *paths}
"""


def root(cluster: Cluster) -> Path:
    return authority.paths(cluster.state_dir / "pki").certificate


def curl(cluster: Cluster, host: str) -> "subprocess.CompletedProcess[str]":
    resolve = f"{host}:{cluster.https}:127.0.0.1"
    command = ["curl", "-sS", "--max-time", "20", "--cacert", str(root(cluster)), "--resolve", resolve]
    return subprocess.run([*command, f"https://{host}:{cluster.https}/"], capture_output=True, text=True, check=False)


def trust(cluster: Cluster, *flags: str) -> str:
    command = [sys.executable, "-m", "fairway.processes.main", "trust", "--print", *flags]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_sites_are_trusted_and_the_api_does_not_trust_their_authority(fairway_cluster: Cluster) -> None:
    cluster = fairway_cluster
    cluster.apply(_SITE)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/secure", "--timeout=60s")
    cluster.kubectl("wait", "--for=create", "secret/secure-tls", "--timeout=30s")
    for host in ("secure.test", "any.secure.test"):
        while (done := curl(cluster, host)).returncode == 60 or "503" in done.stdout:
            pass  # the edge takes the Secret in
        assert (done.returncode, done.stdout) == (0, "secure\n"), done.stderr
    assert trust(cluster, "--state-dir", str(cluster.state_dir)) == root(cluster).read_text()
    reasons = {event["reason"] for event in cluster.objects("events") if event["involvedObject"]["name"] == "secure"}
    assert "CertificateIssued" in reasons
    assert signing.fingerprint(root(cluster).read_bytes()) != signing.fingerprint(
        (cluster.state_dir / "pki" / "ca.crt").read_bytes()
    )
    secret = json.loads(cluster.kubectl("get", "secret", "secure-tls", "-o", "json"))
    assert secret["metadata"]["annotations"]["certificates.fairway.dev/hosts"] == "*.secure.test,secure.test"
    cluster.kubectl("delete", "ingress/secure", "service/secure", "pod/secure", "secret/secure-tls")


def test_other_names_get_a_certificate_of_the_same_authority(fairway_cluster: Cluster) -> None:
    context = ssl.create_default_context(cafile=root(fairway_cluster))
    for name in ("localhost", "127.0.0.1"):
        with socket.create_connection(("127.0.0.1", fairway_cluster.https), 20) as plain:
            context.wrap_socket(plain, server_hostname=name).close()
