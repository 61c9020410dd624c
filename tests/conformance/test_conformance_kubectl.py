"""kubectl in every version that is on the machine, and Debian's own: one script of daily work for all."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cluster import kubectls
from live_api import Live

pytestmark = pytest.mark.real

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "nginx:1", "ports": [{"containerPort": 80}]}]},
        },
    },
}
SCHEMA = {
    "type": "object",
    "description": "Something to wear.",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 1, "description": "In fingers."},
                "color": {"type": "string", "default": "red", "enum": ["red", "blue"]},
                "brim": {"x-kubernetes-int-or-string": True},
                "notes": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        },
        "status": {"type": "object", "properties": {"size": {"type": "integer"}}},
    },
}
DEFINITION: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "hats.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "hats", "singular": "hat", "kind": "Hat", "shortNames": ["ht"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": SCHEMA},
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"},
                },
                "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
            }
        ],
    },
}
HAT: dict[str, Any] = {
    "apiVersion": "example.com/v1",
    "kind": "Hat",
    "metadata": {"name": "mine"},
    "spec": {"size": 3, "brim": "wide", "notes": {"any": ["thing"]}},
}


def programs() -> dict[str, str]:
    """By version."""
    found = dict(kubectls())
    debian = Path("/usr/bin/kubectl")
    if debian.exists() and not debian.is_symlink():
        found.setdefault("debian", str(debian))
    return found


class Kubectl:
    """One program with a home and a namespace of its own."""

    def __init__(self, program: str, live: Live, home: Path, namespace: str) -> None:
        self._program = program
        self._environment = {**os.environ, "HOME": str(home), "KUBECONFIG": str(live.kubeconfig)}
        self._namespace = namespace

    def run(self, *arguments: str, obj: Any = None) -> "subprocess.CompletedProcess[str]":
        command = [self._program, *arguments, f"--namespace={self._namespace}"]
        text = None if obj is None else json.dumps(obj)
        return subprocess.run(command, input=text, capture_output=True, text=True, env=self._environment, timeout=60)

    def __call__(self, *arguments: str, obj: Any = None) -> str:
        done = self.run(*arguments, obj=obj)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(params=sorted(programs()))
def kubectl(request: pytest.FixtureRequest, live: Live, tmp_path: Path) -> Kubectl:
    namespace = f"v{request.param.replace('.', '-')}-{request.function.__name__.replace('_', '-')}"
    made = Kubectl(programs()[request.param], live, tmp_path, namespace)
    made("create", "namespace", namespace)
    return made


def test_built_in_kinds(kubectl: Kubectl) -> None:
    assert "deployment.apps/web created" in kubectl("apply", "-f", "-", obj=DEPLOYMENT)
    assert "unchanged" in kubectl("apply", "-f", "-", obj=DEPLOYMENT)
    wrong = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "replicaz": 2}}
    refused = kubectl.run("apply", "-f", "-", obj=wrong)
    assert refused.returncode == 1
    assert 'unknown field "' in refused.stderr
    assert "replicaz" in refused.stderr
    kubectl("scale", "deployment/web", "--replicas=3")
    kubectl("set", "image", "deployment/web", "web=nginx:2")
    kubectl("label", "deployment/web", "tier=front")
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", obj=DEPLOYMENT)
    kubectl("create", "configmap", "c", "--from-literal=a=b")
    kubectl("patch", "configmap", "c", "--type=json", '-p=[{"op":"add","path":"/data/x","value":"y"}]')
    shown = json.loads(kubectl("get", "configmap/c", "-o", "json"))
    assert shown["data"] == {"a": "b", "x": "y"}
    assert "replicas" in kubectl("explain", "deployment.spec")
    assert "deployments" in kubectl("api-resources")
    assert "nginx" in kubectl("describe", "deployment/web")
    kubectl("delete", "deployment/web", "configmap/c")


def test_custom_kinds(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", obj=DEFINITION)
    kubectl("wait", "--for=condition=Established", "crd/hats.example.com")
    assert "hat.example.com/mine created" in kubectl("apply", "-f", "-", obj=HAT)
    assert "unchanged" in kubectl("apply", "-f", "-", obj=HAT)
    wrong = {**HAT, "metadata": {"name": "wrong"}, "spec": {"size": 0}}
    assert "should be greater than or equal to 1" in kubectl.run("apply", "-f", "-", obj=wrong).stderr
    unknown = {**HAT, "metadata": {"name": "wrong"}, "spec": {"size": 1, "colour": "red"}}
    assert "colour" in kubectl.run("apply", "-f", "-", obj=unknown).stderr
    assert kubectl("get", "ht").split()[:3] == ["NAME", "SIZE", "mine"]
    kubectl("scale", "hat/mine", "--replicas=5")
    assert kubectl("get", "hat", "mine", "-o", "jsonpath={.spec.size} {.spec.color}") == "5 red"
    assert "integer" in kubectl("explain", "hat.spec.size")
    assert "In fingers." in kubectl("explain", "hat.spec.size")
    assert "size\t<integer> -required-" in kubectl("explain", "hat.spec")
    assert "Something to wear." in kubectl("explain", "hat")
    assert "<empty>" not in kubectl("explain", "hat.metadata")
    if knows_enums(kubectl):
        assert "red" in kubectl("explain", "hat.spec.color").partition("ENUM:")[2]
    kubectl("delete", "crd", "hats.example.com")
    assert kubectl.run("get", "hats").returncode == 1


EXPLAINED = {
    "deployment.spec.strategy": ("rollingUpdate\t<RollingUpdateDeployment>", "type\t<string>"),
    "deployment.spec.strategy.type": ("<string>",),
    "deployment.spec": ("template\t<PodTemplateSpec> -required-", "replicas\t<integer>"),
    "ingress.spec.rules.http.paths": ("pathType\t<string> -required-", "backend\t<IngressBackend> -required-"),
    "pod.metadata.creationTimestamp": ("<",),
    "pod.spec.containers.resources.limits": ("<map[string]Quantity>",),
    "pod": ("apiVersion\t<string>", "metadata\t<ObjectMeta>"),
}


def test_explanations(kubectl: Kubectl) -> None:
    for field, expected in EXPLAINED.items():
        explained = kubectl("explain", field)
        for text in expected:
            assert text in explained, field
        # what kubectl prints for want of a description
        assert "<empty>" not in explained, field
        assert "<no description>" not in explained, field
    if knows_enums(kubectl):
        enum = kubectl("explain", "deployment.spec.strategy.type").partition("ENUM:")[2]
        assert enum.split()[:2] == ["Recreate", "RollingUpdate"]


def knows_enums(kubectl: Kubectl) -> bool:
    """Whether this program prints the values that a field may have: since 1.30."""
    version = json.loads(kubectl("version", "--client", "--output=json"))["clientVersion"]
    return int(version["minor"].rstrip("+")) >= 30
