"""All controllers and the scheduler against a real API server."""

from typing import Any

import pytest
from controllers_world import BROKEN_IMAGE, Cluster, deployment, image

from fairway.kube.api.resource import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    SERVICE_ACCOUNTS,
    SERVICES,
)
from fairway.kube.client.client import PatchType

REVISION = "deployment.kubernetes.io/revision"


def conditions(found: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {item["type"]: (item["status"], item["reason"]) for item in found["status"]["conditions"]}


async def test_a_deployment_becomes_pods_on_the_node(cluster: Cluster) -> None:
    await cluster.deploy(replicas=3)
    found = await cluster.rolled_out()
    await cluster.until(
        lambda: cluster.get(DEPLOYMENTS, "web"),
        lambda obj: conditions(obj)["Progressing"] == ("True", "NewReplicaSetAvailable"),
        "progress",
    )
    assert found["metadata"]["annotations"][REVISION] == "1"
    assert found["metadata"]["generation"] == 1
    pods = await cluster.all(PODS)
    assert len(pods) == 3
    (replica_set,) = await cluster.all(REPLICA_SETS)
    name = replica_set["metadata"]["name"]
    assert {pod["metadata"]["ownerReferences"][0]["name"] for pod in pods} == {name}
    assert {pod["spec"]["nodeName"] for pod in pods} == {"fairway"}
    await cluster.told("ScalingReplicaSet", f"Scaled up replica set {name} from 0 to 3")
    for reason in ("SuccessfulCreate", "Scheduled"):
        await cluster.until(lambda: cluster.messages(reason), lambda found: len(found) == 3, reason)  # noqa: B023


async def test_a_rolling_update_keeps_within_its_bounds(cluster: Cluster) -> None:
    await cluster.deploy(replicas=4, strategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})
    await cluster.rolled_out()
    cluster.kubelet.count_from_now()
    await cluster.change("web", image("nginx:2"))
    found = await cluster.rolled_out()
    assert cluster.kubelet.most <= 5
    assert cluster.kubelet.fewest_ready == 4
    sets = await cluster.replica_sets()
    assert {key: item["spec"]["replicas"] for key, item in sets.items()} == {"nginx:1": 0, "nginx:2": 4}
    assert found["metadata"]["annotations"][REVISION] == "2"


async def test_history_and_undo(cluster: Cluster) -> None:
    await cluster.deploy(replicas=1, revisionHistoryLimit=2)
    for number in (2, 3, 4):
        await cluster.rolled_out()
        await cluster.change("web", image(f"nginx:{number}"))
    await cluster.rolled_out()
    sets = await cluster.until(cluster.replica_sets, lambda found: len(found) == 3, "history")
    assert sorted(sets) == ["nginx:2", "nginx:3", "nginx:4"]
    template = sets["nginx:2"]["spec"]["template"]
    del template["metadata"]["labels"]["pod-template-hash"]
    patch = [{"op": "replace", "path": "/spec/template", "value": template}]
    await cluster.client.patch(DEPLOYMENTS, "web", patch, namespace="default", type=PatchType.JSON)
    found = await cluster.rolled_out()
    assert found["metadata"]["annotations"][REVISION] == "5"
    annotations = (await cluster.replica_sets())["nginx:2"]["metadata"]["annotations"]
    assert annotations[REVISION] == "5"
    assert annotations["deployment.kubernetes.io/revision-history"] == "2"
    assert annotations["deployment.kubernetes.io/desired-replicas"] == "1"


async def test_a_broken_version_stops_and_the_old_one_serves_on(cluster: Cluster) -> None:
    await cluster.deploy(replicas=3, progressDeadlineSeconds=1)
    await cluster.rolled_out()
    cluster.kubelet.count_from_now()
    await cluster.change("web", image(BROKEN_IMAGE))
    found = await cluster.until(
        lambda: cluster.get(DEPLOYMENTS, "web"),
        lambda obj: (
            obj["status"]["observedGeneration"] == obj["metadata"]["generation"]
            and conditions(obj).get("Progressing") == ("False", "ProgressDeadlineExceeded")
        ),
        "deadline",
    )
    assert conditions(found)["Available"] == ("True", "MinimumReplicasAvailable")
    assert cluster.kubelet.fewest_ready == 3
    await cluster.change("web", image("nginx:1"))
    found = await cluster.rolled_out()
    assert cluster.kubelet.fewest_ready == 3
    assert found["metadata"]["annotations"][REVISION] == "3"


async def test_recreate_waits_for_the_old_ones(cluster: Cluster) -> None:
    await cluster.deploy(replicas=2, strategy={"type": "Recreate"})
    await cluster.rolled_out()
    cluster.kubelet.count_from_now()
    await cluster.change("web", image("nginx:2"))
    await cluster.rolled_out()
    assert cluster.kubelet.most <= 2
    assert cluster.kubelet.fewest_ready == 0


async def test_paused_deployments_scale_and_do_not_roll(cluster: Cluster) -> None:
    await cluster.deploy(replicas=1)
    await cluster.rolled_out()
    await cluster.change("web", {"spec": {"paused": True, "replicas": 2, **image("nginx:2")["spec"]}})
    sets = await cluster.until(
        cluster.replica_sets, lambda found: found["nginx:1"]["status"].get("readyReplicas") == 2, "scaled"
    )
    assert list(sets) == ["nginx:1"]
    found = await cluster.until(
        lambda: cluster.get(DEPLOYMENTS, "web"),
        lambda obj: conditions(obj)["Progressing"] == ("Unknown", "DeploymentPaused"),
        "pause",
    )
    assert found["status"]["replicas"] >= 1
    await cluster.change("web", {"spec": {"paused": False}})
    await cluster.rolled_out()
    assert (await cluster.replica_sets())["nginx:2"]["spec"]["replicas"] == 2


async def test_a_killed_pod_is_replaced_and_strays_are_adopted(cluster: Cluster) -> None:
    await cluster.deploy(replicas=2)
    await cluster.rolled_out()
    victim = (await cluster.all(PODS))[0]["metadata"]
    await cluster.client.delete(PODS, victim["name"], namespace="default", grace_period_seconds=0)
    await cluster.until(
        lambda: cluster.all(PODS),
        lambda pods: len(pods) == 2 and victim["name"] not in {pod["metadata"]["name"] for pod in pods},
        "replacement",
    )
    await cluster.rolled_out()
    freed = (await cluster.all(PODS))[0]["metadata"]["name"]
    await cluster.client.patch(PODS, freed, {"metadata": {"labels": {"app": "other"}}}, namespace="default")
    await cluster.until(
        lambda: cluster.get(PODS, freed), lambda pod: not pod["metadata"].get("ownerReferences"), "release"
    )
    await cluster.until(lambda: cluster.all(PODS, labels="app=web"), lambda pods: len(pods) == 2, "replacement")
    await cluster.client.patch(PODS, freed, {"metadata": {"labels": {"app": "web"}}}, namespace="default")
    await cluster.until(lambda: cluster.all(PODS), lambda pods: len(pods) == 2, "one too many is deleted")


async def test_deleting_a_deployment_deletes_everything_below(cluster: Cluster) -> None:
    await cluster.deploy(replicas=2)
    await cluster.rolled_out()
    await cluster.client.delete(DEPLOYMENTS, "web", namespace="default", propagation_policy="Background")
    await cluster.until(lambda: cluster.all(REPLICA_SETS), lambda found: not found, "replica sets go")
    await cluster.until(lambda: cluster.all(PODS), lambda found: not found, "pods go")


async def test_foreground_deletion_waits_for_the_pods(cluster: Cluster) -> None:
    await cluster.deploy(replicas=2)
    await cluster.rolled_out()
    await cluster.client.delete(DEPLOYMENTS, "web", namespace="default", propagation_policy="Foreground")
    await cluster.until(lambda: cluster.get(DEPLOYMENTS, "web"), lambda found: found is None, "the deployment goes")
    assert await cluster.all(REPLICA_SETS) == ()
    assert await cluster.all(PODS) == ()


async def test_orphaned_pods_stay(cluster: Cluster) -> None:
    await cluster.deploy(replicas=2)
    await cluster.rolled_out()
    await cluster.client.delete(DEPLOYMENTS, "web", namespace="default", propagation_policy="Orphan")
    await cluster.until(lambda: cluster.get(DEPLOYMENTS, "web"), lambda found: found is None, "the deployment goes")
    (left,) = await cluster.all(REPLICA_SETS)
    assert "ownerReferences" not in left["metadata"]
    assert len(await cluster.all(PODS)) == 2


def service(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}], **spec},
    }


def ready_addresses(slices: tuple[dict[str, Any], ...]) -> set[str]:
    return {
        address
        for part in slices
        if part["metadata"]["labels"].get("kubernetes.io/service-name") == "web"
        for endpoint in part["endpoints"] or ()
        if endpoint["conditions"]["ready"]
        for address in endpoint["addresses"]
    }


async def test_slices_and_endpoints_follow_the_pods(cluster: Cluster) -> None:
    await cluster.client.create(SERVICES, service())
    (empty,) = await cluster.until(
        lambda: cluster.all(ENDPOINT_SLICES, labels="kubernetes.io/service-name=web"), len, "a placeholder"
    )
    assert empty["endpoints"] in ([], None)
    await cluster.deploy(replicas=3)
    await cluster.rolled_out()
    slices = await cluster.until(
        lambda: cluster.all(ENDPOINT_SLICES), lambda found: len(ready_addresses(found)) == 3, "three endpoints"
    )
    addresses = {pod["status"]["podIP"] for pod in await cluster.all(PODS)}
    assert ready_addresses(slices) == addresses
    mine = [part for part in slices if part["metadata"]["labels"].get("kubernetes.io/service-name") == "web"]
    assert [part["ports"] for part in mine] == [[{"name": "", "port": 8080, "protocol": "TCP"}]]
    endpoints = await cluster.until(
        lambda: cluster.get(ENDPOINTS, "web"),
        lambda found: found and len((found.get("subsets") or [{}])[0].get("addresses", ())) == 3,
        "the mirror",
    )
    assert endpoints["subsets"][0]["ports"] == [{"port": 8080, "protocol": "TCP"}]
    await cluster.change("web", {"spec": {"replicas": 1}})
    await cluster.until(
        lambda: cluster.all(ENDPOINT_SLICES), lambda found: len(ready_addresses(found)) == 1, "one endpoint"
    )
    await cluster.client.delete(SERVICES, "web", namespace="default")
    await cluster.until(lambda: cluster.get(ENDPOINTS, "web"), lambda found: found is None, "endpoints go")
    await cluster.until(
        lambda: cluster.all(ENDPOINT_SLICES, labels="kubernetes.io/service-name=web"),
        lambda found: not found,
        "slices go",
    )


async def test_a_namespace_goes_with_everything_in_it(cluster: Cluster) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    await cluster.client.create(NAMESPACES, namespace)
    await cluster.until(lambda: cluster.get(SERVICE_ACCOUNTS, "default", "shop"), bool, "the default account")
    authority = await cluster.until(lambda: cluster.get(CONFIG_MAPS, "kube-root-ca.crt", "shop"), bool, "the CA")
    assert authority["data"] == {"ca.crt": "PEM"}
    shop = deployment()
    shop["metadata"]["namespace"] = "shop"
    await cluster.client.create(DEPLOYMENTS, {**shop, "spec": {**shop["spec"], "replicas": 2}})
    await cluster.until(lambda: cluster.all(PODS, "shop"), lambda found: len(found) == 2, "pods")
    await cluster.client.delete(NAMESPACES, "shop")
    await cluster.until(lambda: cluster.get(NAMESPACES, "shop"), lambda found: found is None, "the namespace goes")
    assert await cluster.all(PODS, "shop") == ()


async def test_what_does_not_fit_waits_and_says_why(cluster: Cluster) -> None:
    greedy = {"containers": [{"name": "web", "image": "x:1", "resources": {"requests": {"cpu": "6"}}}]}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": greedy}
    await cluster.deploy(replicas=2, template=template)
    (message,) = await cluster.until(lambda: cluster.messages("FailedScheduling"), bool, "the event")
    assert message == (
        "0/1 nodes are available: 1 Insufficient cpu. "
        "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
    )
    pods = await cluster.until(
        lambda: cluster.all(PODS),
        lambda found: sorted("nodeName" in pod["spec"] for pod in found) == [False, True],
        "one of two",
    )
    bound = next(pod for pod in pods if "nodeName" in pod["spec"])["metadata"]["name"]
    await cluster.change("web", {"spec": {"replicas": 1}})
    await cluster.until(
        lambda: cluster.all(PODS),
        lambda found: [pod["metadata"]["name"] for pod in found] == [bound],
        "the waiting one goes",
    )


@pytest.mark.parametrize("replicas", [40])
async def test_many_pods(cluster: Cluster, replicas: int) -> None:
    await cluster.deploy(replicas=replicas)
    await cluster.rolled_out()
    assert len(await cluster.all(PODS)) == replicas
    cluster.kubelet.count_from_now()
    await cluster.change("web", image("nginx:2"))
    await cluster.rolled_out()
    assert cluster.kubelet.most <= replicas * 1.25
    assert cluster.kubelet.fewest_ready is not None
    assert cluster.kubelet.fewest_ready >= replicas * 0.75
