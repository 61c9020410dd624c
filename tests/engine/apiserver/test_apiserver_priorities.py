"""Pods get the priority of their class (the Priority admission plugin)."""

from typing import Any

import pytest

_CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
_PODS = "/api/v1/namespaces/default/pods"


def pod(**spec: Any) -> Any:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


@pytest.fixture
async def classes(api: Any) -> Any:
    """A class that is asked for by name, and the API."""
    await api.create(_CLASSES, {"metadata": {"name": "high"}, "value": 1000, "preemptionPolicy": "Never"})
    return api


async def test_a_cluster_begins_with_the_systems_own(api: Any) -> None:
    found = {item["metadata"]["name"]: item["value"] for item in (await api.get(_CLASSES))["items"]}
    assert found == {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


@pytest.mark.parametrize(
    ("spec", "priority", "policy"),
    [
        ({}, 0, "PreemptLowerPriority"),
        ({"preemptionPolicy": "Never"}, 0, "Never"),
        ({"priorityClassName": "high"}, 1000, "Never"),
        ({"priorityClassName": "high", "priority": 1000}, 1000, "Never"),
        ({"priorityClassName": "system-node-critical"}, 2_000_001_000, "PreemptLowerPriority"),
    ],
)
async def test_numbers_come_from_the_class(classes: Any, spec: Any, priority: int, policy: str) -> None:
    made = (await classes.create(_PODS, pod(**spec)))["spec"]
    assert (made["priority"], made["preemptionPolicy"]) == (priority, policy)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"priorityClassName": "none"}, 'pods "p" is forbidden: no PriorityClass with name none was found'),
        (
            {"priorityClassName": "high", "priority": 7},
            'pods "p" is forbidden: the integer value of priority (7) must not be provided in pod spec; '
            "priority admission controller computed 1000 from the given PriorityClass name",
        ),
        (
            {"priority": 7},
            'pods "p" is forbidden: the integer value of priority (7) must not be provided in pod spec; '
            "priority admission controller computed 0 from the given PriorityClass name",
        ),
        (
            {"priorityClassName": "high", "preemptionPolicy": "PreemptLowerPriority"},
            'pods "p" is forbidden: the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided '
            "in pod spec; priority admission controller computed Never from the given PriorityClass name",
        ),
    ],
)
async def test_nobody_gives_himself_a_priority(classes: Any, spec: Any, says: str) -> None:
    answer = await classes.call("POST", _PODS, pod(**spec))
    assert (answer.status, answer.message) == (403, says)


async def test_one_class_may_be_everybodys(classes: Any) -> None:
    await classes.create(_CLASSES, {"metadata": {"name": "usual"}, "value": 5, "globalDefault": True})
    second = {"metadata": {"name": "other"}, "value": 6, "globalDefault": True}
    answer = await classes.call("POST", _CLASSES, second)
    assert answer.message == (
        'priorityclasses.scheduling.k8s.io "other" is forbidden: '
        "PriorityClass usual is already marked as default. Only one default can exist"
    )
    made = (await classes.create(_PODS, pod()))["spec"]
    assert (made["priority"], made["priorityClassName"]) == (5, "usual")
