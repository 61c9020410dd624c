"""A node as its owner set it up: which folders pods may mount, how many pods it takes, and that many at once.

100 pods; FAIRWAY_MANY_PODS=300 asks for more (`make many-pods`).
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cluster
import pytest
import shared
from cluster import Cluster

pytestmark = pytest.mark.real

MANY = int(os.environ.get("FAIRWAY_MANY_PODS", "100"))
PODS_MAX = 310
SECONDS = 240


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that pods may mount, with a link in it that leads out."""
    folder = tmp_path_factory.mktemp("host")
    allowed, outside = folder / "shared", folder / "outside"
    for each in (allowed, outside, allowed / "folder"):
        each.mkdir(mode=0o755)
    folder.chmod(0o755)
    (allowed / "folder/file").write_text("of the host\n")
    (outside / "secret").write_text("not for pods\n")
    (allowed / "leads-out").symlink_to(outside)
    return allowed


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, host: Path) -> Iterator[Cluster]:
    flags = ("--egress", "none", "--no-delivery", "--allow-privileged", "--max-pods", str(PODS_MAX))
    made = Cluster(
        tmp_path_factory.mktemp("node"),
        *(cluster.free_port() for _ in range(3)),
        flags=(*flags, "--allow-host-path", str(host)),
    )
    shared.bases(made.state_dir, "busybox")
    made.start()
    deadline = time.monotonic() + SECONDS
    while not made.kubectl("get", "serviceaccount", "default", "-o", "name", check=False).startswith("serviceaccount/"):
        assert time.monotonic() < deadline
    yield made
    made.stop()


def pod(name: str, path: str, *, read_only: bool = False, **container: Any) -> dict[str, Any]:
    mount = {"name": "v", "mountPath": "/v", "readOnly": read_only}
    first = {"name": "c", "image": "busybox", "imagePullPolicy": "Never", "command": ["sleep", "100000"], **container}
    spec = {
        "terminationGracePeriodSeconds": 0,
        "containers": [{**first, "volumeMounts": [mount]}],
        "volumes": [{"name": "v", "hostPath": {"path": path}}],
    }
    metadata = {"name": name, "namespace": "default", "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def event(node: Cluster, name: str, reason: str) -> str:
    """The message of a pod's event, once it is there."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        for each in node.objects("events", "--field-selector", f"involvedObject.name={name}"):
            if each["reason"] == reason:
                return str(each["message"])
        time.sleep(0.1)
    raise AssertionError(f"no event {reason} of {name}: {node.kubectl('get', 'events')}")


def test_an_allowed_folder_is_mounted(node: Cluster, host: Path) -> None:
    node.apply(json.dumps(pod("writes", str(host / "folder"))))
    node.apply(json.dumps(pod("reads", str(host), read_only=True)))
    node.kubectl("wait", "--for=condition=Ready", "pod/writes", "pod/reads", "--timeout=60s")
    assert node.kubectl("exec", "writes", "--", "cat", "/v/file") == "of the host\n"
    node.kubectl("exec", "writes", "--", "sh", "-c", "echo of the pod >/v/new")
    assert (host / "folder/new").read_text() == "of the pod\n"
    assert node.kubectl("exec", "reads", "--", "cat", "/v/folder/new") == "of the pod\n"
    refused = node.kubectl("exec", "reads", "--", "sh", "-c", "echo x >/v/folder/file", check=False)
    assert "Read-only file system" in refused
    found = node.kubectl("exec", "reads", "--", "cat", "/v/leads-out/secret", check=False)
    assert "No such file" in found, "a link means what is there in the container"
    node.kubectl("delete", "pod", "writes", "reads", "--timeout=60s")
    assert (host / "folder/file").read_text() == "of the host\n", "what is mounted stays when the pod goes"


def test_what_is_not_allowed_is_refused_with_the_way_to_allow_it(node: Cluster, host: Path) -> None:
    outside = host.parent / "outside"
    for name, path in (("outside", outside), ("link", host / "leads-out"), ("dots", f"{host}/../outside")):
        body = pod(name, str(path))
        if name == "dots":
            refused = node.kubectl("apply", "-f", "-", text=json.dumps(body), check=False)
            assert "must not contain '..'" in refused
            continue
        node.apply(json.dumps(body))
        said = event(node, name, "FailedMount")
        assert f'hostPath "{path}"' in said and f"fairway up --allow-host-path {outside}" in said
        node.kubectl("delete", "pod", name, "--timeout=60s")


def test_a_link_put_in_place_of_a_sub_path_does_not_lead_out(node: Cluster, host: Path) -> None:
    body = pod("below", str(host))
    body["spec"]["containers"][0]["volumeMounts"][0]["subPath"] = "leads-out"
    node.apply(json.dumps(body))
    event(node, "below", "Failed")
    node.kubectl("delete", "pod", "below", "--timeout=60s")
    assert sorted(each.name for each in (host.parent / "outside").iterdir()) == ["secret"]


def test_an_owner_may_allow_privileged_containers(node: Cluster, host: Path) -> None:
    node.apply(json.dumps(pod("strong", str(host), securityContext={"privileged": True})))
    node.kubectl("wait", "--for=condition=Ready", "pod/strong", "--timeout=60s")
    status = dict(
        line.split(":\t")
        for line in node.kubectl(
            "exec", "strong", "--", "grep", "-E", "^(CapEff|Seccomp):", "/proc/1/status"
        ).splitlines()
    )
    assert int(status["CapEff"], 16) >> 21 & 1 and status["Seccomp"] == "0", "CAP_SYS_ADMIN and no filter"
    node.kubectl("delete", "pod", "strong", "--timeout=60s")


@pytest.mark.timeout(600)
def test_many_pods_at_once_come_and_go(node: Cluster) -> None:
    (found,) = node.objects("nodes")
    assert found["status"]["allocatable"]["pods"] == str(PODS_MAX)
    before = _settled(node)
    seconds = _come_and_go(node)
    print(f"{MANY} pods at once: ready after {seconds[0]:.1f} s, gone {seconds[1]:.1f} s after they were deleted")
    deadline = time.monotonic() + 60
    while leftovers(node) != before and time.monotonic() < deadline:
        time.sleep(0.2)
    assert leftovers(node) == before


def _settled(node: Cluster) -> dict[str, Any]:
    """What is there without pods: those of the tests before are gone from the API before the last of them is."""
    deadline = time.monotonic() + SECONDS
    while (found := leftovers(node))["folders"]:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found


def _come_and_go(node: Cluster) -> tuple[float, float]:
    """The seconds until all are ready, and until all are gone."""
    began = time.monotonic()
    pods = [_server(f"many-{number}") for number in range(MANY)]
    node.kubectl("create", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": pods}))
    found = _until(node, lambda pods: sum(_is_ready(each) for each in pods) == MANY)
    came = time.monotonic()
    assert len({each["status"]["podIP"] for each in found}) == MANY
    assert not any(status["restartCount"] for each in found for status in each["status"]["containerStatuses"])
    node.kubectl("delete", "pod", "-l", "app=many", "--wait=false")
    _until(node, lambda pods: not pods)
    return came - began, time.monotonic() - came


def _until(node: Cluster, check: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    deadline = time.monotonic() + SECONDS
    while not check(pods := node.objects("pods", "-l", "app=many")):
        assert time.monotonic() < deadline, node.kubectl("get", "pods,events")
        time.sleep(0.5)
    return pods


def _server(name: str) -> dict[str, Any]:
    """A tiny web server that has to answer before it counts as ready."""
    container = {
        "name": "c",
        "image": "busybox",
        "imagePullPolicy": "Never",
        "command": ["busybox", "httpd", "-f", "-p", "80", "-h", "/etc"],
        "readinessProbe": {"httpGet": {"path": "/hostname", "port": 80}, "periodSeconds": 2, "timeoutSeconds": 10},
    }
    metadata = {"name": name, "namespace": "default", "labels": {"app": "many"}}
    spec = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _is_ready(pod: dict[str, Any]) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", ()))


def leftovers(node: Cluster) -> dict[str, Any]:
    """What pods would leave: shims, folders, links, routes, namespaces, mounts and control groups."""
    inside = ["nsenter", "-t", str(node.engine_pid()), "-n", "-m", "-p"]

    def said(*command: str) -> str:
        return subprocess.run([*inside, *command], check=True, capture_output=True, text=True, timeout=60).stdout

    return {
        "processes": sorted(said("ps", "-e", "-o", "comm=").split().count(each) for each in ("zygote", "busybox")),
        "folders": sorted(
            str(each.relative_to(node.state_dir))
            for place in ("pods", "containers", "logs")
            for each in (node.state_dir / "node" / place).glob("*")
        ),
        "links": len(said("ip", "-o", "link").splitlines()),
        "routes": len(said("ip", "-4", "route", "show", "table", "all").splitlines()),
        "mounts": len(said("cat", "/proc/self/mountinfo").splitlines()),
        "groups": said("sh", "-c", "find /sys/fs/cgroup -type d -path '*fairway*' -name '*pod*' | wc -l").strip(),
    }
