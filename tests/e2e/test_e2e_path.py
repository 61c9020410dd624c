"""Each link of the path: addresses, DNS, Services, hosts and paths, endings, images from a registry."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import browse
import manifests
import pytest
from cluster import Cluster
from oci_registry import image, layer, registry

from fairway.toolkit.oci import documents

pytestmark = pytest.mark.real


@pytest.fixture
def clean(fairway_cluster: Cluster) -> Iterator[Cluster]:
    yield fairway_cluster
    fairway_cluster.kubectl(
        "delete", "deployment,pod,service,ingress,secret", "--all", "--wait=true", "--grace-period=1"
    )


def pod(name: str, command: str, *, image: str = "busybox", **spec: object) -> str:
    """A pod with one container that runs a shell command."""
    container = {"name": "main", "image": image, "command": ["sh", "-c", command], **dict(spec.pop("container", {}))}  # type: ignore[call-overload]
    return manifests.small("Pod", name, spec={"containers": [container], "restartPolicy": "Never", **spec})


def output(cluster: Cluster, name: str) -> str:
    """The log of a pod that has ended."""
    cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=60s")
    return cluster.kubectl("logs", name)


def reason(cluster: Cluster, name: str, wanted: str) -> dict[str, str]:
    """Wait until a container waits for that reason; its waiting state."""
    for _ in range(300):
        statuses = json.loads(cluster.kubectl("get", "pod", name, "-o", "json"))["status"].get("containerStatuses", [])
        for status in statuses:
            waiting: dict[str, str] = status["state"].get("waiting", {})
            if waiting.get("reason") == wanted:
                return waiting
        time.sleep(0.1)
    raise AssertionError(cluster.kubectl("describe", "pod", name))


def test_names_resolve_and_services_lead_to_ready_pods_only(clean: Cluster) -> None:
    clean.apply(manifests.web("dns"))
    clean.apply(
        manifests.small(
            "Pod",
            "never-ready",
            spec={
                "containers": [
                    {
                        "name": "main",
                        "image": "busybox",
                        "command": ["sh", "-c", "exec sleep 1000"],
                        "readinessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 1},
                    }
                ]
            },
        )
    )
    clean.kubectl("label", "pod/never-ready", "app=dns")
    clean.kubectl("rollout", "status", "deployment/dns", "--timeout=60s")
    names = "dns dns.default dns.default.svc.cluster.local"
    ask = f"for n in {names}; do wget -qO- http://$n/; echo; done; nslookup dns.default.svc.cluster.local | tail -3"
    clean.apply(pod("client", f"for i in 1 2 3 4 5 6 7 8; do {ask}; done"))
    lines = output(clean, "client").splitlines()
    assert lines.count("v1 /") == 24
    address = clean.kubectl("get", "service", "dns", "-o", "jsonpath={.spec.clusterIP}")
    assert f"Address: {address}" in lines
    slices = clean.objects("endpointslices", "-l", "kubernetes.io/service-name=dns")
    ready = [endpoint["conditions"]["ready"] for found in slices for endpoint in found["endpoints"]]
    assert sorted(ready) == [False, True, True]


def test_exact_prefix_and_wildcard_hosts(clean: Cluster) -> None:
    clean.apply(manifests.web("one", version="one"))
    clean.apply(manifests.web("two", version="two"))
    backend = {name: {"service": {"name": name, "port": {"name": "http"}}} for name in ("one", "two")}
    rules = [
        {
            "host": "paths.example.org",
            "http": {
                "paths": [
                    {"path": "/", "pathType": "Prefix", "backend": backend["one"]},
                    {"path": "/exact", "pathType": "Exact", "backend": backend["two"]},
                    {"path": "/deep/er", "pathType": "ImplementationSpecific", "backend": backend["two"]},
                ]
            },
        },
        {
            "host": "*.wild.example.org",
            "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend["two"]}]},
        },
    ]
    ingress = json.loads(manifests.small("Ingress", "paths", spec={"rules": rules}))
    clean.apply(json.dumps({**ingress, "apiVersion": "networking.k8s.io/v1"}))
    for name in ("one", "two"):
        clean.kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")
    browse.until(clean, "paths.example.org", status=200)
    answers = {
        ("paths.example.org", "/exact"): "two /exact",
        ("paths.example.org", "/exact/not"): "one /exact/not",
        ("paths.example.org", "/deep/er/still"): "two /deep/er/still",
        ("a.wild.example.org", "/"): "two /",
        ("PATHS.example.org.", "/"): "one /",
    }
    for (host, path), body in answers.items():
        assert browse.get(clean, host, path).body == body
    assert browse.get(clean, "a.b.wild.example.org").status == 404
    assert browse.get(clean, "wild.example.org").status == 404


def test_a_pod_leaves_rotation_before_it_is_told_to_end(clean: Cluster) -> None:
    clean.apply(manifests.web("leaving", replicas=1))
    clean.kubectl("rollout", "status", "deployment/leaving", "--timeout=60s")
    browse.until(clean, "leaving.example.com", status=200)
    name = clean.kubectl("get", "pods", "-l", "app=leaving", "-o", "jsonpath={.items[0].metadata.name}")
    clean.kubectl("scale", "deployment/leaving", "--replicas=2")
    clean.kubectl("rollout", "status", "deployment/leaving", "--timeout=60s")
    clean.kubectl("delete", "pod", name, "--wait=false")
    removed = told = 0.0
    deadline = time.monotonic() + 60
    while not told and time.monotonic() < deadline:
        slices = clean.objects("endpointslices", "-l", "kubernetes.io/service-name=leaving")
        ready = [e["targetRef"]["name"] for s in slices for e in s["endpoints"] if e["conditions"]["ready"]]
        if name not in ready and not removed:
            removed = time.time()
        log = clean.kubectl("logs", name, check=False)
        told = float(log.partition("SIGTERM ")[2].split()[0]) if "SIGTERM " in log else 0.0
    assert 0 < removed < told


def test_prestop_runs_and_the_grace_period_ends_what_does_not_listen(clean: Cluster) -> None:
    stubborn = {"lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "echo goodbye > /proc/1/fd/1"]}}}}
    command = "trap '' TERM; echo ready; while :; do sleep 1; done"
    clean.apply(pod("stubborn", command, terminationGracePeriodSeconds=3, container=stubborn))
    clean.kubectl("wait", "--for=condition=Ready", "pod/stubborn", "--timeout=60s")
    began = time.monotonic()
    clean.kubectl("delete", "pod", "stubborn", "--wait=true", "--timeout=60s")
    assert time.monotonic() - began >= 2.5
    killing = [event["reason"] for event in clean.objects("events") if event["involvedObject"]["name"] == "stubborn"]
    assert "Killing" in killing


async def test_images_come_from_a_registry(clean: Cluster, tmp_path: Path) -> None:
    async with registry(tmp_path) as server:
        parts = image(layer(busybox=Path("/bin/busybox").read_bytes()), cmd=("/busybox", "echo", "from the registry"))
        await server.push("team/hello", "v1", *parts, media_type=documents.MANIFEST)
        there = {"containers": [{"name": "main", "image": f"{server.host}/team/hello:v1"}], "restartPolicy": "Never"}
        clean.apply(manifests.small("Pod", "pulled", spec=there))
        assert output(clean, "pulled") == "from the registry\n"
        missing = {"containers": [{"name": "main", "image": f"{server.host}/team/nothing:v1"}]}
        clean.apply(manifests.small("Pod", "missing", spec=missing))
        assert f"{server.host}/team/nothing:v1" in reason(clean, "missing", "ErrImagePull")["message"]
        assert "Back-off pulling image" in reason(clean, "missing", "ImagePullBackOff")["message"]


def test_a_container_that_keeps_ending_backs_off(clean: Cluster) -> None:
    clean.apply(pod("crashing", "echo once; exit 3", restartPolicy="Always"))
    waiting = reason(clean, "crashing", "CrashLoopBackOff")
    assert waiting["message"].startswith("back-off 10s restarting failed container=main pod=crashing_default")
    shown = clean.kubectl("get", "pod", "crashing", "--no-headers").split()
    assert shown[2] in ("CrashLoopBackOff", "Error")
    status = json.loads(clean.kubectl("get", "pod", "crashing", "-o", "json"))["status"]["containerStatuses"][0]
    assert status["lastState"]["terminated"]["exitCode"] == 3
    assert status["restartCount"] >= 1


def test_a_failing_liveness_probe_restarts_the_container(clean: Cluster) -> None:
    probe = {"exec": {"command": ["test", "-e", "/tmp/alive"]}, "periodSeconds": 1, "failureThreshold": 1}
    command = "trap 'exit 0' TERM; touch /tmp/alive; sleep 2; rm /tmp/alive; while :; do sleep 0.2; done"
    clean.apply(pod("sick", command, restartPolicy="Always", container={"livenessProbe": probe}))
    for _ in range(200):
        restarts = clean.kubectl("get", "pod", "sick", "-o", "jsonpath={.status.containerStatuses[0].restartCount}")
        if restarts and int(restarts) > 0:
            break
        time.sleep(0.1)
    assert int(restarts) > 0
    messages = [event["message"] for event in clean.objects("events") if event["involvedObject"]["name"] == "sick"]
    assert any("Liveness probe failed" in message for message in messages)
    assert any("failed liveness probe, will be restarted" in message for message in messages)
