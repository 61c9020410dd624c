"""The daily verbs with every kubectl of this machine."""

import subprocess
import threading
import time
from collections.abc import Iterator

import manifests
import pytest
from cluster import Cluster, kubectls

pytestmark = pytest.mark.real


@pytest.fixture(params=kubectls().items(), ids=lambda item: item[0])
def kubectl(request: pytest.FixtureRequest, fairway_cluster: Cluster) -> Iterator["Kubectl"]:
    version, binary = request.param
    namespace = "kubectl-" + version.replace(".", "-")
    # Before 1.29 kubectl wants OpenAPI v2 in protobuf for client-side validation; the server validates all the same.
    old = version == "distribution" or int(version.split(".")[1]) < 29
    client = Kubectl(fairway_cluster, binary, namespace, ("--validate=false",) if old else ())
    client(
        "create",
        "-f",
        "-",
        *client.validation,
        text=manifests.small("Namespace", namespace),
    )
    yield client
    client("delete", "namespace", namespace, "--wait=true", "--timeout=120s")


class Kubectl:
    """One kubectl in one namespace."""

    def __init__(self, cluster: Cluster, binary: str, namespace: str, validation: tuple[str, ...]) -> None:
        self.cluster, self.binary, self.namespace, self.validation = cluster, binary, namespace, validation

    def __call__(self, *arguments: str, text: str | None = None, check: bool = True) -> str:
        return self.cluster.kubectl("-n", self.namespace, *arguments, binary=self.binary, text=text, check=check)

    def apply(self, text: str) -> str:
        return self("apply", *self.validation, "-f", "-", text=text)

    def pods(self, count: int) -> list[str]:
        """That many, once those that were replaced are gone: a rollout does not wait for them."""
        deadline = time.monotonic() + 60
        while len(found := self("get", "pods", "-o", "name").split()) != count:
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        return found


def test_the_daily_verbs(kubectl: Kubectl) -> None:
    manifest = manifests.web("web", namespace=kubectl.namespace, host=f"{kubectl.namespace}.example.com")
    assert "deployment.apps/web created" in kubectl.apply(manifest)
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert "deployment.apps/web unchanged" in kubectl.apply(manifest)

    kubectl("scale", "deployment/web", "--replicas=3")
    kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=60s")
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert kubectl("get", "deployment", "web", "--no-headers").split()[:2] == ["web", "3/3"]

    kubectl("set", "env", "deployment/web", "VERSION=v2")
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert [line.split()[0] for line in kubectl("rollout", "history", "deployment/web").splitlines()[2:4]] == ["1", "2"]
    kubectl("rollout", "undo", "deployment/web")
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert "VERSION:  v1" in kubectl("describe", "deployment", "web")

    kubectl("set", "image", "deployment/web", "web=python:3")
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert "python:3" in kubectl("get", "deployment", "web", "-o", "wide")

    pod = kubectl.pods(3)[0]
    assert "serving v1" in kubectl("logs", pod)
    kubectl("label", pod, "checked=yes")
    assert kubectl("get", "pods", "-l", "checked=yes", "-o", "name").split() == [pod]
    kubectl("annotate", pod, "note=seen")
    kubectl("delete", pod, "--wait=true")
    assert "NotFound" in kubectl("get", pod, check=False)


def test_tables_and_descriptions(kubectl: Kubectl) -> None:
    kubectl.apply(
        manifests.web("web", namespace=kubectl.namespace, host=f"{kubectl.namespace}.example.com", replicas=1)
    )
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    headers = {
        "pods": "NAME READY STATUS RESTARTS AGE",
        "deployments": "NAME READY UP-TO-DATE AVAILABLE AGE",
        "replicasets": "NAME DESIRED CURRENT READY AGE",
        "services": "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE",
        "endpointslices": "NAME ADDRESSTYPE PORTS ENDPOINTS AGE",
        "ingresses": "NAME CLASS HOSTS ADDRESS PORTS AGE",
        "ingressclasses": "NAME CONTROLLER PARAMETERS AGE",
        "configmaps": "NAME DATA AGE",
        "nodes": "NAME STATUS ROLES AGE VERSION",
        "namespaces": "NAME STATUS AGE",
        "leases -A": "NAMESPACE NAME HOLDER AGE",
    }
    for kind, expected in headers.items():
        assert " ".join(kubectl("get", *kind.split()).splitlines()[0].split()) == expected
    described = kubectl("describe", "pods")
    deadline = time.monotonic() + 60
    while not all(part in described for part in ("Ready", "Scheduled", "Pulled", "Created", "Started")):
        assert time.monotonic() < deadline, described
        described = kubectl("describe", "pods")  # events come after what they are about
    assert "LAST SEEN" in kubectl("get", "events")
    kubectl(
        "create",
        "-f",
        "-",
        *kubectl.validation,
        text=manifests.small("Secret", "s", stringData={"a": "b"}),
    )
    assert " ".join(kubectl("get", "secrets").splitlines()[0].split()) == "NAME TYPE DATA AGE"
    assert "web:80" in kubectl("describe", "ingress", "web")
    assert "fairway" in kubectl("describe", "node", "fairway")


def test_get_watch_and_logs_follow_stream(kubectl: Kubectl) -> None:
    watch = subprocess.Popen(
        [kubectl.binary, "-n", kubectl.namespace, "get", "configmaps", "-w", "--no-headers"],
        env={"KUBECONFIG": str(kubectl.cluster.kubeconfig), "HOME": str(kubectl.cluster.state_dir), "PATH": "/usr/bin"},
        stdout=subprocess.PIPE,
        text=True,
    )
    stop = threading.Timer(120, watch.kill)
    stop.start()
    try:
        kubectl("create", "-f", "-", *kubectl.validation, text=manifests.small("ConfigMap", "first"))
        assert watch.stdout is not None
        seen = ""
        while "first" not in seen:
            line = watch.stdout.readline()
            assert line, "the watch ended before the object came"
            seen += line
    finally:
        stop.cancel()
        watch.kill()
        watch.wait()
        watch.stdout.close()


def test_mistakes_are_named(kubectl: Kubectl) -> None:
    unknown = manifests.small("ConfigMap", "x", dta={})
    assert (
        'unknown field "dta"' in kubectl("create", "--validate=strict", "-f", "-", text=unknown, check=False)
        or kubectl.validation
    )
    wrong = manifests.small("Service", "x", spec={"ports": [{"port": 70000}]})
    answer = kubectl("create", "-f", "-", *kubectl.validation, text=wrong, check=False)
    assert "spec.ports[0].port" in answer
    assert "70000" in answer
    twice = manifests.small("ConfigMap", "twice")
    kubectl("create", "-f", "-", *kubectl.validation, text=twice)
    assert 'configmaps "twice" already exists' in kubectl(
        "create", "-f", "-", *kubectl.validation, text=twice, check=False
    )
