"""What kubectl is told when quotas, disruption budgets and the scheduler say no."""

import json
import time
from collections.abc import Iterator

import pytest
from cluster import Cluster

pytestmark = pytest.mark.real
_SPACE = "policies"


@pytest.fixture(scope="module")
def space(fairway_cluster: Cluster) -> Iterator[Cluster]:
    fairway_cluster.kubectl("create", "namespace", _SPACE)
    yield fairway_cluster
    fairway_cluster.kubectl("delete", "namespace", _SPACE, "--wait=true")


def pod(name: str, **spec: object) -> str:
    container = {"name": "c", "image": "busybox", "command": ["sleep", "1000"]}
    metadata = {"name": name, "namespace": _SPACE, "labels": {"app": name}}
    given = {"terminationGracePeriodSeconds": 0, "containers": [container], **spec}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": given})


def events(cluster: Cluster, reason: str, name: str) -> str:
    """The messages of a reason about an object, as soon as there is one."""
    selector = f"--field-selector=reason={reason},involvedObject.name={name}"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        said = cluster.kubectl("-n", _SPACE, "get", "events", selector, "-o", "jsonpath={.items[*].message}")
        if said:
            return said
        time.sleep(0.05)
    raise AssertionError(f"no {reason} of {name}")


def test_a_budget_holds_a_drain_back(space: Cluster) -> None:
    space.apply(pod("guarded"))
    space.kubectl("-n", _SPACE, "wait", "pod/guarded", "--for=condition=Ready", "--timeout=60s")
    space.kubectl("-n", _SPACE, "create", "pdb", "guard", "--selector=app=guarded", "--min-available=1")
    counted = "--for=jsonpath={.status.currentHealthy}=1"
    space.kubectl("-n", _SPACE, "wait", "pdb/guard", counted, "--timeout=60s")
    drain = ["drain", "fairway", "--pod-selector=app=guarded", "--force", "--ignore-daemonsets"]
    try:
        said = space.kubectl_until("Cannot evict pod as it would violate the pod's disruption budget.", *drain)
        assert "node/fairway cordoned" in said
        space.apply(pod("late"))
        cordoned = events(space, "FailedScheduling", "late")
        assert "0/1 nodes are available: 1 node(s) were unschedulable." in cordoned
        space.kubectl("-n", _SPACE, "delete", "pdb", "guard")
        assert "pod/guarded evicted" in space.kubectl(*drain, "--timeout=60s")
    finally:
        space.kubectl("uncordon", "fairway")
    space.kubectl("-n", _SPACE, "wait", "pod/late", "--for=condition=Ready", "--timeout=60s")
    space.kubectl("-n", _SPACE, "delete", "pod", "late")


@pytest.mark.parametrize(
    ("name", "spec", "message"),
    [
        (
            "selected",
            {"nodeSelector": {"disk": "ssd"}},
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
        ),
        (
            "huge",
            {
                "containers": [
                    {"name": "c", "image": "busybox", "resources": {"requests": {"cpu": "999", "memory": "9Ti"}}}
                ]
            },
            "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory.",
        ),
        (
            "lonely",
            {
                "affinity": {
                    "podAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": [
                            {
                                "labelSelector": {"matchLabels": {"app": "nobody"}},
                                "topologyKey": "kubernetes.io/hostname",
                            }
                        ]
                    }
                }
            },
            "0/1 nodes are available: 1 node(s) didn't match pod affinity rules.",
        ),
    ],
)
def test_a_pod_that_fits_nowhere_says_why(space: Cluster, name: str, spec: dict[str, object], message: str) -> None:
    space.apply(pod(name, **spec))
    assert message in events(space, "FailedScheduling", name)
    space.kubectl("-n", _SPACE, "delete", "pod", name)


def test_a_taint_keeps_pods_away_until_it_goes(space: Cluster) -> None:
    space.kubectl("taint", "node", "fairway", "for=others:NoSchedule")
    try:
        space.apply(pod("kept-away"))
        said = events(space, "FailedScheduling", "kept-away")
        assert "0/1 nodes are available: 1 node(s) had untolerated taint" in said
    finally:
        space.kubectl("taint", "node", "fairway", "for=others:NoSchedule-")
    space.kubectl("-n", _SPACE, "wait", "pod/kept-away", "--for=condition=Ready", "--timeout=60s")
    space.kubectl("-n", _SPACE, "delete", "pod", "kept-away")


def test_a_quota_refuses_with_the_numbers(space: Cluster) -> None:
    space.kubectl("-n", _SPACE, "create", "quota", "few", "--hard=pods=1")
    deadline = time.monotonic() + 60
    while "pods" not in space.kubectl("-n", _SPACE, "get", "quota", "few", "-o", "jsonpath={.status.used}"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    space.apply(pod("first"))
    said = space.kubectl("apply", "-f", "-", text=pod("second"), check=False)
    assert 'pods "second" is forbidden: exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1' in said
    space.kubectl("-n", _SPACE, "delete", "quota", "few")


def test_a_pod_that_wants_the_host_is_told_the_field(space: Cluster) -> None:
    space.apply(pod("debugger", hostPID=True))
    said = events(space, "FailedCreatePodSandBox", "debugger")
    assert "spec.hostPID is true, which this node refuses" in said
