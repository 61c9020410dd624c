"""What a failed pod means for its job (documentation "Pod failure policy")."""

from collections.abc import Iterable

import msgspec

from fairway.kube.api.jobs import Job, OnExitCodes, OnPodCondition, PodFailurePolicyRule
from fairway.kube.api.pods import ContainerStatus, Pod

FAIL_JOB, FAIL_INDEX, IGNORE, COUNT = "FailJob", "FailIndex", "Ignore", "Count"


class Verdict(msgspec.Struct, frozen=True):
    """The action of the first rule that matches (Count when none does), and why."""

    action: str = COUNT
    message: str = ""


def judge(job: Job, pod: Pod) -> Verdict:
    """Decide about a pod that has failed."""
    policy = job.spec.pod_failure_policy
    for index, rule in enumerate(policy.rules if policy else ()):
        if reason := _matches(rule, pod):
            return Verdict(rule.action, f"{reason} matching {rule.action} rule at index {index}")
    return Verdict()


def _matches(rule: PodFailurePolicyRule, pod: Pod) -> str:
    if rule.on_exit_codes is not None:
        return _exit_code(rule.on_exit_codes, pod)
    return next((text for pattern in rule.on_pod_conditions if (text := _condition(pattern, pod))), "")


def _condition(pattern: OnPodCondition, pod: Pod) -> str:
    condition = pod.status.condition(pattern.type)
    if condition is None or condition.status != pattern.status:
        return ""
    return f"Pod {pod.metadata.key} has condition {pattern.type}"


def _exit_code(pattern: OnExitCodes, pod: Pod) -> str:
    statuses: Iterable[ContainerStatus] = (*pod.status.container_statuses, *pod.status.init_container_statuses)
    for status in statuses:
        ended = status.state.terminated
        if ended is None or ended.exit_code == 0 or pattern.container_name not in (None, status.name):
            continue
        if (ended.exit_code in pattern.values) == (pattern.operator == "In"):
            return f"Container {status.name} for pod {pod.metadata.key} failed with exit code {ended.exit_code}"
    return ""
