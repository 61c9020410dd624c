"""What the API shows of a pod, as tables."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from kubelet_tables import APP, INIT, NOW, SIDE, ago, ended, pod, runs, seen

from fairway.engine.kubelet.snapshot import Backoff, PodSeen, Trouble
from fairway.engine.kubelet.status import pod_status
from fairway.kube.api.meta import Condition, timestamp
from fairway.kube.api.pods import Pod, PodStatus, ReadinessGate

OVER_AN_HOUR = timedelta(hours=1)


def status(pod: Pod, seen: PodSeen) -> dict[str, Any]:
    return pod_status(pod, seen, host_ip="10.42.0.1")


def state(pod: Pod, seen: PodSeen, name: str = APP) -> dict[str, Any]:
    made = status(pod, seen)
    every = (*made.get("initContainerStatuses", ()), *made["containerStatuses"])
    return next(each for each in every if each["name"] == name)


def condition(made: dict[str, Any], type: str) -> tuple[str, str | None, str | None]:
    found = next(each for each in made["conditions"] if each["type"] == type)
    return found["status"], found["reason"], found["message"]


PHASES = [
    pytest.param(pod(), seen(), "Pending", id="nothing runs yet"),
    pytest.param(pod(APP, "b"), seen(runs()), "Pending", id="one of two runs"),
    pytest.param(pod(APP, "b"), seen(runs(), ended("b")), "Running", id="one runs, one ended"),
    pytest.param(pod(), seen(ended(code=0)), "Running", id="Always: ended, will restart"),
    pytest.param(pod(), seen(ended(since=1, backoff=Backoff(10, ago(2)))), "Running", id="crash loop"),
    pytest.param(pod(restart_policy="Never"), seen(ended(code=0)), "Succeeded", id="Never: success"),
    pytest.param(pod(restart_policy="Never"), seen(ended(code=1)), "Failed", id="Never: failure"),
    pytest.param(pod(APP, "b", restart_policy="Never"), seen(ended(code=1), runs("b")), "Running", id="not all ended"),
    pytest.param(pod(restart_policy="OnFailure"), seen(ended(code=0)), "Succeeded", id="OnFailure: success"),
    pytest.param(pod(restart_policy="OnFailure"), seen(ended(code=1)), "Running", id="OnFailure: failure restarts"),
    pytest.param(pod(init=(INIT,)), seen(runs(INIT)), "Pending", id="initializing"),
    pytest.param(pod(init=(INIT,), restart_policy="Never"), seen(ended(INIT, 1)), "Failed", id="init failed for good"),
    pytest.param(pod(init=(INIT,)), seen(ended(INIT, 1)), "Pending", id="init failed, will restart"),
    pytest.param(pod(init=(SIDE,)), seen(runs(SIDE), runs()), "Running", id="with a sidecar"),
    pytest.param(pod(deleted=True), seen(ended(code=0), sandbox=False), "Succeeded", id="deleted, ended well"),
    pytest.param(pod(deleted=True), seen(ended(code=143), sandbox=False), "Failed", id="deleted, ended by signal"),
    pytest.param(pod(deleted=True), seen(runs()), "Running", id="deleted, still there"),
    pytest.param(pod(status=PodStatus(phase="Failed")), seen(runs()), "Failed", id="an end is final"),
]


@pytest.mark.parametrize(("pod", "seen", "phase"), PHASES)
def test_phase(pod: Pod, seen: PodSeen, phase: str) -> None:
    assert status(pod, seen)["phase"] == phase


TROUBLE = {APP: Trouble("ErrImagePull", "no such image", NOW)}
BACKED_OFF = Backoff(20, ago(5))
STATES = [
    pytest.param(pod(), seen(), {"waiting": {"reason": "ContainerCreating"}}, id="creating"),
    pytest.param(pod(init=(INIT,)), seen(), {"waiting": {"reason": "PodInitializing"}}, id="initializing"),
    pytest.param(
        pod(), seen(troubles=TROUBLE), {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}, id="trouble"
    ),
    pytest.param(pod(), seen(runs()), {"running": {"startedAt": timestamp(ago(60))}}, id="running"),
    pytest.param(
        pod(),
        seen(ended(code=3)),
        {
            "terminated": {
                "exitCode": 3,
                "reason": "Error",
                "startedAt": None,
                "finishedAt": timestamp(NOW),
                "containerID": "fairway://app-0",
            }
        },
        id="ended, about to restart",
    ),
    pytest.param(
        pod(),
        seen(ended(since=2, backoff=BACKED_OFF)),
        {
            "waiting": {
                "reason": "CrashLoopBackOff",
                "message": "back-off 20s restarting failed container=app pod=p_n(u)",
            }
        },
        id="crash loop",
    ),
    pytest.param(
        pod(),
        seen(ended(), troubles=TROUBLE),
        {"waiting": {"reason": "ErrImagePull", "message": "no such image"}},
        id="cannot be restarted",
    ),
]


@pytest.mark.parametrize(("pod", "seen", "expected"), STATES)
def test_state(pod: Pod, seen: PodSeen, expected: dict[str, Any]) -> None:
    assert state(pod, seen)["state"] == expected


def test_a_crash_loop_keeps_the_last_end_in_sight() -> None:
    shown = state(pod(), seen(ended(code=7, since=2, backoff=BACKED_OFF, attempt=3)))
    assert shown["lastState"]["terminated"]["exitCode"] == 7
    assert (shown["restartCount"], shown["ready"], shown["started"]) == (3, False, False)


@pytest.mark.parametrize(
    ("run", "ready", "started"),
    [
        pytest.param(runs(), True, True, id="ready"),
        pytest.param(runs(ready=False), False, True, id="not ready"),
        pytest.param(runs(started=False, ready=True), False, False, id="not started"),
    ],
)
def test_ready_and_started(run: Any, ready: bool, started: bool) -> None:
    shown = state(pod(), seen(run))
    assert (shown["ready"], shown["started"]) == (ready, started)


def test_init_containers_are_ready_when_they_succeeded() -> None:
    assert state(pod(init=(INIT,)), seen(ended(INIT, 0)), INIT)["ready"] is True
    assert state(pod(init=(INIT,)), seen(runs(INIT)), INIT)["ready"] is False
    assert state(pod(init=(INIT,)), seen(ended(INIT, 1)), INIT)["ready"] is False


GATES = (ReadinessGate(condition_type="a"), ReadinessGate(condition_type="b"))
CONDITIONS = [
    pytest.param(
        pod(APP, "b"),
        seen(runs(), ip="10.42.0.2"),
        {
            "PodReadyToStartContainers": ("True", None, None),
            "Initialized": ("True", None, None),
            "Ready": ("False", "ContainersNotReady", "containers with unready status: [b]"),
            "ContainersReady": ("False", "ContainersNotReady", "containers with unready status: [b]"),
        },
        id="one of two",
    ),
    pytest.param(
        pod(init=(INIT,)),
        seen(runs(INIT)),
        {
            "PodReadyToStartContainers": ("False", None, None),
            "Initialized": ("False", "ContainersNotInitialized", "containers with incomplete status: [init]"),
            "Ready": ("False", "ContainersNotReady", "containers with unready status: [app]"),
        },
        id="initializing",
    ),
    pytest.param(
        pod(restart_policy="Never"),
        seen(ended(code=0), sandbox=False),
        {
            "Initialized": ("True", "PodCompleted", None),
            "Ready": ("False", "PodCompleted", None),
            "ContainersReady": ("False", "PodCompleted", None),
        },
        id="completed",
    ),
    pytest.param(
        pod(restart_policy="Never"), seen(ended(code=1)), {"Ready": ("False", "PodFailed", None)}, id="failed"
    ),
    pytest.param(
        pod(
            readiness_gates=GATES,
            status=PodStatus(conditions=(Condition(type="a", status="False"),)),
        ),
        seen(runs()),
        {
            "ContainersReady": ("True", None, None),
            "Ready": (
                "False",
                "ReadinessGatesNotReady",
                'the status of pod readiness gate "a" is not "True", but False, '
                'corresponding condition of pod readiness gate "b" does not exist.',
            ),
        },
        id="readiness gates",
    ),
]


@pytest.mark.parametrize(("pod", "seen", "expected"), CONDITIONS)
def test_conditions(pod: Pod, seen: PodSeen, expected: dict[str, Any]) -> None:
    made = status(pod, seen)
    assert {each: condition(made, each) for each in expected} == expected


def test_a_condition_keeps_its_time_until_it_changes() -> None:
    long_ago = NOW - OVER_AN_HOUR
    old = Condition(type="Ready", status="True", last_transition_time=long_ago)
    before = pod(status=PodStatus(conditions=(old,)))
    (kept,) = (each for each in status(before, seen(runs()))["conditions"] if each["type"] == "Ready")
    (changed,) = (each for each in status(before, seen(runs(ready=False)))["conditions"] if each["type"] == "Ready")
    assert kept["lastTransitionTime"] == timestamp(long_ago)
    assert changed["lastTransitionTime"] == timestamp(NOW)


def test_addresses_and_start() -> None:
    made = status(pod(), seen(runs(), ip="10.42.0.7"))
    assert (made["podIP"], made["podIPs"], made["hostIP"]) == ("10.42.0.7", [{"ip": "10.42.0.7"}], "10.42.0.1")
    assert made["startTime"] == timestamp(NOW)
    moved = status(pod(status=PodStatus(pod_ip="10.42.0.7", start_time=ago(60))), seen(runs(), ip="10.42.0.8"))
    assert moved["podIPs"] == [{"ip": "10.42.0.8"}, {"$patch": "delete", "ip": "10.42.0.7"}]
    assert moved["startTime"] == timestamp(ago(60))


def test_a_pod_over_its_deadline_says_why() -> None:
    late = pod(active_deadline_seconds=5, status=PodStatus(start_time=ago(6)))
    assert status(late, seen(runs()))["phase"] == "Running"
    made = status(late, seen(ended(code=143)))
    assert (made["phase"], made["reason"]) == ("Failed", "DeadlineExceeded")


def test_statuses_are_sorted_by_name_and_init_ones_by_order() -> None:
    made = status(pod("z", "a", init=("y", "b")), seen())
    assert [each["name"] for each in made["containerStatuses"]] == ["a", "z"]
    assert [each["name"] for each in made["initContainerStatuses"]] == ["y", "b"]


def test_the_same_facts_give_the_same_status() -> None:
    first = status(pod(), seen(runs(), ip="10.42.0.7"))
    later = msgspec.structs.replace(seen(runs(), ip="10.42.0.7"), now=NOW)
    assert status(pod(), later) == first
