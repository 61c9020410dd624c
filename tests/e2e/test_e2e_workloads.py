"""Every workload controller with real pods and the real kubectl."""

import pytest
from space import SLEEP, Kubectl, names, selected, template

pytestmark = pytest.mark.real


def test_stateful_set(kubectl: Kubectl) -> None:
    headless = {"clusterIP": "None", "selector": {"app": "x"}, "ports": [{"port": 80}]}
    kubectl.apply("Service", "db", headless, "v1")
    kubectl.apply("StatefulSet", "db", selected(f"hostname; {SLEEP}", replicas=3, serviceName="db"))
    kubectl("rollout", "status", "sts/db", "--timeout=60s")
    pods = kubectl.items("pods")
    assert names(pods) == ["db-0", "db-1", "db-2"]
    started = [pod["status"]["startTime"] for pod in sorted(pods, key=lambda pod: pod["metadata"]["name"])]
    assert started == sorted(started)
    kubectl.until(lambda: kubectl("logs", "db-2").strip(), lambda said: said == "db-2", "its name")
    lost = next(pod["metadata"]["uid"] for pod in pods if pod["metadata"]["name"] == "db-1")
    kubectl("delete", "pod", "db-1")
    kubectl.until(
        lambda: kubectl.items("pods", "--field-selector", "metadata.name=db-1"),
        lambda found: found and found[0]["metadata"]["uid"] != lost,
        "the same name again",
    )
    kubectl("rollout", "status", "sts/db", "--timeout=60s")
    kubectl("set", "env", "sts/db", "VERSION=2")
    kubectl("rollout", "status", "sts/db", "--timeout=60s")
    assert "2         <none>" in kubectl("rollout", "history", "sts/db")
    kubectl("rollout", "undo", "sts/db")
    kubectl("rollout", "status", "sts/db", "--timeout=60s")
    containers = [pod["spec"]["containers"][0] for pod in kubectl.items("pods")]
    assert not any(container.get("env") for container in containers)
    kubectl("scale", "sts/db", "--replicas=1")
    kubectl.until(lambda: names(kubectl.items("pods")), lambda found: found == ["db-0"], "the last ones to go")


def test_claims_of_a_stateful_set(kubectl: Kubectl) -> None:
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    policy = {"whenDeleted": "Delete", "whenScaled": "Retain"}
    spec = selected(replicas=1, volumeClaimTemplates=[claim], persistentVolumeClaimRetentionPolicy=policy)
    kubectl.apply("StatefulSet", "db", spec)
    claims = kubectl.until(lambda: kubectl.items("pvc"), bool, "a claim")
    assert names(claims) == ["data-db-0"]
    kubectl("delete", "sts", "db", "--timeout=60s")
    kubectl.until(lambda: kubectl.items("pvc"), lambda found: not found, "no claim")


def test_daemon_set(kubectl: Kubectl) -> None:
    kubectl.apply("DaemonSet", "agent", selected())
    assert "successfully rolled out" in kubectl("rollout", "status", "ds/agent", "--timeout=60s")
    (pod,) = kubectl.items("pods")
    assert pod["spec"]["nodeName"] == "fairway"
    kubectl(
        "patch", "ds", "agent", "-p", '{"spec":{"updateStrategy":{"rollingUpdate":{"maxSurge":1,"maxUnavailable":0}}}}'
    )
    kubectl("set", "env", "ds/agent", "VERSION=2")
    assert "successfully rolled out" in kubectl("rollout", "status", "ds/agent", "--timeout=60s")
    kubectl("rollout", "undo", "ds/agent")
    kubectl("rollout", "status", "ds/agent", "--timeout=60s")
    kubectl("patch", "ds", "agent", "-p", '{"spec":{"template":{"spec":{"nodeSelector":{"disk":"none"}}}}}')
    kubectl.until(lambda: kubectl.items("pods"), lambda found: not found, "no node fits")
    kubectl.until(
        lambda: kubectl.get("ds", "agent")["status"], lambda found: found["desiredNumberScheduled"] == 0, "to be told"
    )


def test_job(kubectl: Kubectl) -> None:
    command = "echo $JOB_COMPLETION_INDEX at $(hostname)"
    spec = {"completions": 3, "parallelism": 2, "completionMode": "Indexed"}
    kubectl.apply("Job", "sum", {**spec, "template": template(command, restartPolicy="Never")}, "batch/v1")
    kubectl("wait", "--for=condition=complete", "job/sum", "--timeout=60s")
    status = kubectl.get("job", "sum")["status"]
    assert (status["succeeded"], status["completedIndexes"]) == (3, "0-2")
    logs = kubectl("logs", "-l", "batch.kubernetes.io/job-name=sum")
    assert sorted(logs.split("\n")[:-1]) == ["0 at sum-0", "1 at sum-1", "2 at sum-2"]
    kubectl("delete", "job", "sum", "--timeout=60s")
    kubectl.until(lambda: kubectl.items("pods"), lambda found: not found, "its pods gone")


def test_jobs_that_fail(kubectl: Kubectl) -> None:
    failing = {"backoffLimit": 0, "template": template("exit 3", restartPolicy="Never")}
    kubectl.apply("Job", "broken", failing, "batch/v1")
    kubectl("wait", "--for=condition=failed", "job/broken", "--timeout=60s")
    slow = {"activeDeadlineSeconds": 1, "template": template(restartPolicy="Never", terminationGracePeriodSeconds=1)}
    kubectl.apply("Job", "slow", slow, "batch/v1")
    kubectl("wait", "--for=condition=failed", "job/slow", "--timeout=60s")
    reasons = {
        job["metadata"]["name"]: [item["reason"] for item in job["status"]["conditions"] if item["type"] == "Failed"]
        for job in kubectl.items("jobs")
    }
    assert reasons == {"broken": ["BackoffLimitExceeded"], "slow": ["DeadlineExceeded"]}


def test_cron_job(kubectl: Kubectl) -> None:
    job = {"spec": {"template": template("date", restartPolicy="OnFailure")}}
    kubectl.apply("CronJob", "tick", {"schedule": "@every 2s", "jobTemplate": job}, "batch/v1")
    done = kubectl.until(
        lambda: kubectl.get("cronjob", "tick")["status"], lambda found: found.get("lastSuccessfulTime"), "a success"
    )
    assert done["lastScheduleTime"]
    kubectl("patch", "cronjob", "tick", "-p", '{"spec":{"suspend":true}}')
    kubectl("create", "job", "--from=cronjob/tick", "by-hand")
    kubectl("wait", "--for=condition=complete", "job/by-hand", "--timeout=60s")
    refused = {"schedule": "60 * * * *", "jobTemplate": job}
    with pytest.raises(AssertionError, match=r"end of range \(60\) above maximum \(59\): 60"):
        kubectl.apply("CronJob", "tock", refused, "batch/v1")


def test_disruption_budget(kubectl: Kubectl) -> None:
    kubectl.apply("Deployment", "web", selected(replicas=2))
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    budget = {"minAvailable": 2, "selector": {"matchLabels": {"app": "x"}}}
    kubectl.apply("PodDisruptionBudget", "web", budget, "policy/v1")
    kubectl("wait", "--for=jsonpath={.status.currentHealthy}=2", "pdb/web", "--timeout=60s")
    selector = f"--pod-selector=app=x,where={kubectl.namespace}"
    kubectl("label", "pods", "--all", f"where={kubectl.namespace}")
    refused = "Cannot evict pod as it would violate the pod's disruption budget."
    try:
        kubectl.cluster.kubectl_until(refused, "drain", "fairway", selector)
    finally:
        kubectl("uncordon", "fairway")
    assert len(kubectl.items("pods")) == 2


def test_quota_and_limits(kubectl: Kubectl) -> None:
    item = {"type": "Container", "default": {"cpu": "200m"}, "defaultRequest": {"cpu": "100m"}}
    kubectl.apply("LimitRange", "usual", {"limits": [item]}, "v1")
    kubectl.apply("ResourceQuota", "small", {"hard": {"pods": "2", "requests.cpu": "150m"}}, "v1")
    kubectl.apply("Deployment", "web", selected(replicas=2))
    quota = kubectl.until(
        lambda: kubectl.get("quota", "small")["status"], lambda found: found.get("used", {}).get("pods") == "1", "use"
    )
    assert quota["used"] == {"pods": "1", "requests.cpu": "100m"}
    said = "exceeded quota: small, requested: requests.cpu=100m, used: requests.cpu=100m"
    kubectl.until(
        lambda: [event["message"] for event in kubectl.items("events") if event["reason"] == "FailedCreate"],
        lambda messages: any(said in message for message in messages),
        said,
    )


def test_autoscaler(kubectl: Kubectl) -> None:
    kubectl.apply("Deployment", "web", selected(replicas=1))
    metric = {"type": "Resource", "resource": {"name": "memory"}}
    metric["resource"]["target"] = {"type": "AverageValue", "averageValue": "1"}  # type: ignore[index]
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"scaleTargetRef": target, "maxReplicas": 3, "metrics": [metric]}
    kubectl.apply("HorizontalPodAutoscaler", "web", spec, "autoscaling/v2")
    kubectl("wait", "--for=condition=ScalingActive", "hpa/web", "--timeout=120s")
    kubectl("wait", "--for=jsonpath={.spec.replicas}=3", "deployment/web", "--timeout=120s")
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")


def test_pods_apart(kubectl: Kubectl) -> None:
    term = {"labelSelector": {"matchLabels": {"app": "x"}}, "topologyKey": "kubernetes.io/hostname"}
    apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    spec = {"selector": {"matchLabels": {"app": "x"}}, "template": template(affinity=apart), "replicas": 2}
    kubectl.apply("Deployment", "web", spec)
    messages = kubectl.until(
        lambda: [event["message"] for event in kubectl.items("events") if event["reason"] == "FailedScheduling"],
        bool,
        "an event",
    )
    assert messages[0].startswith("0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules.")
    kubectl("scale", "deployment/web", "--replicas=1")
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
