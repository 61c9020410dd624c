"""Jobs against a real API server; the tests end the pods."""

from typing import Any

from controllers_world import Cluster

from fairway.kube.api.meta import timestamp
from fairway.kube.api.resource import JOBS, PODS
from fairway.toolkit.clock import SystemClock

Raw = dict[str, Any]
INDEX = "batch.kubernetes.io/job-completion-index"


async def make(cluster: Cluster, name: str = "sum", **spec: Any) -> Raw:
    containers = [{"name": "main", "image": "busybox:1"}]
    template = {"spec": {"restartPolicy": "Never", "containers": containers}}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"template": template, **spec},
    }
    return await cluster.client.create(JOBS, job)


async def job(cluster: Cluster) -> Raw:
    found = await cluster.get(JOBS, "sum")
    assert found is not None
    return found


def met(found: Raw) -> dict[str, str]:
    return {item["type"]: item["reason"] for item in found["status"].get("conditions", []) if item["status"] == "True"}


async def running(cluster: Cluster, count: int) -> list[Raw]:
    async def look() -> list[Raw]:
        return [pod for pod in await cluster.all(PODS) if pod["status"]["phase"] == "Running"]

    found: list[Raw] = await cluster.until(look, lambda pods: len(pods) == count, f"{count} running pods")
    return found


async def end(cluster: Cluster, pod: Raw, exit_code: int = 0) -> None:
    ended = {"exitCode": exit_code, "reason": "Error", "finishedAt": timestamp(SystemClock().now())}
    image = pod["spec"]["containers"][0]["image"]
    container = {"name": "main", "image": image, "imageID": "", "ready": False, "restartCount": 0}
    container["state"] = {"terminated": ended}
    status = {"phase": "Failed" if exit_code else "Succeeded", "containerStatuses": [container]}
    name = pod["metadata"]["name"]
    await cluster.client.patch(PODS, name, {"status": status}, namespace="default", subresource="status")


async def until(cluster: Cluster, wanted: Any, what: str) -> Raw:
    found: Raw = await cluster.until(lambda: cluster.get(JOBS, "sum"), lambda obj: obj and wanted(obj), what)
    return found


async def test_a_job_runs_until_enough_pods_have_succeeded(cluster: Cluster) -> None:
    await make(cluster, completions=3, parallelism=2)
    pods = await running(cluster, 2)
    assert pods[0]["metadata"]["finalizers"] == ["batch.kubernetes.io/job-tracking"]
    await until(cluster, lambda found: found["status"].get("ready") == 2, "ready")
    for pod in pods:
        await end(cluster, pod)
    (last,) = await running(cluster, 1)
    await end(cluster, last)
    found = await until(cluster, lambda found: "Complete" in met(found), "completion")
    assert met(found) == {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
    status = found["status"]
    assert (status["succeeded"], status.get("failed"), status.get("active")) == (3, None, None)
    assert status["uncountedTerminatedPods"] == {}
    assert status["completionTime"] >= status["startTime"]
    pods = await cluster.until(
        lambda: cluster.all(PODS), lambda found: not any(pod["metadata"].get("finalizers") for pod in found), "released"
    )
    assert len(pods) == 3
    await cluster.told("Completed", "Job completed")


async def test_an_indexed_job_gives_every_index_a_pod(cluster: Cluster) -> None:
    await make(cluster, completions=3, parallelism=3, completionMode="Indexed")
    pods = await running(cluster, 3)
    by_index = {pod["metadata"]["annotations"][INDEX]: pod for pod in pods}
    assert sorted(by_index) == ["0", "1", "2"]
    one = by_index["1"]
    assert one["spec"]["hostname"] == "sum-1"
    assert one["metadata"]["name"].startswith("sum-1-")
    (variable,) = one["spec"]["containers"][0]["env"]
    assert variable["name"] == "JOB_COMPLETION_INDEX"
    await end(cluster, by_index["0"])
    await end(cluster, by_index["2"])
    found = await until(cluster, lambda found: found["status"].get("succeeded") == 2, "two indexes")
    assert found["status"]["completedIndexes"] == "0,2"
    await end(cluster, one)
    found = await until(cluster, lambda found: "Complete" in met(found), "completion")
    assert found["status"]["completedIndexes"] == "0-2"


async def test_a_job_that_fails_too_often_ends_and_takes_its_pods_along(cluster: Cluster) -> None:
    await make(cluster, completions=2, parallelism=2, backoffLimit=0)
    pods = await running(cluster, 2)
    await end(cluster, pods[0], 1)
    found = await until(cluster, lambda found: "Failed" in met(found), "failure")
    assert met(found) == {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"}
    assert found["status"]["failed"] == 2
    assert "completionTime" not in found["status"]
    await cluster.told("BackoffLimitExceeded", "Job has reached the specified backoff limit")
    ended = pods[0]["metadata"]["name"]
    await cluster.until(
        lambda: cluster.all(PODS), lambda found: [pod["metadata"]["name"] for pod in found] == [ended], "the other goes"
    )


async def test_a_deadline_ends_a_job(cluster: Cluster) -> None:
    await make(cluster)
    await running(cluster, 1)  # before the deadline is set: a second begins with the whole one that is under way
    await cluster.client.patch(JOBS, "sum", {"spec": {"activeDeadlineSeconds": 1}}, namespace="default")
    found = await until(cluster, lambda found: "Failed" in met(found), "deadline")
    assert met(found)["Failed"] == "DeadlineExceeded"


async def test_a_job_can_be_suspended_and_resumed(cluster: Cluster) -> None:
    await make(cluster, suspend=True)
    found = await until(cluster, lambda found: "Suspended" in met(found), "suspension")
    assert "startTime" not in found["status"]
    await cluster.client.patch(JOBS, "sum", {"spec": {"suspend": False}}, namespace="default")
    await running(cluster, 1)
    await cluster.client.patch(JOBS, "sum", {"spec": {"suspend": True}}, namespace="default")
    await cluster.until(lambda: cluster.all(PODS), lambda found: not found, "no pods")
    found = await until(cluster, lambda found: "Suspended" in met(found), "suspension")
    assert found["status"].get("failed") is None
    await cluster.client.patch(JOBS, "sum", {"spec": {"suspend": False}}, namespace="default")
    (pod,) = await running(cluster, 1)
    await end(cluster, pod)
    await until(cluster, lambda found: "Complete" in met(found), "completion")


async def test_a_failure_policy_ends_a_job_at_once(cluster: Cluster) -> None:
    rules = [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]
    await make(cluster, podFailurePolicy={"rules": rules})
    (pod,) = await running(cluster, 1)
    await end(cluster, pod, 42)
    found = await until(cluster, lambda found: "Failed" in met(found), "failure")
    assert met(found)["Failed"] == "PodFailurePolicy"
    name = pod["metadata"]["name"]
    message = f"Container main for pod default/{name} failed with exit code 42 matching FailJob rule at index 0"
    await cluster.told("PodFailurePolicy", message)


async def test_a_job_is_removed_after_its_time(cluster: Cluster) -> None:
    await make(cluster, ttlSecondsAfterFinished=0)
    (pod,) = await running(cluster, 1)
    await end(cluster, pod)
    await cluster.until(lambda: cluster.get(JOBS, "sum"), lambda found: found is None, "removal")
    await cluster.until(lambda: cluster.all(PODS), lambda found: not found, "its pods, too")


async def test_a_deleted_job_lets_its_pods_go(cluster: Cluster) -> None:
    await make(cluster)
    await running(cluster, 1)
    await cluster.client.delete(JOBS, "sum", namespace="default", propagation_policy="Background")
    await cluster.until(lambda: cluster.all(PODS), lambda found: not found, "no pods")
