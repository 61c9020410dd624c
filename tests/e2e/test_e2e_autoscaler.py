"""An autoscaler under a real load: up while it lasts, down when it is over."""

import pytest
from space import Kubectl, selected, template

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
BURN = "while :; do if test -e /tmp/idle; then sleep 1; fi; done"


def rescaled(kubectl: Kubectl) -> list[str]:
    return [event["message"] for event in kubectl.items("events") if event["reason"] == "SuccessfulRescale"]


def test_more_pods_under_load_and_fewer_after(kubectl: Kubectl) -> None:
    spec = selected(replicas=1)
    spec["template"] = template(BURN, terminationGracePeriodSeconds=0)
    limits = {"cpu": "150m"}
    spec["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "100m"}, "limits": limits}
    kubectl.apply("Deployment", "web", spec)
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    at_once, never = {"stabilizationWindowSeconds": 0}, {"selectPolicy": "Disabled"}
    metric = {"type": "Resource", "resource": {"name": "cpu"}}
    metric["resource"]["target"] = {"type": "Utilization", "averageUtilization": 60}  # type: ignore[index]
    scaler = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": 1,
        "maxReplicas": 2,
        "metrics": [metric],
        # On a busy machine both together may get too little to look busy: down only when the load is over.
        "behavior": {"scaleUp": at_once, "scaleDown": never},
    }
    kubectl.apply("HorizontalPodAutoscaler", "web", scaler, "autoscaling/v2")
    kubectl("wait", "--for=jsonpath={.status.replicas}=2", "deployment/web", "--timeout=90s")
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    up = "New size: 2; reason: cpu resource utilization (percentage of request) above target"
    kubectl.until(lambda: rescaled(kubectl), lambda said: said == [up], "an event")
    assert "cpu: " in kubectl("get", "hpa", "web")
    for pod in kubectl("get", "pods", "-o", "name").split():
        kubectl("exec", pod, "--", "touch", "/tmp/idle")
    scaler["behavior"] = {"scaleUp": at_once, "scaleDown": at_once}
    kubectl.apply("HorizontalPodAutoscaler", "web", scaler, "autoscaling/v2")
    kubectl("wait", "--for=jsonpath={.status.replicas}=1", "deployment/web", "--timeout=110s")
    down = "New size: 1; reason: All metrics below target"
    kubectl.until(lambda: rescaled(kubectl), lambda said: said == [up, down], "an event")
