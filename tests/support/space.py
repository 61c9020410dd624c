"""kubectl in a namespace of one test, and the small workloads that tests vary."""

import json
import time
from collections.abc import Callable
from typing import Any

import patience
from cluster import Cluster

SLEEP = "trap 'exit 0' TERM; while true; do sleep 0.1; done"


class Kubectl:
    """kubectl in a namespace of one test."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace

    def __call__(self, *arguments: str, check: bool = True) -> str:
        return self.cluster.kubectl("-n", self.namespace, *arguments, check=check)

    def apply(self, kind: str, name: str, spec: dict[str, Any], version: str = "apps/v1") -> str:
        obj = {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}
        return self.cluster.kubectl("-n", self.namespace, "apply", "-f", "-", text=json.dumps(obj))

    def get(self, *what: str) -> Any:
        return json.loads(self("get", *what, "-o", "json"))

    def items(self, *what: str) -> list[Any]:
        found: list[Any] = self.get(*what)["items"]
        return found

    def until(self, look: Callable[[], Any], wanted: Callable[[Any], object], what: str) -> Any:
        """What `look` gives once it is what is wanted: kubectl has no wait for it."""
        deadline = time.monotonic() + patience.seconds(60)
        while not wanted(found := look()):
            assert time.monotonic() < deadline, f"never came: {what}; last seen: {found}\n{self.cluster.log()}"
            time.sleep(0.1)
        return found


def template(command: str = SLEEP, app: str = "x", **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "busybox:latest", "imagePullPolicy": "IfNotPresent"}
    container["command"] = ["sh", "-c", command]  # type: ignore[assignment]
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [container], **spec}}


def selected(command: str = SLEEP, **spec: Any) -> dict[str, Any]:
    return {"selector": {"matchLabels": {"app": "x"}}, "template": template(command), **spec}


def names(pods: list[Any]) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in pods)
