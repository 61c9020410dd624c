"""HTTPS from the first second: an Ingress with a tls section and nothing else."""

import base64
import http.client
import json
import socket
import ssl
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cluster import Cluster

from fairway.certificates import authority
from fairway.certificates.plan import RENEW_AFTER
from fairway.kube.api.issued import CONTENT, content_mark
from fairway.kube.api.meta import timestamp
from fairway.toolkit import signing

pytestmark = pytest.mark.real

_END = "-----END CERTIFICATE-----\n"
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
    command = ["curl", "-sS", "--max-time", "60", "--cacert", str(root(cluster)), "--resolve", resolve]
    return subprocess.run([*command, f"https://{host}:{cluster.https}/"], capture_output=True, text=True, check=False)


def trust(cluster: Cluster, *flags: str) -> str:
    command = [sys.executable, "-m", "fairway.processes.main", "trust", "--print", *flags]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_sites_are_trusted_and_the_api_does_not_trust_their_authority(fairway_cluster: Cluster) -> None:
    cluster = fairway_cluster
    cluster.apply(_SITE)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/secure", "--timeout=60s")
    cluster.kubectl("wait", "--for=create", "secret/secure-tls", "--timeout=60s")
    for host in ("secure.test", "any.secure.test"):
        deadline = time.monotonic() + 60
        while (done := curl(cluster, host)).returncode == 60 or "503" in done.stdout:
            assert time.monotonic() < deadline, done  # the edge takes the Secret in
        assert (done.returncode, done.stdout) == (0, "secure\n"), done.stderr
    assert trust(cluster, "--state-dir", str(cluster.state_dir)) == root(cluster).read_text()
    while "CertificateIssued" not in reasons(cluster, "secure"):
        assert time.monotonic() < deadline, reasons(cluster, "secure")
    assert signing.fingerprint(root(cluster).read_bytes()) != signing.fingerprint(
        (cluster.state_dir / "pki" / "ca.crt").read_bytes()
    )
    secret = json.loads(cluster.kubectl("get", "secret", "secure-tls", "-o", "json"))
    assert secret["metadata"]["annotations"]["certificates.fairway.dev/hosts"] == "*.secure.test,secure.test"
    renew(cluster)
    cluster.kubectl("delete", "ingress/secure", "service/secure", "pod/secure", "secret/secure-tls")


def reasons(cluster: Cluster, name: str) -> set[str]:
    """Of the events about an object."""
    return {event["reason"] for event in cluster.objects("events") if event["involvedObject"]["name"] == name}


class Visitor:
    """One that keeps a connection open, and another that comes anew each time; both want every answer."""

    def __init__(self, cluster: Cluster) -> None:
        self._port = cluster.https
        self._context = ssl.create_default_context(cafile=root(cluster))
        self._context.check_hostname = False  # the address is dialled, the name is asked for below
        self._kept = self._connection()
        self.served = self._ask(self._kept)

    def come(self) -> bytes:
        """What a new connection is shown, once both have been answered."""
        assert self._ask(self._kept) == self.served  # still the connection of before
        fresh = self._connection()
        try:
            return self._ask(fresh)
        finally:
            fresh.close()

    def leave(self) -> None:
        self._kept.close()

    def _connection(self) -> http.client.HTTPConnection:
        plain = socket.create_connection(("127.0.0.1", self._port), 60)
        made = http.client.HTTPConnection("secure.test")
        made.sock = self._context.wrap_socket(plain, server_hostname="secure.test")
        return made

    def _ask(self, connection: http.client.HTTPConnection) -> bytes:
        shown = connection.sock.getpeercert(binary_form=True)
        connection.request("GET", "/")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"secure\n")
        assert connection.sock is not None, "the connection was closed"
        return bytes(shown)


def renew(cluster: Cluster) -> None:
    """A certificate of which two thirds have passed is replaced, and no visitor notices."""
    visitor, now = Visitor(cluster), datetime.now(UTC)
    signer = authority.from_files(cluster.state_dir / "pki", now)
    old = signing.server(signer, ("*.secure.test", "secure.test"), now - timedelta(days=61), timedelta(days=90))
    data = {"tls.crt": base64.b64encode(old.certificate).decode(), "tls.key": base64.b64encode(old.key).decode()}
    mark = {CONTENT: content_mark(data["tls.crt"]), RENEW_AFTER: timestamp(now - timedelta(days=1))}
    patch = json.dumps({"data": data, "metadata": {"annotations": mark}})
    cluster.kubectl("patch", "secret", "secure-tls", "-p", patch)
    due = ssl.PEM_cert_to_DER_cert(old.certificate.decode().partition("-----END CERTIFICATE-----")[0] + _END)
    deadline = time.monotonic() + 60
    while visitor.come() in (visitor.served, due):
        assert time.monotonic() < deadline, "no new certificate"
    visitor.leave()
    fresh = base64.b64decode(cluster.kubectl("get", "secret", "secure-tls", "-o", "jsonpath={.data.tls\\.crt}"))
    assert signing.not_after(fresh) > now + timedelta(days=60)


def test_other_names_get_a_certificate_of_the_same_authority(fairway_cluster: Cluster) -> None:
    context = ssl.create_default_context(cafile=root(fairway_cluster))
    for name in ("localhost", "127.0.0.1"):
        with socket.create_connection(("127.0.0.1", fairway_cluster.https), 60) as plain:
            context.wrap_socket(plain, server_hostname=name).close()
