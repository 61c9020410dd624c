"""Each link of the path: addresses, DNS, Services, hosts and paths, endings, images from a registry."""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import browse
import manifests
import pytest
from cluster import Cluster, kubectls
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
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        statuses = json.loads(cluster.kubectl("get", "pod", name, "-o", "json"))["status"].get("containerStatuses", [])
        for status in statuses:
            waiting: dict[str, str] = status["state"].get("waiting", {})
            if waiting.get("reason") == wanted:
                return waiting
        time.sleep(0.1)
    raise AssertionError(cluster.kubectl("describe", "pod", name))


def said(cluster: Cluster, name: str, text: str) -> None:
    """Wait for an Event about an object: they come after what they are about."""
    deadline = time.monotonic() + 60
    while True:
        messages = [each["message"] for each in cluster.objects("events") if each["involvedObject"]["name"] == name]
        if any(text in message for message in messages):
            return
        assert time.monotonic() < deadline, messages
        time.sleep(0.1)


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
    there = "until wget -qO /dev/null http://dns/; do sleep 0.1; done"
    clean.apply(pod("client", f"{there}; for i in 1 2 3 4 5 6 7 8; do {ask}; done"))
    lines = output(clean, "client").splitlines()
    assert lines.count("v1 /") == 24
    address = clean.kubectl("get", "service", "dns", "-o", "jsonpath={.spec.clusterIP}")
    assert f"Address: {address}" in lines
    deadline = time.monotonic() + 60
    while (found := readiness(clean, "dns")) != [False, True, True]:
        assert time.monotonic() < deadline, found


def readiness(cluster: Cluster, service: str) -> list[bool]:
    """Of each endpoint, those that are not ready first."""
    slices = cluster.objects("endpointslices", "-l", f"kubernetes.io/service-name={service}")
    return sorted(endpoint["conditions"]["ready"] for found in slices for endpoint in found["endpoints"])


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
        assert browse.until(clean, host, path, status=200).body == body
    assert browse.get(clean, "a.b.wild.example.org").status == 404
    assert browse.get(clean, "wild.example.org").status == 404


def test_a_pod_leaves_rotation_before_it_is_told_to_end(clean: Cluster) -> None:
    clean.apply(manifests.web("leaving", replicas=1))
    clean.kubectl("rollout", "status", "deployment/leaving", "--timeout=60s")
    browse.until(clean, "leaving.example.com", status=200)
    name = clean.kubectl("get", "pods", "-l", "app=leaving", "-o", "jsonpath={.items[0].metadata.name}")
    clean.kubectl("scale", "deployment/leaving", "--replicas=2")
    clean.kubectl("rollout", "status", "deployment/leaving", "--timeout=60s")
    uid = clean.kubectl("get", "pod", name, "-o", "jsonpath={.metadata.uid}")
    clean.apply(held(name, uid, ready=True))
    command = [list(kubectls().values())[-1], "logs", "-f", name]
    environment = {**os.environ, "KUBECONFIG": str(clean.kubeconfig)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as log:
        assert log.stdout is not None and log.stdout.readline() == "serving v1\n"
        clean.kubectl("delete", "pod", name, "--wait=false", "--grace-period=600")  # it waits for half of that
        deadline = time.monotonic() + 60
        while name in serving(clean, "leaving"):
            assert time.monotonic() < deadline
        released = time.time()
        clean.apply(held(name, uid, ready=False))
        told = next(line for line in log.stdout if line.startswith("SIGTERM "))  # it may complain of visitors who left
    assert float(told.split()[1]) - released > 0.4, "half a second is left for those who watch"
    clean.kubectl("delete", "endpointslice", "held")


def held(name: str, uid: str, *, ready: bool) -> str:
    """An EndpointSlice by hand: one that keeps a pod in rotation as long as a test wants it."""
    target = {"kind": "Pod", "name": name, "namespace": "default", "uid": uid}
    made = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "held"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": ready}, "targetRef": target}],
        "ports": [{"port": 80}],
    }
    return json.dumps(made)


def serving(cluster: Cluster, service: str) -> list[str]:
    """The pods that a Service's EndpointSlices show as ready."""
    slices = cluster.objects("endpointslices", "-l", f"kubernetes.io/service-name={service}")
    ends = [endpoint for found in slices for endpoint in found["endpoints"]]
    return [each["targetRef"]["name"] for each in ends if each["conditions"]["ready"]]


def test_prestop_runs_and_the_grace_period_ends_what_does_not_listen(clean: Cluster) -> None:
    stubborn = {"lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "echo goodbye > /proc/1/fd/1"]}}}}
    command = "trap '' TERM; echo ready; while :; do sleep 1; done"
    clean.apply(pod("stubborn", command, terminationGracePeriodSeconds=3, container=stubborn))
    clean.kubectl("wait", "--for=condition=Ready", "pod/stubborn", "--timeout=60s")
    began = time.monotonic()
    clean.kubectl("delete", "pod", "stubborn", "--wait=true", "--timeout=60s")
    assert time.monotonic() - began >= 2.5
    said(clean, "stubborn", "Stopping container main")


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
    pattern = r"back-off [124]0s restarting failed container=main pod=crashing_default"
    assert re.match(pattern, waiting["message"])
    deadline = time.monotonic() + 60
    while (shown := clean.kubectl("get", "pod", "crashing", "--no-headers").split())[2] != "CrashLoopBackOff":
        assert time.monotonic() < deadline, shown  # it runs again for a moment
    status = json.loads(clean.kubectl("get", "pod", "crashing", "-o", "json"))["status"]["containerStatuses"][0]
    assert status["lastState"]["terminated"]["exitCode"] == 3
    assert status["restartCount"] >= 1


def test_a_failing_liveness_probe_restarts_the_container(clean: Cluster) -> None:
    probe = {"exec": {"command": ["test", "-e", "/tmp/alive"]}, "periodSeconds": 1, "failureThreshold": 1}
    command = "trap 'exit 0' TERM; touch /tmp/alive; sleep 2; rm /tmp/alive; while :; do sleep 0.2; done"
    clean.apply(pod("sick", command, restartPolicy="Always", container={"livenessProbe": probe}))
    deadline = time.monotonic() + 60
    path = "jsonpath={.status.containerStatuses[0].restartCount}"
    while int(clean.kubectl("get", "pod", "sick", "-o", path) or 0) < 1:
        assert time.monotonic() < deadline, clean.kubectl("describe", "pod", "sick")
        time.sleep(0.1)
    said(clean, "sick", "Liveness probe failed")
    said(clean, "sick", "failed liveness probe, will be restarted")
