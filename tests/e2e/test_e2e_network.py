"""Ports of the host that lead to Services and pods."""

import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster, free_port, node_port

pytestmark = pytest.mark.real

_POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {app}}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: busybox
    command: [sh, -c, "mkdir -p /www && echo {name} > /www/index.html && exec httpd -f -p 8080 -h /www"]
    ports: [{{containerPort: 8080{host_port}}}]
    readinessProbe: {{tcpSocket: {{port: 8080}}, periodSeconds: 1}}
"""


def pod(name: str, *, app: str = "web", host_port: int = 0) -> str:
    return _POD.format(name=name, app=app, host_port=f", hostPort: {host_port}" if host_port else "")


def service(name: str, *, type: str, port: int = 80, node_port: int = 0, more: str = "") -> str:
    number = f", nodePort: {node_port}" if node_port else ""
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  type: {type}
  selector: {{app: web}}
  ports: [{{port: {port}, targetPort: 8080{number}}}]
  {more}
"""


@pytest.fixture
def clean(fairway_cluster: Cluster) -> Iterator[Cluster]:
    yield fairway_cluster
    fairway_cluster.kubectl("delete", "pod,service", "--all", "--wait=true")


def get(port: int, host: str = "127.0.0.1") -> str:
    """The body of the page at a port of the host, or what the socket said."""
    connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode().strip()
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()


def refused(port: int) -> bool:
    return get(port) == "ConnectionRefusedError"


def until(check: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return found


def answers(port: int, body: str) -> None:
    until(lambda: get(port) == body, f"port {port} does not answer {body}: {get(port)}")


def ingress(cluster: Cluster, name: str) -> list[str]:
    found = json.loads(cluster.kubectl("get", "service", name, "-o", "json"))
    return [each["ip"] for each in found["status"]["loadBalancer"].get("ingress") or ()]


def warnings(cluster: Cluster, name: str) -> str:
    return " ".join(each["message"] for each in cluster.objects("events") if each["involvedObject"]["name"] == name)


def test_node_ports_and_load_balancers_answer_on_the_host(clean: Cluster) -> None:
    outer, inner, balanced = free_port(), node_port(), free_port()
    clean.apply(pod("one", host_port=outer))
    clean.apply(service("node", type="NodePort", node_port=inner))
    clean.apply(service("balanced", type="LoadBalancer", port=balanced))
    clean.kubectl("wait", "--for=condition=Ready", "pod/one", "--timeout=60s")
    for port in (outer, inner, balanced):
        answers(port, "one")
    until(lambda: ingress(clean, "balanced") == ["127.0.0.1"], "still pending")
    clean.kubectl("delete", "service", "node", "balanced", "--wait=true")
    for port in (inner, balanced):
        until(partial(refused, port), f"port {port} is still open")
    assert get(outer) == "one"
    clean.kubectl("delete", "pod", "one", "--wait=true")
    until(partial(refused, outer), "the host port is still open")


def test_a_taken_port_is_reported_and_had_once_it_is_free(clean: Cluster) -> None:
    balanced = free_port()
    clean.apply(pod("one"))
    with socket.socket() as other:
        other.bind(("127.0.0.1", balanced))
        other.listen()
        clean.apply(service("late", type="LoadBalancer", port=balanced))
        until(lambda: f"sport = :{balanced}" in warnings(clean, "late"), "no event")
        assert ingress(clean, "late") == []
        assert "<pending>" in clean.kubectl("get", "service", "late")
    until(lambda: ingress(clean, "late") == ["127.0.0.1"], "still pending")
    clean.kubectl("wait", "--for=condition=Ready", "pod/one", "--timeout=60s")
    answers(balanced, "one")


def test_a_port_belongs_to_the_older_service(clean: Cluster) -> None:
    balanced = free_port()
    clean.apply(pod("one"))
    clean.apply(service("older", type="LoadBalancer", port=balanced))
    until(lambda: ingress(clean, "older"), "pending")
    clean.apply(service("younger", type="LoadBalancer", port=balanced))
    clean.apply(service("own", type="LoadBalancer", port=clean.http))
    until(lambda: "belongs to Service default/older" in warnings(clean, "younger"), "no event")
    until(lambda: "(--http)" in warnings(clean, "own"), "no event")
    assert ingress(clean, "younger") == []
    clean.kubectl("delete", "service", "older")
    until(lambda: ingress(clean, "younger") == ["127.0.0.1"], "the younger one does not follow")


def test_open_connections_and_ports_survive_the_engine(clean: Cluster) -> None:
    first, second = node_port(), node_port()
    clean.apply(pod("one"))
    clean.apply(service("first", type="NodePort", node_port=first))
    clean.kubectl("wait", "--for=condition=Ready", "pod/one", "--timeout=60s")
    answers(first, "one")
    with socket.create_connection(("127.0.0.1", first)) as kept:
        before = clean.engine_pid()
        os.kill(before, signal.SIGKILL)
        until(lambda: clean.engine_pid() != before, "the engine does not come back")
        assert get(first) == "one"
        clean.until_api_answers()
        clean.apply(service("second", type="NodePort", node_port=second))
        answers(second, "one")
        assert get(first) == "one"
        kept.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert kept.recv(4096).startswith(b"HTTP/1.1 200")


def test_no_connection_is_lost_while_ports_come_and_go(clean: Cluster) -> None:
    first = node_port()
    clean.apply(pod("one"))
    clean.apply(service("first", type="NodePort", node_port=first))
    clean.kubectl("wait", "--for=condition=Ready", "pod/one", "--timeout=60s")
    answers(first, "one")
    found: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            found.append(get(first))

    def more(count: int) -> bool:
        return len(found) > count

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for turn in range(5):
            clean.apply(service(f"other-{turn}", type="NodePort"))
            until(partial(more, len(found) + 20), "no answers")
        clean.kubectl("delete", "service", *(f"other-{turn}" for turn in range(5)))
        until(partial(more, len(found) + 20), "no answers")
    finally:
        stop.set()
        thread.join()
    assert set(found) == {"one"}


def test_a_killed_haproxy_is_started_again(clean: Cluster) -> None:
    first = node_port()
    clean.apply(pod("one"))
    clean.apply(service("first", type="NodePort", node_port=first))
    clean.kubectl("wait", "--for=condition=Ready", "pod/one", "--timeout=60s")
    answers(first, "one")
    killed = [pid for pid in haproxies() if listens(pid, first)]
    assert killed
    for pid in killed:  # perhaps one more that was replaced
        os.kill(pid, signal.SIGKILL)
    answers(first, "one")


def haproxies() -> Iterator[int]:
    """The load balancers' processes on this machine."""
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdecimal() and os.readlink(folder / "cwd").endswith("/loadbalancer/root"):
                yield int(folder.name)
        except OSError:
            continue


def listens(pid: int, port: int) -> bool:
    """Whether a process's HAProxy was told to serve a port."""
    try:
        return f"tcp-127.0.0.1-{port}\n" in Path(f"/proc/{pid}/cwd/../haproxy.cfg").read_text()
    except OSError:
        return False  # it is gone, and was of another cluster
