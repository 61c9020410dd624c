"""Jobs with real pods: suspended, per index, ended by a rule, forgotten in time."""

from typing import Any

import pytest
from space import Kubectl, template

pytestmark = pytest.mark.real


def job(command: str, **spec: Any) -> dict[str, Any]:
    return {**spec, "template": template(command, restartPolicy="Never", terminationGracePeriodSeconds=0)}


def conditions(kubectl: Kubectl, name: str) -> dict[str, str]:
    """Type → reason of the conditions that are true."""
    found = kubectl.get("job", name)["status"].get("conditions") or []
    return {item["type"]: item["reason"] for item in found if item["status"] == "True"}


def test_a_job_is_suspended_and_resumed(kubectl: Kubectl) -> None:
    kubectl.apply("Job", "later", job("echo done", suspend=True), "batch/v1")
    kubectl.until(lambda: conditions(kubectl, "later"), lambda found: found == {"Suspended": "JobSuspended"}, "rest")
    assert kubectl.items("pods") == []
    kubectl("patch", "job", "later", "-p", '{"spec":{"suspend":false}}')
    kubectl("wait", "--for=condition=complete", "job/later", "--timeout=60s")

    def reasons() -> set[str]:
        return {event["reason"] for event in kubectl.items("events") if event["involvedObject"]["kind"] == "Job"}

    wanted = {"Suspended", "Resumed", "SuccessfulCreate", "Completed"}
    kubectl.until(reasons, lambda found: found == wanted, "these events")


def test_each_index_has_its_own_backoff(kubectl: Kubectl) -> None:
    command = "test $JOB_COMPLETION_INDEX != 1"
    spec = job(command, completions=3, parallelism=3, completionMode="Indexed", backoffLimitPerIndex=0)
    kubectl.apply("Job", "sum", spec, "batch/v1")
    kubectl("wait", "--for=condition=failed", "job/sum", "--timeout=60s")
    status = kubectl.get("job", "sum")["status"]
    assert (status["completedIndexes"], status["failedIndexes"], status["succeeded"]) == ("0,2", "1", 2)
    assert conditions(kubectl, "sum")["Failed"] == "FailedIndexes"


def test_an_exit_code_can_end_a_job_at_once(kubectl: Kubectl) -> None:
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}
    spec = job("exit 42", backoffLimit=6, podFailurePolicy={"rules": [rule]})
    kubectl.apply("Job", "broken", spec, "batch/v1")
    kubectl("wait", "--for=condition=failed", "job/broken", "--timeout=60s")
    assert conditions(kubectl, "broken")["Failed"] == "PodFailurePolicy"
    assert len(kubectl.items("pods")) == 1


def test_one_success_can_be_enough(kubectl: Kubectl) -> None:
    command = "test $JOB_COMPLETION_INDEX = 0 || sleep 1000"
    policy = {"rules": [{"succeededIndexes": "0"}]}
    spec = job(command, completions=2, parallelism=2, completionMode="Indexed", successPolicy=policy)
    kubectl.apply("Job", "leader", spec, "batch/v1")
    kubectl("wait", "--for=condition=complete", "job/leader", "--timeout=60s")
    assert conditions(kubectl, "leader")["Complete"] == "SuccessPolicy"


def test_a_finished_job_is_forgotten_in_time(kubectl: Kubectl) -> None:
    kubectl.apply("Job", "brief", job("true", ttlSecondsAfterFinished=1), "batch/v1")
    kubectl.until(lambda: kubectl.items("jobs"), lambda found: not found, "forgotten")
    kubectl.until(lambda: kubectl.items("pods"), lambda found: not found, "its pods gone")
