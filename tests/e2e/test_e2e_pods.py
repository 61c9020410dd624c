"""The order of things inside a pod, and what changes while it runs."""

import base64
import json
from typing import Any

import pytest
from space import SLEEP, Kubectl

pytestmark = pytest.mark.real


def container(name: str, command: str, **fields: Any) -> dict[str, Any]:
    found = {"name": name, "image": "busybox:latest", "imagePullPolicy": "IfNotPresent"}
    return {**found, "command": ["sh", "-c", command], **fields}


def shell(command: str) -> dict[str, Any]:
    return {"exec": {"command": ["sh", "-c", command]}}


def ready(kubectl: Kubectl, name: str) -> None:
    kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")


def test_hooks_and_sidecars_keep_their_order(kubectl: Kubectl) -> None:
    """init → sidecar (started before what follows) → main with postStart; then preStop, main ends, the sidecar last."""
    kubectl.apply("PersistentVolumeClaim", "notes", {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}},
    }, "v1")  # fmt: skip
    notes = {"volumeMounts": [{"name": "notes", "mountPath": "/n"}]}
    first = container("first", "echo first >> /n/notes", **notes)
    side = container(
        "side",
        "trap 'echo side ends >> /n/notes; exit 0' TERM; echo side >> /n/notes; touch /tmp/up; "
        "while :; do sleep 0.1; done",
        restartPolicy="Always",
        startupProbe={**shell("test -e /tmp/up"), "periodSeconds": 1, "timeoutSeconds": 10, "failureThreshold": 60},
        **notes,
    )
    second = container("second", "echo second >> /n/notes", **notes)
    main = container(
        "main",
        "trap 'echo main ends >> /n/notes; exit 0' TERM; while :; do sleep 0.1; done",
        lifecycle={"postStart": shell("echo postStart >> /n/notes"), "preStop": shell("echo preStop >> /n/notes")},
        **notes,
    )
    volume = {"name": "notes", "persistentVolumeClaim": {"claimName": "notes"}}
    spec = {"initContainers": [first, side, second], "containers": [main], "volumes": [volume]}
    kubectl.apply("Pod", "ordered", spec, "v1")
    ready(kubectl, "ordered")
    kubectl("delete", "pod", "ordered", "--timeout=60s")
    reader = container("reader", f"cat /n/notes; {SLEEP}", **notes)
    kubectl.apply("Pod", "reader", {"containers": [reader], "volumes": [volume]}, "v1")
    ready(kubectl, "reader")
    order = ["first", "side", "second", "postStart", "preStop", "main ends", "side ends"]
    kubectl.until(lambda: kubectl("logs", "reader").splitlines(), lambda found: found == order, "this order")


def test_a_hook_that_fails_is_told_and_the_container_starts_again(kubectl: Kubectl) -> None:
    main = container("main", SLEEP, lifecycle={"postStart": shell("echo no such luck; exit 7")})
    kubectl.apply("Pod", "hooked", {"containers": [main], "terminationGracePeriodSeconds": 0}, "v1")

    def told() -> list[str]:
        return [event["message"] for event in kubectl.items("events") if event["reason"] == "FailedPostStartHook"]

    assert kubectl.until(told, bool, "an event")[0] == "PostStartHook failed"
    kubectl.until(
        lambda: kubectl.get("pod", "hooked")["status"]["containerStatuses"][0]["restartCount"],
        lambda count: count >= 1,
        "a restart",
    )


def test_projected_files_follow_their_sources(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "settings", "--from-literal=colour=red")
    kubectl("create", "secret", "generic", "keys", "--from-literal=key=old")
    label = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    sources = [
        {"configMap": {"name": "settings"}},
        {"secret": {"name": "keys", "items": [{"key": "key", "path": "deep/key", "mode": 0o400}]}},
        {"downwardAPI": {"items": [label]}},
        {"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 600}},
    ]
    main = container("main", SLEEP, volumeMounts=[{"name": "all", "mountPath": "/all"}])
    spec = {"containers": [main], "volumes": [{"name": "all", "projected": {"sources": sources}}]}
    kubectl.apply("Pod", "p", {**spec, "terminationGracePeriodSeconds": 0}, "v1")
    ready(kubectl, "p")

    def read(path: str) -> str:
        return kubectl("exec", "p", "--", "cat", f"/all/{path}").strip()

    assert (read("colour"), read("deep/key"), read("labels")) == ("red", "old", "")
    claims = json.loads(base64.urlsafe_b64decode(read("token").split(".")[1] + "=="))
    assert claims["aud"] == ["vault"]
    assert claims["exp"] - claims["iat"] == 600
    assert claims["kubernetes.io"]["pod"]["name"] == "p"
    kubectl("patch", "configmap", "settings", "-p", '{"data":{"colour":"blue"}}')
    kubectl("patch", "secret", "keys", "-p", '{"stringData":{"key":"new"}}')
    kubectl("label", "pod", "p", "seen=yes")
    kubectl.until(
        lambda: (read("colour"), read("deep/key"), read("labels")),
        lambda found: found == ("blue", "new", 'seen="yes"'),
        "the new content",
    )
    assert kubectl("exec", "p", "--", "stat", "-L", "-c", "%a", "/all/deep/key").strip() == "400"


def test_an_ephemeral_container_joins_and_stays_in_the_status(kubectl: Kubectl) -> None:
    kubectl.apply("Pod", "p", {"containers": [container("main", SLEEP)], "terminationGracePeriodSeconds": 0}, "v1")
    ready(kubectl, "p")
    kubectl("debug", "p", "--profile=general", "-c", "look", "--image=busybox:latest", "--target=main", "--", "ps")
    status = kubectl.until(
        lambda: kubectl.get("pod", "p")["status"].get("ephemeralContainerStatuses"),
        lambda found: found and "terminated" in found[0]["state"],
        "its end",
    )
    assert (status[0]["name"], status[0]["state"]["terminated"]["reason"]) == ("look", "Completed")
    assert "trap 'exit 0' TERM" in kubectl("logs", "p", "-c", "look")  # it sees the target's processes
    says = kubectl("patch", "pod", "p", "-p", '{"spec":{"ephemeralContainers":[]}}', check=False)
    assert "forbidden" in says.lower() or "unchanged" in says or "no change" in says
    assert kubectl.get("pod", "p")["status"]["containerStatuses"][0]["restartCount"] == 0
