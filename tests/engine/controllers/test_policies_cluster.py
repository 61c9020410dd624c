"""Disruption budgets, quotas and limit ranges against a real API server."""

from typing import Any

import pytest
from controllers_world import ApiError, Cluster

from fairway.kube.api.resource import (
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    LIMIT_RANGES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    RESOURCE_QUOTAS,
)

Raw = dict[str, Any]


def pod(name: str, **resources: Any) -> Raw:
    container = {"name": "main", "image": "nginx:1", **({"resources": resources} if resources else {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "x"}},
        "spec": {"containers": [container]},
    }


async def evict(cluster: Cluster, name: str) -> None:
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": "default"},
    }
    await cluster.client.create_subresource(PODS, name, "eviction", eviction, namespace="default")


async def budget(cluster: Cluster, **spec: Any) -> None:
    obj = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
    }
    await cluster.client.create(POD_DISRUPTION_BUDGETS, obj)


async def counted(cluster: Cluster, **counts: int) -> Raw:
    def done(found: Raw) -> bool:
        return found["status"].get("observedGeneration") == 1 and all(
            found["status"].get(key) == value for key, value in counts.items()
        )

    found: Raw = await cluster.until(lambda: cluster.get(POD_DISRUPTION_BUDGETS, "web"), done, str(counts))
    return found


async def test_a_budget_lets_one_pod_after_the_other_go(cluster: Cluster) -> None:
    await cluster.deploy(replicas=3)
    await cluster.rolled_out()
    await budget(cluster, maxUnavailable=1)
    found = await counted(cluster, expectedPods=3, currentHealthy=3, desiredHealthy=2, disruptionsAllowed=1)
    (condition,) = found["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == (
        "DisruptionAllowed",
        "True",
        "SufficientPods",
    )
    first, second, _ = await cluster.all(PODS)
    await evict(cluster, first["metadata"]["name"])
    await counted(cluster, currentHealthy=3, disruptionsAllowed=1)
    await cluster.client.patch(POD_DISRUPTION_BUDGETS, "web", {"spec": {"maxUnavailable": 0}}, namespace="default")
    await cluster.until(
        lambda: cluster.get(POD_DISRUPTION_BUDGETS, "web"),
        lambda found: found["status"]["observedGeneration"] == 2 and found["status"]["disruptionsAllowed"] == 0,
        "none allowed",
    )
    with pytest.raises(ApiError) as refused:
        await evict(cluster, second["metadata"]["name"])
    assert refused.value.code == 429
    assert str(refused.value) == "Cannot evict pod as it would violate the pod's disruption budget."
    assert refused.value.details["causes"][0] == {
        "reason": "DisruptionBudget",
        "message": "The disruption budget web needs 3 healthy pods and has 3 currently",
    }


async def test_a_budget_of_pods_that_nobody_scales(cluster: Cluster) -> None:
    await budget(cluster, minAvailable=0)
    await counted(cluster, expectedPods=0, disruptionsAllowed=0)
    await cluster.told("NoPods", "No matching pods found")


async def quota(cluster: Cluster, hard: Raw, **spec: Any) -> None:
    obj = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "small", "namespace": "default"},
        "spec": {"hard": hard, **spec},
    }
    await cluster.client.create(RESOURCE_QUOTAS, obj)


async def used(cluster: Cluster, wanted: Raw) -> None:
    await cluster.until(
        lambda: cluster.get(RESOURCE_QUOTAS, "small"), lambda found: found["status"].get("used") == wanted, str(wanted)
    )


async def refused(cluster: Cluster, obj: Raw) -> str:
    with pytest.raises(ApiError) as error:
        await cluster.client.create(PODS, obj)
    assert error.value.code == 403
    return str(error.value)


async def test_a_quota_counts_and_refuses(cluster: Cluster) -> None:
    await quota(cluster, {"pods": "2", "requests.cpu": "1", "count/configmaps": "1"})
    await used(cluster, {"pods": "0", "requests.cpu": "0", "count/configmaps": "1"})
    says = await refused(cluster, pod("silent"))
    assert says == 'pods "silent" is forbidden: failed quota: small: must specify requests.cpu for: main'
    await cluster.client.create(PODS, pod("one", requests={"cpu": "600m"}))
    await used(cluster, {"pods": "1", "requests.cpu": "600m", "count/configmaps": "1"})
    says = await refused(cluster, pod("greedy", requests={"cpu": "500m"}))
    assert says == (
        'pods "greedy" is forbidden: exceeded quota: small, requested: requests.cpu=500m, used: requests.cpu=600m, '
        "limited: requests.cpu=1"
    )
    await cluster.client.create(PODS, pod("two", requests={"cpu": "400m"}))
    says = await refused(cluster, pod("three", requests={"cpu": "1m"}))
    assert "exceeded quota: small, requested: pods=1,requests.cpu=1m, used: pods=2,requests.cpu=1" in says
    await cluster.client.delete(PODS, "one", namespace="default")
    await used(cluster, {"pods": "1", "requests.cpu": "400m", "count/configmaps": "1"})


async def test_a_deployment_under_a_quota_says_what_is_wrong(cluster: Cluster) -> None:
    await quota(cluster, {"pods": "1"})
    await cluster.deploy(replicas=2)
    messages = await cluster.until(lambda: cluster.messages("FailedCreate"), bool, "an event")
    assert "exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1" in messages[0]
    assert len(await cluster.all(PODS)) == 1


async def test_limit_ranges_fill_and_bound(cluster: Cluster) -> None:
    item = {"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "1"}}
    obj = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "usual", "namespace": "default"},
        "spec": {"limits": [item]},
    }
    await cluster.client.create(LIMIT_RANGES, obj)
    made = await cluster.client.create(PODS, pod("plain"))
    resources = made["spec"]["containers"][0]["resources"]
    assert resources == {"requests": {"cpu": "100m"}, "limits": {"cpu": "500m"}}
    assert made["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu request for container main; cpu limit for container main"
    )
    says = await refused(cluster, pod("large", limits={"cpu": "2"}))
    assert says == 'pods "large" is forbidden: maximum cpu usage per Container is 1, but limit is 2'


async def test_an_autoscaler_keeps_its_bounds_and_tells_what_it_misses(cluster: Cluster) -> None:
    await cluster.deploy(replicas=3)
    await cluster.rolled_out()
    obj = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "maxReplicas": 2,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}},
        },
    }
    made = await cluster.client.create(HORIZONTAL_POD_AUTOSCALERS, obj)
    assert made["spec"]["behavior"]["scaleUp"] == {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15},
        ],
    }
    await cluster.until(lambda: cluster.get(DEPLOYMENTS, "web"), lambda found: found["spec"]["replicas"] == 2, "bound")
    messages = await cluster.until(lambda: cluster.messages("SuccessfulRescale"), bool, "an event")
    assert messages == ["New size: 2; reason: Current number of replicas above Spec.MaxReplicas"]
    # A change is looked at at once: now the metrics are asked for.
    patch = {"spec": {"maxReplicas": 5}}
    await cluster.client.patch(HORIZONTAL_POD_AUTOSCALERS, "web", patch, namespace="default")
    (message,) = await cluster.until(lambda: cluster.messages("FailedGetResourceMetric"), bool, "an event")
    assert message.startswith(
        "failed to get cpu utilization: unable to get metrics for resource cpu: "
        "unable to fetch metrics from resource metrics API: "
    )


async def test_an_autoscaler_without_a_target(cluster: Cluster) -> None:
    obj = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "lost", "namespace": "default"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "lost"}, "maxReplicas": 2},
    }
    await cluster.client.create(HORIZONTAL_POD_AUTOSCALERS, obj)
    messages = await cluster.until(lambda: cluster.messages("FailedGetScale"), bool, "an event")
    assert messages == ['deployments.apps "lost" not found']
