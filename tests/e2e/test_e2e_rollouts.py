"""How real pods are replaced and spread: Deployments, DaemonSets and StatefulSets beyond the plain case."""

import json
from typing import Any

import pytest
from space import Kubectl, names, selected, template

pytestmark = pytest.mark.real
QUICK = {"terminationGracePeriodSeconds": 0}


def merge(kubectl: Kubectl, what: str, name: str, patch: dict[str, Any]) -> None:
    kubectl("patch", what, name, "--type=merge", "-p", json.dumps(patch))


def sizes(kubectl: Kubectl) -> list[int]:
    """How many replicas each ReplicaSet wants, by revision."""
    found = kubectl.items("rs")
    found.sort(key=lambda item: int(item["metadata"]["annotations"]["deployment.kubernetes.io/revision"]))
    return [item["spec"]["replicas"] for item in found]


def messages(kubectl: Kubectl, reason: str) -> list[str]:
    return [event["message"] for event in kubectl.items("events") if event["reason"] == reason]


def test_scaling_while_it_rolls_keeps_the_proportions(kubectl: Kubectl) -> None:
    """The example of the documentation ("Proportional scaling"): 8 + 5 of 10 become 11 + 7 of 15."""
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}
    spec = selected(replicas=10, strategy=rolling)
    spec["template"] = template("sleep 1000", **QUICK)
    kubectl.apply("Deployment", "web", spec)
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    kubectl("set", "image", "deployment/web", "main=busybox:unresolvable-tag")
    kubectl.until(lambda: sizes(kubectl), lambda found: found == [8, 5], "a rollout that is stuck")
    kubectl("scale", "deployment/web", "--replicas=15")
    kubectl.until(lambda: sizes(kubectl), lambda found: found == [11, 7], "its proportions")


def test_a_rollout_that_gets_nowhere_is_told(kubectl: Kubectl) -> None:
    spec = selected(replicas=1, minReadySeconds=1, progressDeadlineSeconds=2)
    spec["template"] = template("sleep 1000", **QUICK)
    # A program that ends at once counts as ready until its end is seen: longer than a second on a busy machine.
    spec["template"]["spec"]["containers"][0]["readinessProbe"] = {"exec": {"command": ["false"]}, "periodSeconds": 1}
    kubectl.apply("Deployment", "web", spec)
    says = kubectl("rollout", "status", "deployment/web", "--timeout=60s", check=False)
    assert 'error: deployment "web" exceeded its progress deadline' in says
    conditions = {item["type"]: item for item in kubectl.get("deployment", "web")["status"]["conditions"]}
    progressing = conditions["Progressing"]
    assert (progressing["status"], progressing["reason"]) == ("False", "ProgressDeadlineExceeded")
    assert progressing["message"].startswith('ReplicaSet "web-')
    assert progressing["message"].endswith('" has timed out progressing.')
    patient = {"progressDeadlineSeconds": 600, "template": template("sleep 1000", **QUICK)}
    merge(kubectl, "deployment", "web", {"spec": patient})
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=60s")


def test_a_daemon_set_waits_to_be_deleted_by_hand(kubectl: Kubectl) -> None:
    spec = selected(updateStrategy={"type": "OnDelete"})
    spec["template"] = template("sleep 1000", **QUICK)
    kubectl.apply("DaemonSet", "agent", spec)
    kubectl.until(lambda: kubectl.get("ds", "agent")["status"].get("numberReady"), lambda ready: ready == 1, "a pod")
    (before,) = kubectl.items("pods")
    kubectl("set", "env", "ds/agent", "VERSION=2")
    status = kubectl.until(
        lambda: kubectl.get("ds", "agent"),
        lambda found: found["status"].get("observedGeneration") == found["metadata"]["generation"],
        "to be seen",
    )["status"]
    assert status.get("updatedNumberScheduled", 0) == 0
    assert names(kubectl.items("pods")) == [before["metadata"]["name"]]
    kubectl("delete", "pod", before["metadata"]["name"])
    kubectl.until(
        lambda: kubectl.get("ds", "agent")["status"], lambda found: found.get("updatedNumberScheduled") == 1, "the new"
    )


def test_parallel_pods_do_not_wait_for_each_other(kubectl: Kubectl) -> None:
    spec = selected(replicas=3, serviceName="db", podManagementPolicy="Parallel")
    # Nobody is ready before all three are there: in order this would never be.
    probe = {"exec": {"command": ["test", "-e", "/tmp/go"]}, "periodSeconds": 1}
    spec["template"] = template("sleep 1000", **QUICK)
    spec["template"]["spec"]["containers"][0]["readinessProbe"] = probe
    kubectl.apply("StatefulSet", "db", spec)
    running = ["get", "pods", "--field-selector=status.phase=Running", "-o", "name"]
    kubectl.until(lambda: kubectl(*running).split(), lambda found: len(found) == 3, "all at once")
    assert kubectl.get("sts", "db")["status"].get("readyReplicas", 0) == 0
    for number in range(3):
        kubectl("exec", f"db-{number}", "--", "touch", "/tmp/go")
    kubectl("rollout", "status", "sts/db", "--timeout=60s")


def test_claims_go_when_they_are_scaled_away(kubectl: Kubectl) -> None:
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    policy = {"whenDeleted": "Retain", "whenScaled": "Delete"}
    spec = selected(replicas=2, volumeClaimTemplates=[claim], persistentVolumeClaimRetentionPolicy=policy)
    spec["template"] = template("sleep 1000", **QUICK)
    kubectl.apply("StatefulSet", "db", spec)
    kubectl("rollout", "status", "sts/db", "--timeout=60s")
    kubectl("scale", "sts/db", "--replicas=1")
    kubectl.until(lambda: names(kubectl.items("pvc")), lambda found: found == ["data-db-0"], "one claim")
    kubectl("delete", "sts", "db", "--timeout=60s")
    kubectl("wait", "--for=delete", "pod/db-0", "--timeout=60s")
    assert names(kubectl.items("pvc")) == ["data-db-0"]


def test_neighbours_are_sought_and_spread_is_kept(kubectl: Kubectl) -> None:
    """One node has room for one zone only: what must be spread further waits, what need not runs."""
    spread = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "x"}}}
    strict = [{**spread, "whenUnsatisfiable": "DoNotSchedule"}]
    kubectl.apply("Deployment", "web", {**selected(replicas=2), "template": template(topologySpreadConstraints=strict)})
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")  # one domain: the skew is always 0
    no_such = [{**strict[0], "topologyKey": "example.com/no-such-label"}]
    far = template(app="far", topologySpreadConstraints=no_such)
    kubectl.apply("Deployment", "far", {"selector": {"matchLabels": {"app": "far"}}, "template": far})
    found = kubectl.until(lambda: messages(kubectl, "FailedScheduling"), bool, "why it waits")
    assert "1 node(s) didn't match pod topology spread constraints (missing required label)" in found[0]
    term = {"labelSelector": {"matchLabels": {"app": "x"}}, "topologyKey": "kubernetes.io/hostname"}
    near = template(
        app="near", affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}, **QUICK
    )
    kubectl.apply("Deployment", "near", {"selector": {"matchLabels": {"app": "near"}}, "template": near})
    kubectl("rollout", "status", "deployment/near", "--timeout=60s")
    preferred = {"weight": 1, "podAffinityTerm": term}
    apart = template(
        app="apart", affinity={"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [preferred]}}
    )
    kubectl.apply("Deployment", "apart", {"selector": {"matchLabels": {"app": "apart"}}, "template": apart})
    kubectl("rollout", "status", "deployment/apart", "--timeout=60s")
