"""READY, STATUS and RESTARTS of pods, as kubectl shows them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from fairway.engine.apiserver.resources.pods import PODS

Object = dict[str, Any]
NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
BEFORE = "2026-01-01T11:59:55Z"

RUNNING = {"state": {"running": {"startedAt": BEFORE}}, "ready": True, "restartCount": 0}
STARTING = {"state": {"running": {}}, "ready": False, "restartCount": 0}


def waiting(reason: str) -> Object:
    return {"state": {"waiting": {"reason": reason}}, "ready": False, "restartCount": 0}


def ended(code: int, reason: str = "", **more: Any) -> Object:
    state = {"exitCode": code, **({"reason": reason} if reason else {}), **more}
    return {"state": {"terminated": state}, "ready": False, "restartCount": 0}


def pod(statuses: list[Object], *, init: list[Object] | None = None, phase: str = "Running", **status: Any) -> Object:
    named = [{"name": f"c{index}", **item} for index, item in enumerate(statuses)]
    prepared = [{"name": f"i{index}", **item} for index, item in enumerate(init or [])]
    return {
        "metadata": {"name": "web", "creationTimestamp": "2026-01-01T11:55:00Z"},
        "spec": {
            "containers": [{"name": f"c{index}"} for index in range(max(len(statuses), 1))],
            "initContainers": [{"name": item["name"]} for item in prepared],
        },
        "status": {"phase": phase, "containerStatuses": named, "initContainerStatuses": prepared, **status},
    }


READY = {"conditions": [{"type": "Ready", "status": "True"}]}


@pytest.mark.parametrize(
    ("obj", "cells"),
    [
        pytest.param(pod([], phase="Pending"), ("0/1", "Pending", "0"), id="pending"),
        pytest.param(pod([RUNNING]), ("1/1", "Running", "0"), id="running"),
        pytest.param(pod([STARTING]), ("0/1", "Running", "0"), id="not ready"),
        pytest.param(
            pod([waiting("ContainerCreating")], phase="Pending"), ("0/1", "ContainerCreating", "0"), id="creating"
        ),
        pytest.param(pod([RUNNING, waiting("ErrImagePull")]), ("1/2", "ErrImagePull", "0"), id="image"),
        pytest.param(
            pod(
                [
                    {
                        **waiting("CrashLoopBackOff"),
                        "restartCount": 3,
                        "lastState": {"terminated": {"exitCode": 1, "finishedAt": BEFORE}},
                    }
                ]
            ),
            ("0/1", "CrashLoopBackOff", "3 (5s ago)"),
            id="crash loop",
        ),
        pytest.param(pod([ended(0, "Completed")], phase="Succeeded"), ("0/1", "Completed", "0"), id="completed"),
        pytest.param(pod([ended(1, "Error")], phase="Failed"), ("0/1", "Error", "0"), id="error"),
        pytest.param(pod([ended(3)], phase="Failed"), ("0/1", "ExitCode:3", "0"), id="exit code"),
        pytest.param(pod([ended(137, signal=9)], phase="Failed"), ("0/1", "Signal:9", "0"), id="signal"),
        pytest.param(
            pod([RUNNING, ended(0, "Completed")], **READY), ("1/2", "Running", "0"), id="one completed, ready"
        ),
        pytest.param(pod([RUNNING, ended(0, "Completed")]), ("1/2", "NotReady", "0"), id="one completed, not ready"),
        pytest.param(
            pod(
                [waiting("PodInitializing")], init=[ended(0, "Completed"), waiting("PodInitializing")], phase="Pending"
            ),
            ("0/1", "Init:1/2", "0"),
            id="initialising",
        ),
        pytest.param(
            pod([waiting("PodInitializing")], init=[waiting("CrashLoopBackOff")], phase="Pending"),
            ("0/1", "Init:CrashLoopBackOff", "0"),
            id="init crash loop",
        ),
        pytest.param(
            pod([waiting("PodInitializing")], init=[ended(2)], phase="Pending"),
            ("0/1", "Init:ExitCode:2", "0"),
            id="init failed",
        ),
        pytest.param(pod([], phase="Failed", reason="Evicted"), ("0/1", "Evicted", "0"), id="evicted"),
    ],
)
def test_status_of_a_pod(obj: Object, cells: tuple[str, str, str]) -> None:
    assert tuple(PODS.row(obj, NOW)[1:4]) == cells


@pytest.mark.parametrize(
    ("phase", "reason", "shown"),
    [("Running", "", "Terminating"), ("Running", "NodeLost", "Unknown"), ("Succeeded", "", "Completed")],
)
def test_a_pod_that_is_deleted(phase: str, reason: str, shown: str) -> None:
    obj = pod([RUNNING if phase == "Running" else ended(0, "Completed")], phase=phase, reason=reason)
    obj["metadata"]["deletionTimestamp"] = BEFORE
    assert PODS.row(obj, NOW)[2] == shown


def test_sidecars_count() -> None:
    obj = pod([RUNNING], init=[{**RUNNING, "started": True}])
    obj["spec"]["initContainers"][0]["restartPolicy"] = "Always"
    assert PODS.row(obj, NOW)[1:3] == ["2/2", "Running"]


def test_wide_cells() -> None:
    obj = pod([RUNNING], podIPs=[{"ip": "10.42.0.7"}], **READY)
    obj["spec"].update(nodeName="fairway", readinessGates=[{"conditionType": "Ready"}, {"conditionType": "x"}])
    assert PODS.row(obj, NOW)[4:] == ["5m", "10.42.0.7", "fairway", "<none>", "1/2"]
