"""Limits of pods of a whole cluster where cgroup v2 has its controllers: by root, and by a user who was lent some.

`make test-cgroup2` runs it in a virtual machine; it is no part of `make test`, as most machines lack one or the other.
"""

import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cluster
import ordinary_user
import pytest
from cluster import Cluster
from space import Kubectl

from fairway.kube.api import quantities
from fairway.processes.main import main

pytestmark = pytest.mark.real

GROUPS = Path("/sys/fs/cgroup")
MIB = 1 << 20
_HOLD = "head -c 30m /dev/zero > /dev/shm/held; trap 'exit 0' TERM; while :; do sleep 0.5; done"


@pytest.fixture(params=["native", "crun", "runc", "lent"], scope="module")
def limited(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster by each runtime, and one of an ordinary user with what systemd's Delegate=yes lends."""
    controllers = (GROUPS / "cgroup.controllers").read_text().split()
    assert {"cpu", "memory", "pids"} <= set(controllers), "this machine has no cgroup v2 with controllers"
    folder = Path(tempfile.mkdtemp(prefix="fairway-limits-"))
    folder.chmod(0o755)
    image = folder / "image"
    _image(image)
    home = folder / "home"
    home.mkdir()
    instance = cluster.new(home / "state")
    assert main(["image", "build", "-t", "busybox", "--state-dir", str(instance.state_dir), str(image)]) == 0
    if request.param == "lent":
        instance.prefix = (*_lent("fairway-lent"), *ordinary_user.prefix(home, subordinate=True))
        _give(home)
    else:
        instance.flags = (*instance.flags, "--runtime", request.param)
    instance.start()
    yield instance
    instance.stop()
    shutil.rmtree(folder)


def _image(folder: Path) -> None:
    busybox = shutil.which("busybox")
    assert busybox, "install the package busybox-static"
    (folder / "bin").mkdir(parents=True)
    shutil.copy2(busybox, folder / "bin" / "busybox")
    for name in ("sh", "cat", "sleep", "head", "tail", "seq", "id", "wc", "ls", "true"):
        (folder / "bin" / name).symlink_to("busybox")
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY bin /bin\n")


def _give(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, ordinary_user.UID, ordinary_user.UID, follow_symlinks=False)


def _lent(name: str) -> tuple[str, ...]:
    """What to put before a command: it runs in a group that belongs to the ordinary user."""
    place = shlex.quote(f"{GROUPS}/{name}/scope")
    script = f"""
        echo "+cpu +memory +pids" > {GROUPS}/cgroup.subtree_control
        mkdir -p {place}
        echo "+cpu +memory +pids" > {GROUPS}/{name}/cgroup.subtree_control
        (cd {place} && chown {ordinary_user.UID} . cgroup.procs cgroup.threads cgroup.subtree_control)
        echo 0 > {place}/cgroup.procs
        exec "$@"
    """
    return ("sh", "-ec", script, "sh")


def pod(name: str, command: str, resources: dict[str, object]) -> str:
    container = {
        "name": "main",
        "image": "busybox",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", command],
        "resources": resources,
    }
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})


def test_limits_of_pods(limited: Cluster) -> None:
    kubectl = Kubectl(limited, "default")
    limited.apply(pod("greedy", "tail -c 300m /dev/zero", {"limits": {"memory": "24Mi"}}))
    wanted: dict[str, object] = {
        "requests": {"cpu": "100m", "memory": "48Mi"},
        "limits": {"cpu": "500m", "memory": "96Mi"},
    }
    limited.apply(pod("box", _HOLD, wanted))
    limited.apply(pod("idle", _HOLD, {}))
    _node_says_so(limited)
    kubectl("wait", "pod/box", "pod/idle", "--for=condition=Ready", "--timeout=120s")
    _inside(
        kubectl,
        "box",
        {"memory.max": str(96 * MIB), "cpu.max": "50000 100000", "cpu.weight": "4", "memory.oom.group": "1"},
    )
    _inside(kubectl, "idle", {"memory.max": "max", "cpu.max": "max 100000", "cpu.weight": "1"})
    _ended_for_want_of_memory(kubectl)
    _measured(kubectl)
    _resized(kubectl)
    for name in ("greedy", "box", "idle"):
        kubectl("delete", "pod", name, "--timeout=60s")


def _node_says_so(limited: Cluster) -> None:
    (node,) = limited.objects("nodes")
    (condition,) = [each for each in node["status"]["conditions"] if each["type"] == "LimitsEnforced"]
    assert (condition["status"], condition["reason"]) == ("True", "ControlGroupsUsable"), condition


def _inside(kubectl: Kubectl, name: str, files: dict[str, str]) -> None:
    """What a container sees of its group: read-only, and nothing above it."""
    seen = {file: kubectl("exec", name, "--", "cat", f"/sys/fs/cgroup/{file}").strip() for file in files}
    assert seen == files
    assert kubectl("exec", name, "--", "cat", "/proc/self/cgroup").strip() == "0::/"
    refused = kubectl("exec", name, "--", "sh", "-c", "echo max > /sys/fs/cgroup/memory.max", check=False)
    assert "Read-only file system" in refused


def _ended_for_want_of_memory(kubectl: Kubectl) -> None:
    phase = kubectl.until(
        lambda: kubectl.get("pod", "greedy")["status"], lambda it: it["phase"] == "Failed", "OOMKilled"
    )
    ended = phase["containerStatuses"][0]["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def _measured(kubectl: Kubectl) -> None:
    """The metrics API counts what the container holds, and no more than it may have."""

    def memory() -> int:
        path = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods/box"
        answer = kubectl("get", "--raw", path, check=False)
        if not answer.startswith("{"):
            return 0
        return quantities.whole(json.loads(answer)["containers"][0]["usage"]["memory"])

    found = kubectl.until(memory, lambda it: it >= 30 * MIB, "the memory that box holds")
    assert found <= 96 * MIB


def _resized(kubectl: Kubectl) -> None:
    """Up at once and without a restart; down is refused, as Kubernetes 1.33 does."""
    _resize(kubectl, "128Mi")
    wanted = f"{128 * MIB}\n100000 100000\n8\n"
    files = [f"/sys/fs/cgroup/{name}" for name in ("memory.max", "cpu.max", "cpu.weight")]
    kubectl.until(lambda: kubectl("exec", "box", "--", "cat", *files), wanted.__eq__, "the new limits")
    kubectl.until(lambda: _conditions(kubectl), lambda it: "PodResizeInProgress" not in it, "the end of the resize")
    status = kubectl.get("pod", "box")["status"]["containerStatuses"][0]
    assert status["restartCount"] == 0 and status["resources"]["limits"]["memory"] == "128Mi"
    assert "memory limits cannot be decreased unless resizePolicy is RestartContainer" in _resize(kubectl, "64Mi")


def _resize(kubectl: Kubectl, memory: str) -> str:
    """What kubectl says of it."""
    resources = {"requests": {"cpu": "200m", "memory": "16Mi"}, "limits": {"cpu": "1", "memory": memory}}
    patch = {"spec": {"containers": [{"name": "main", "resources": resources}]}}
    return kubectl("patch", "pod", "box", "--subresource=resize", "-p", json.dumps(patch), check=False)


def _conditions(kubectl: Kubectl) -> list[str]:
    return [each["type"] for each in kubectl.get("pod", "box")["status"]["conditions"]]
