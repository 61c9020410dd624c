"""UDP ports of the host that lead to Services and pods."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator

import pytest
from cluster import Cluster, free_port, node_port

pytestmark = pytest.mark.real

_SERVER = (
    "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 5300))\n"
    "while True: data, peer = s.recvfrom(65535); s.sendto(sys.argv[1].encode() + b':' + data, peer)"
)
_MANIFESTS = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: echo}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: echo
    image: python
    command: [python3, -c, {server}, {name}]
    ports: [{{containerPort: 5300, protocol: UDP, hostPort: {host_port}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: echo}}
spec:
  type: LoadBalancer
  selector: {{app: echo}}
  ports:
  - {{name: echo, port: {port}, targetPort: 5300, nodePort: {node_port}, protocol: UDP}}
  - {{name: other, port: {port}, targetPort: 5300, protocol: SCTP}}
"""


@pytest.fixture
def clean(fairway_cluster: Cluster) -> Iterator[Cluster]:
    yield fairway_cluster
    fairway_cluster.kubectl("delete", "pod,service", "--all", "--wait=true")


def ask(port: int, data: bytes, seconds: float = 60) -> bytes:
    """Send until an answer comes, from a fresh port each time; nothing when none does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(1)
            sock.connect(("127.0.0.1", port))
            try:
                sock.send(data)
                return sock.recv(65535)
            except OSError:
                time.sleep(0.02)
    return b""


def test_udp_ports_answer_on_the_host_and_serve_on_while_the_engine_restarts(clean: Cluster) -> None:
    port, outer, host_port = free_port(), node_port(), free_port()
    numbers = {"port": port, "node_port": outer, "host_port": host_port}
    clean.apply(_MANIFESTS.format(name="first", server=json.dumps(_SERVER), **numbers))
    for opened in (outer, port, host_port):
        assert ask(opened, b"hello") == b"first:hello", opened
    large = os.urandom(30_000)
    assert ask(outer, large) == b"first:" + large
    events, deadline = ("get", "events", "--field-selector", "involvedObject.kind=Service"), time.monotonic() + 60
    while f"port {port}/SCTP cannot be reached from outside" not in (told := clean.kubectl(*events, "-o", "yaml")):
        assert time.monotonic() < deadline, told
    clean.kubectl("wait", "service/echo", "--for=jsonpath={.status.loadBalancer.ingress[0].ip}", "--timeout=60s")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(60)
        sock.connect(("127.0.0.1", outer))
        sock.send(b"before")
        assert sock.recv(100) == b"first:before"
        os.kill(clean.engine_pid(), signal.SIGKILL)
        sock.send(b"without")  # on the same flow, and no engine is there
        assert sock.recv(100) == b"first:without"
    clean.until_api_answers()
    clean.kubectl("wait", "pod/first", "--for=condition=Ready", "--timeout=60s")
    clean.kubectl("delete", "pod", "first", "--wait=true")
    assert ask(host_port, b"x", seconds=0.5) == b""
    clean.kubectl("delete", "service", "echo")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        deadline = time.monotonic() + 60
        while sock.getsockname()[1] == 0:
            try:
                sock.bind(("127.0.0.1", outer))
            except OSError:
                assert time.monotonic() < deadline, "the port was not given back"
                time.sleep(0.05)
