"""kubectl logs in all its forms."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cluster import Cluster

pytestmark = pytest.mark.real

NAMESPACE = "logs"


def container(name: str, script: str) -> dict[str, Any]:
    return {"name": name, "image": "busybox", "imagePullPolicy": "Never", "command": ["sh", "-c", script]}


def pod(name: str, *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"app": name.rpartition("-")[2]}}
    spec = {"terminationGracePeriodSeconds": 0, "containers": list(containers), **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def talking(name: str) -> dict[str, Any]:
    """Two containers and one before them, each with its own words."""
    return pod(
        name,
        container("one", f"for i in 1 2 3 4 5; do echo {name}-one-$i; done; exec sleep 100000"),
        container("two", f"echo {name}-two; echo {name}-two-error >&2; exec sleep 100000"),
        initContainers=[container("before", f"echo {name}-before")],
    )


def crashing() -> dict[str, Any]:
    """Each run says how many were before it."""
    main = container("main", "echo run-$(cat /d/n 2>/dev/null); echo x >> /d/n; sleep 0.2; exit 1")
    main["volumeMounts"] = [{"name": "d", "mountPath": "/d"}]
    return pod("crashing", main, volumes=[{"name": "d", "emptyDir": {}}])


def loud() -> dict[str, Any]:
    """25 MB of lines of 40 characters, as soon as somebody listens."""
    waits = "echo first; while [ ! -e /tmp/go ]; do sleep 0.1; done"
    script = f"{waits}; yes {'0123456789' * 4} | head -c 25000000; echo; echo last"
    return pod("loud", container("main", script), restartPolicy="Never")


@pytest.fixture(scope="module")
def logs(fairway_cluster: Cluster) -> Iterator[Cluster]:
    fairway_cluster.kubectl("create", "namespace", NAMESPACE)
    for manifest in (talking("a-logs"), talking("b-logs"), crashing()):
        fairway_cluster.apply(json.dumps(manifest))
    ready = ("--for=condition=Ready", "pod/a-logs", "pod/b-logs", "--timeout=60s")
    fairway_cluster.kubectl("-n", NAMESPACE, "wait", *ready)
    deadline = time.monotonic() + 60
    for name in ("a-logs", "b-logs"):  # what runs has not said everything yet
        while (said := get(fairway_cluster, name, "--all-containers")).count("\n") != 8:
            assert time.monotonic() < deadline, said
    yield fairway_cluster
    fairway_cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=true", "--timeout=120s")


def get(cluster: Cluster, *arguments: str, check: bool = True) -> str:
    return cluster.kubectl("-n", NAMESPACE, "logs", *arguments, check=check)


def test_which_lines(logs: Cluster) -> None:
    assert get(logs, "a-logs", "-c", "one") == "".join(f"a-logs-one-{index}\n" for index in range(1, 6))
    assert get(logs, "a-logs", "-c", "one", "--tail=2") == "a-logs-one-4\na-logs-one-5\n"
    assert get(logs, "a-logs", "-c", "one", "--tail=0") == ""
    assert get(logs, "a-logs", "-c", "one", "--limit-bytes=14") == "a-logs-one-1\na"
    assert get(logs, "a-logs", "-c", "one", "--since=1h") == get(logs, "a-logs", "-c", "one")
    assert get(logs, "a-logs", "-c", "one", "--since-time=2099-01-01T00:00:00Z") == ""
    stamped = get(logs, "a-logs", "-c", "one", "--timestamps").splitlines()
    assert all(line.split(" ")[1] == f"a-logs-one-{index}" for index, line in enumerate(stamped, 1))
    third = stamped[2].split(" ")[0]
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/a-logs/log?container=one&sinceTime={third}"
    since = [line.split(" ")[1] for line in stamped if line.split(" ")[0][:26] >= third[:26]]  # to the microsecond
    assert logs.kubectl("get", "--raw", path).splitlines() == since


def test_which_containers(logs: Cluster) -> None:
    assert get(logs, "a-logs", "-c", "before") == "a-logs-before\n"
    assert get(logs, "a-logs") == get(logs, "a-logs", "-c", "one"), "the first container is the default"
    assert set(get(logs, "a-logs", "--all-containers").split()) >= {
        "a-logs-before",
        "a-logs-one-5",
        "a-logs-two",
        "a-logs-two-error",
    }
    selected = get(logs, "-l", "app=logs", "--all-containers", "--prefix", "--tail=1").splitlines()
    assert "[pod/a-logs/one] a-logs-one-5" in selected
    assert "[pod/b-logs/two] b-logs-two-error" in selected
    assert "not valid for pod" in get(logs, "a-logs", "-c", "none", check=False)


def test_the_previous_run(logs: Cluster) -> None:
    path, deadline = "jsonpath={.status.containerStatuses[0].restartCount}", time.monotonic() + 120
    while int(logs.kubectl("-n", NAMESPACE, "get", "pod", "crashing", "-o", path) or 0) < 2:
        assert time.monotonic() < deadline, logs.kubectl("-n", NAMESPACE, "describe", "pod", "crashing")
        time.sleep(0.1)
    previous = get(logs, "crashing", "--previous")
    assert previous.startswith("run-x")
    assert "previous terminated container" in get(logs, "a-logs", "-c", "one", "--previous", check=False)


def test_following_through_rotation(logs: Cluster) -> None:
    """25 MB of lines pass through files of 10 MiB; a follower sees each line once."""
    logs.apply(json.dumps(loud()))
    logs.kubectl("-n", NAMESPACE, "wait", "--for=condition=Ready", "pod/loud", "--timeout=60s")
    environment = {**os.environ, "KUBECONFIG": str(logs.kubeconfig)}
    follow = ["kubectl", "-n", NAMESPACE, "logs", "-f", "loud", "--tail=-1"]
    with subprocess.Popen(follow, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "first\n"
        logs.kubectl("-n", NAMESPACE, "exec", "loud", "--", "touch", "/tmp/go")
        text = process.stdout.read()
    assert text.endswith("last\n")
    assert {len(line) for line in text.splitlines()[:-2]} == {40}


def test_following_ends_with_the_client(logs: Cluster) -> None:
    process = subprocess.Popen(
        ["kubectl", "-n", NAMESPACE, "logs", "-f", "a-logs", "-c", "one"],
        env={**os.environ, "KUBECONFIG": str(logs.kubeconfig)},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"a-logs-one-1\n"
    process.kill()
    process.wait()
    process.stdout.close()
