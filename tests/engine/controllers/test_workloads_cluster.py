"""StatefulSets and DaemonSets against a real API server, with pods that pretend to run."""

from typing import Any

from controllers_world import BROKEN_IMAGE, Cluster, make_node

from fairway.kube.api.resource import (
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    STATEFUL_SETS,
    Resource,
)
from fairway.kube.client.client import PatchType

Raw = dict[str, Any]


def workload(kind: Resource, name: str = "db", image: str = "nginx:1", **spec: Any) -> Raw:
    return {
        "apiVersion": "apps/v1",
        "kind": kind.kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
            **spec,
        },
    }


def image(name: str) -> Raw:
    return {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": name}]}}}}


def claim_template(name: str = "data") -> Raw:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    return {"metadata": {"name": name}, "spec": spec}


async def images(cluster: Cluster) -> dict[str, str]:
    pods = await cluster.all(PODS)
    return {pod["metadata"]["name"]: pod["spec"]["containers"][0]["image"] for pod in pods}


def rolled(found: Raw | None) -> bool:
    if found is None or found["status"].get("observedGeneration") != found["metadata"]["generation"]:
        return False
    status, replicas = found["status"], found["spec"]["replicas"]
    counts = {status.get(key, 0) for key in ("replicas", "readyReplicas", "availableReplicas", "updatedReplicas")}
    return counts == {replicas} and status["currentRevision"] == status["updateRevision"]


async def settled(cluster: Cluster, name: str = "db") -> Raw:
    found: Raw = await cluster.until(lambda: cluster.get(STATEFUL_SETS, name), rolled, f"rollout of {name}")
    return found


async def test_a_stateful_set_makes_its_pods_in_order(cluster: Cluster) -> None:
    spec = {"replicas": 3, "serviceName": "peers", "volumeClaimTemplates": [claim_template()]}
    body = workload(STATEFUL_SETS, **spec)
    body["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    await cluster.client.create(STATEFUL_SETS, body)
    found = await settled(cluster)
    assert found["status"]["collisionCount"] == 0
    pods = await cluster.all(PODS)
    assert [pod["metadata"]["name"] for pod in pods] == ["db-0", "db-1", "db-2"]
    created = [int(pod["metadata"]["resourceVersion"]) for pod in pods]
    assert created == sorted(created)
    first = pods[0]
    assert (first["spec"]["hostname"], first["spec"]["subdomain"]) == ("db-0", "peers")
    assert first["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == "data-db-0"
    labels = first["metadata"]["labels"]
    assert labels["statefulset.kubernetes.io/pod-name"] == "db-0"
    assert labels["apps.kubernetes.io/pod-index"] == "0"
    assert labels["controller-revision-hash"] == found["status"]["currentRevision"]
    claims = await cluster.all(PERSISTENT_VOLUME_CLAIMS)
    assert [claim["metadata"]["name"] for claim in claims] == ["data-db-0", "data-db-1", "data-db-2"]
    assert claims[0]["metadata"]["labels"] == {"app": "db"}
    told = {"create Pod db-0 in StatefulSet db successful", "create Claim data-db-0 Pod db-0 in StatefulSet db success"}
    await cluster.until(lambda: cluster.messages("SuccessfulCreate"), lambda found: told <= set(found), "the events")


async def test_a_broken_first_pod_holds_the_others_back(cluster: Cluster) -> None:
    await cluster.client.create(STATEFUL_SETS, workload(STATEFUL_SETS, image=BROKEN_IMAGE, replicas=3))
    await cluster.until(
        lambda: cluster.get(STATEFUL_SETS, "db"), lambda found: found["status"].get("replicas") == 1, "first pod"
    )
    assert list(await images(cluster)) == ["db-0"]
    parallel = workload(STATEFUL_SETS, "wild", BROKEN_IMAGE, replicas=3, podManagementPolicy="Parallel")
    await cluster.client.create(STATEFUL_SETS, parallel)
    await cluster.until(lambda: images(cluster), lambda found: len(found) == 4, "all at once")


async def test_a_partition_updates_the_last_pods_only(cluster: Cluster) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    await cluster.client.create(STATEFUL_SETS, workload(STATEFUL_SETS, replicas=3, updateStrategy=strategy))
    await settled(cluster)
    await cluster.client.patch(STATEFUL_SETS, "db", image("nginx:2"), namespace="default")
    wanted = {"db-0": "nginx:1", "db-1": "nginx:1", "db-2": "nginx:2"}
    await cluster.until(lambda: images(cluster), lambda found: found == wanted, "partitioned update")
    # A pod below the partition that is lost comes back as it was.
    await cluster.client.delete(PODS, "db-0", namespace="default")
    await cluster.until(
        lambda: cluster.get(STATEFUL_SETS, "db"), lambda found: found["status"].get("readyReplicas") == 3, "again"
    )
    await cluster.until(lambda: images(cluster), lambda found: found == wanted, "as it was")
    opened = {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}
    await cluster.client.patch(STATEFUL_SETS, "db", opened, namespace="default")
    await settled(cluster)
    assert set((await images(cluster)).values()) == {"nginx:2"}


async def test_a_stateful_set_rolls_back_and_keeps_its_history(cluster: Cluster) -> None:
    await cluster.client.create(STATEFUL_SETS, workload(STATEFUL_SETS, replicas=1, revisionHistoryLimit=1))
    for number in (2, 3):
        await settled(cluster)
        await cluster.client.patch(STATEFUL_SETS, "db", image(f"nginx:{number}"), namespace="default")
    await settled(cluster)
    revisions = await cluster.until(lambda: cluster.all(CONTROLLER_REVISIONS), lambda found: len(found) == 2, "history")
    previous = min(revisions, key=lambda item: item["revision"])
    await cluster.client.patch(STATEFUL_SETS, "db", previous["data"], namespace="default", type=PatchType.STRATEGIC)
    await settled(cluster)
    assert await images(cluster) == {"db-0": "nginx:2"}
    revisions = await cluster.all(CONTROLLER_REVISIONS)
    assert sorted(item["revision"] for item in revisions) == [3, 4]


async def test_scaling_down_goes_from_the_end_and_may_take_the_claims_along(cluster: Cluster) -> None:
    policy = {"whenScaled": "Delete", "whenDeleted": "Delete"}
    spec = {
        "replicas": 3,
        "volumeClaimTemplates": [claim_template()],
        "persistentVolumeClaimRetentionPolicy": policy,
    }
    await cluster.client.create(STATEFUL_SETS, workload(STATEFUL_SETS, **spec))
    await settled(cluster)
    await cluster.client.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 1}}, namespace="default")
    await settled(cluster)
    claims = await cluster.until(
        lambda: cluster.all(PERSISTENT_VOLUME_CLAIMS),
        lambda found: [claim["metadata"]["name"] for claim in found] == ["data-db-0"],
        "claims of the pods that went",
    )
    assert claims[0]["metadata"]["ownerReferences"][0]["kind"] == "StatefulSet"
    await cluster.client.delete(STATEFUL_SETS, "db", namespace="default")
    await cluster.until(lambda: cluster.all(PERSISTENT_VOLUME_CLAIMS), lambda found: not found, "claims of the set")


async def daemon(cluster: Cluster, **counts: int) -> Raw:
    def done(found: Raw) -> bool:
        status = found["status"]
        return status.get("observedGeneration") == found["metadata"]["generation"] and all(
            status.get(key, 0) == value for key, value in counts.items()
        )

    found: Raw = await cluster.until(lambda: cluster.get(DAEMON_SETS, "agent"), done, str(counts))
    return found


async def test_a_daemon_set_has_one_pod_on_every_node_that_fits(cluster: Cluster) -> None:
    await make_node(cluster.client, "second")
    await cluster.client.patch(NODES, "second", {"metadata": {"labels": {"disk": "ssd"}}})
    await cluster.client.create(DAEMON_SETS, workload(DAEMON_SETS, "agent"))
    await daemon(cluster, desiredNumberScheduled=2, numberAvailable=2)
    pods = await cluster.all(PODS)
    assert sorted(pod["spec"]["nodeName"] for pod in pods) == ["fairway", "second"]
    assert {toleration["key"] for toleration in pods[0]["spec"]["tolerations"]} >= {
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unschedulable",
    }
    # A drained node keeps its daemons; a taint that they do not tolerate ends them.
    await cluster.client.patch(NODES, "fairway", {"spec": {"unschedulable": True}})
    taint = {"key": "reserved", "effect": "NoExecute"}
    await cluster.client.patch(NODES, "second", {"spec": {"taints": [taint]}})
    await daemon(cluster, desiredNumberScheduled=1, currentNumberScheduled=1, numberMisscheduled=0)
    await cluster.client.patch(NODES, "second", {"spec": {"taints": None}})
    await make_node(cluster.client, "third")
    await daemon(cluster, desiredNumberScheduled=3, numberAvailable=3)
    chosen = {"spec": {"template": {"spec": {"nodeSelector": {"disk": "ssd"}}}}}
    await cluster.client.patch(DAEMON_SETS, "agent", chosen, namespace="default")
    await daemon(cluster, desiredNumberScheduled=1, numberAvailable=1, updatedNumberScheduled=1, numberMisscheduled=0)


async def test_a_daemon_set_updates_node_by_node(cluster: Cluster) -> None:
    for name in ("second", "third"):
        await make_node(cluster.client, name)
    await cluster.client.create(DAEMON_SETS, workload(DAEMON_SETS, "agent"))
    await daemon(cluster, desiredNumberScheduled=3, numberAvailable=3)
    cluster.kubelet.count_from_now()
    await cluster.client.patch(DAEMON_SETS, "agent", image("nginx:2"), namespace="default")
    await daemon(cluster, updatedNumberScheduled=3, numberAvailable=3)
    assert cluster.kubelet.fewest_ready == 2
    assert cluster.kubelet.most == 3
    surging = {"spec": {"updateStrategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}}
    await cluster.client.patch(DAEMON_SETS, "agent", surging, namespace="default")
    cluster.kubelet.count_from_now()
    await cluster.client.patch(DAEMON_SETS, "agent", image("nginx:3"), namespace="default")
    await daemon(cluster, updatedNumberScheduled=3, numberAvailable=3)
    assert cluster.kubelet.fewest_ready == 3
    assert cluster.kubelet.most == 4
    revisions = await cluster.all(CONTROLLER_REVISIONS)
    assert sorted(item["revision"] for item in revisions) == [1, 2, 3]
