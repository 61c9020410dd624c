"""`/proxy`: what monitors read of a node, and pods and services behind the API, as far as one may."""

import json
import math
import time
from pathlib import Path

import pytest
from cluster import Cluster
from prometheus_client.parser import text_string_to_metric_families
from space import Kubectl
from websocket_client import Client

pytestmark = pytest.mark.real

NODE = "/api/v1/nodes/fairway/proxy"
SERVER = r"""
mkdir -p /www/cgi-bin && cd /www && echo hello >index.html && cat >cgi-bin/say <<'END'
#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
echo "$REQUEST_METHOD $QUERY_STRING auth=$HTTP_AUTHORIZATION"
[ "$REQUEST_METHOD" = GET ] || head -c "$CONTENT_LENGTH"
END
cat >/echo <<'END'
#!/bin/sh
while read -r line && [ "$line" != "$(printf '\r')" ]; do :; done
printf 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
exec cat
END
chmod +x cgi-bin/say /echo
busybox nc -ll -p 9000 -e /echo &
until grep -q ":2328 " /proc/net/tcp /proc/net/tcp6; do sleep 0.1; done
cd /www && exec busybox httpd -f -p 8080 -h /www
"""


@pytest.fixture
def web(kubectl: Kubectl) -> Kubectl:
    """A pod `web` with a Service of two ports."""
    container = {"name": "main", "image": "busybox", "imagePullPolicy": "Never", "command": ["sh", "-c", SERVER]}
    container["ports"] = [{"containerPort": 8080}]  # type: ignore[assignment]
    container["readinessProbe"] = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}  # type: ignore[assignment]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"app": "web"}}}
    pod["spec"] = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    kubectl.cluster.kubectl("-n", kubectl.namespace, "apply", "-f", "-", text=json.dumps(pod))
    ports = [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "none", "port": 81, "targetPort": 9999}]
    kubectl.apply("Service", "web", {"selector": {"app": "web"}, "ports": ports}, "v1")
    kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    return kubectl


def test_monitors_read_a_node(web: Kubectl) -> None:
    cluster = web.cluster

    def page(path: str) -> dict[str, list[tuple[dict[str, str], float]]]:
        text = cluster.kubectl("get", "--raw", f"{NODE}/{path}")
        families = list(text_string_to_metric_families(text))
        assert len({family.name for family in families}) == len(families), "each family once"
        found: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in families:
            for sample in family.samples:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return found

    def of_pod(rows: list[tuple[dict[str, str], float]]) -> list[tuple[dict[str, str], float]]:
        return [(labels, value) for labels, value in rows if labels.get("namespace") == web.namespace]

    read = web.until(
        lambda: page("metrics/cadvisor"), lambda page: of_pod(page["container_memory_working_set_bytes"]), "the pod"
    )
    for name in ("container_cpu_usage_seconds_total", "container_memory_working_set_bytes", "container_memory_rss"):
        ((labels, value),) = of_pod(read[name])
        assert (labels["pod"], labels["container"], labels["image"]) == ("web", "main", "busybox")
        assert value >= 0 and math.isfinite(value)
    assert of_pod(read["container_memory_working_set_bytes"])[0][1] > 10_000
    ((labels, before),) = of_pod(read["container_network_receive_bytes_total"])
    assert labels["interface"] == "eth0" and before > 0
    started = of_pod(read["container_start_time_seconds"])[0][1]
    assert 0 <= time.time() - started < 300
    assert ("/", "") in {(labels["id"], labels["pod"]) for labels, _ in read["container_cpu_usage_seconds_total"]}
    resource = page("metrics/resource")
    for name in ("node_cpu_usage_seconds_total", "node_memory_working_set_bytes"):
        assert resource[name][0][1] > 0
    for name in ("container_cpu_usage_seconds_total", "pod_cpu_usage_seconds_total", "pod_memory_working_set_bytes"):
        assert [labels["pod"] for labels, _ in of_pod(resource[name])] == ["web"]
    assert page("metrics")["kubelet_running_pods"][0][1] >= 1
    summary = json.loads(cluster.kubectl("get", "--raw", f"{NODE}/stats/summary"))
    assert summary["node"]["nodeName"] == "fairway" and summary["node"]["memory"]["availableBytes"] > 0
    (stats,) = [pod for pod in summary["pods"] if pod["podRef"]["namespace"] == web.namespace]
    assert stats["network"]["rxBytes"] >= before and stats["containers"][0]["memory"]["workingSetBytes"] > 10_000
    assert cluster.kubectl("get", "--raw", f"{NODE}/healthz") == "ok"
    pods = json.loads(cluster.kubectl("get", "--raw", f"{NODE}/pods"))
    assert pods["kind"] == "PodList" and "web" in {pod["metadata"]["name"] for pod in pods["items"]}


def test_of_a_node_one_sees_what_one_may(web: Kubectl, tmp_path: Path) -> None:
    cluster = web.cluster
    web("create", "serviceaccount", "monitor")
    role = f"monitor-{web.namespace}"
    cluster.kubectl("create", "clusterrole", role, "--verb=get", "--resource=nodes/metrics")
    cluster.kubectl(
        "create", "clusterrolebinding", role, f"--clusterrole={role}", f"--serviceaccount={web.namespace}:monitor"
    )
    config = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json"))
    config["users"][0]["user"] = {"token": web("create", "token", "monitor").strip()}
    path = tmp_path / "config"
    path.write_text(json.dumps(config))

    def read(what: str) -> str:
        return cluster.kubectl("--kubeconfig", str(path), "get", "--raw", what, check=False)

    assert "machine_cpu_cores" in read(f"{NODE}/metrics/cadvisor")
    for what in ("stats/summary", "pods", "healthz", ""):
        assert "orbidden" in read(f"{NODE}/{what}"), what
    place = f"/api/v1/namespaces/{web.namespace}"
    for what in ("pods/web", "services/web:http"):
        assert 'cannot get resource "' in read(f"{place}/{what}/proxy/")
    cluster.kubectl("delete", "clusterrole,clusterrolebinding", role)
    for what in ("exec/x/y/z", "portForward/x/y", "stats", "run/x/y/z", "metrics/../pods", "metrics/../exec/a/b/c"):
        assert "could not find" in cluster.kubectl("get", "--raw", f"{NODE}/{what}", check=False)


def test_pods_and_services_answer_behind_the_api(web: Kubectl) -> None:
    cluster, place = web.cluster, f"/api/v1/namespaces/{web.namespace}"

    def read(what: str) -> str:
        return cluster.kubectl("get", "--raw", f"{place}/{what}", check=False)

    for what in ("pods/web/proxy", "pods/web:8080/proxy/", "pods/http:web:8080/proxy//index.html"):
        assert read(what) == "hello\n", what
    web.until(lambda: read("services/web:http/proxy/"), lambda said: said == "hello\n", "its endpoints")
    for what in ("services/web:http/proxy/", "services/web:80/proxy/", "services/http:web:http/proxy/index.html"):
        assert read(what) == "hello\n", what
    assert read("services/web:http/proxy/cgi-bin/say?a=1&b=2").startswith("GET a=1&b=2 auth=\n"), "no password goes on"
    posted = cluster.kubectl("create", "--raw", f"{place}/pods/web/proxy/cgi-bin/say", "-f", "-", text='{"a": 1}')
    assert posted.startswith("POST ") and posted.endswith('{"a": 1}')
    assert "no endpoints available for service" in read("services/web/proxy/"), "none of its ports is without a name"
    assert "no service port 82 found for service" in read("services/web:82/proxy/")
    assert "error trying to reach service" in read("services/web:none/proxy/")
    assert "invalid pod request" in read("pods/ftp:web:80/proxy/")
    assert 'pods "absent" not found' in read("pods/absent/proxy/")
    assert "could not find" in read("pods/web/proxy/absent")


def test_connections_that_stop_speaking_http_go_on(web: Kubectl) -> None:
    path = f"/api/v1/namespaces/{web.namespace}/pods/web:9000/proxy/socket"
    client = Client(web.cluster.kubeconfig, path)
    assert client.status == 101 and "upgrade: websocket" in client.head.lower()
    client.sock.sendall(b"both ways")
    with client.sock, client.sock.makefile("rb") as answers:
        assert answers.read(9) == b"both ways"


def test_discovery_shows_them(fairway_cluster: Cluster) -> None:
    listed = {
        each["name"]: each for each in json.loads(fairway_cluster.kubectl("get", "--raw", "/api/v1"))["resources"]
    }
    for plural, kind in (("nodes", "Node"), ("pods", "Pod"), ("services", "Service")):
        found = listed[f"{plural}/proxy"]
        assert found["kind"] == f"{kind}ProxyOptions"
        assert found["verbs"] == ["create", "delete", "get", "patch", "update"]
