"""What the kubelet does next, as a table."""

from datetime import timedelta

import pytest
from kubelet_tables import APP, INIT, LAST, NOW, SIDE, ago, ended, pod, runs, seen

from fairway.engine.kubelet import backoff
from fairway.engine.kubelet.plan import PodActions, Start, Stop, plan_pod
from fairway.engine.kubelet.snapshot import Backoff, PodSeen, Trouble
from fairway.kube.api.pods import Pod, PodStatus

NOTHING = PodActions()


def stop(name: str) -> Stop:
    return Stop(name, f"Stopping container {name}")


CASES = [
    pytest.param(pod(), seen(sandbox=False), PodActions(create_sandbox=True), id="the sandbox comes first"),
    pytest.param(pod(), seen(sandbox=False, sandbox_busy=True), NOTHING, id="one sandbox at a time"),
    pytest.param(
        pod(),
        seen(sandbox=False, sandbox_retry_at=NOW + timedelta(seconds=3)),
        PodActions(wait_seconds=3),
        id="a sandbox that failed waits",
    ),
    pytest.param(
        pod(), seen(runs(), sandbox=False), PodActions(stop=(stop(APP),)), id="leftovers of a lost sandbox are stopped"
    ),
    pytest.param(pod(APP, "b"), seen(), PodActions(start=(Start(APP), Start("b"))), id="containers start together"),
    pytest.param(pod(APP, "b"), seen(busy=frozenset({APP})), PodActions(start=(Start("b"),)), id="busy ones are left"),
    pytest.param(pod(), seen(runs()), NOTHING, id="all is well"),
    pytest.param(
        pod(),
        seen(troubles={APP: Trouble("ErrImagePull", "", NOW + timedelta(seconds=5))}),
        PodActions(wait_seconds=5),
        id="trouble waits",
    ),
    pytest.param(
        pod(),
        seen(troubles={APP: Trouble("ErrImagePull", "", NOW)}),
        PodActions(start=(Start(APP),)),
        id="trouble is tried again",
    ),
    pytest.param(
        pod(),
        seen(ended()),
        PodActions(start=(Start(APP, 1, Backoff(10, NOW)),)),
        id="the first crash restarts",
    ),
    pytest.param(
        pod(),
        seen(ended(since=4, backoff=Backoff(10, ago(5)))),
        PodActions(wait_seconds=6, backing_off=((APP, 10),)),
        id="the second crash backs off",
    ),
    pytest.param(
        pod(),
        seen(ended(since=11, backoff=Backoff(10, ago(20)), attempt=4)),
        PodActions(start=(Start(APP, 5, Backoff(20, NOW)),)),
        id="the delay doubles",
    ),
    pytest.param(
        pod(),
        seen(ended(since=300, backoff=Backoff(300, ago(400)))),
        PodActions(start=(Start(APP, 1, Backoff(300, NOW)),)),
        id="the delay ends at five minutes",
    ),
    pytest.param(
        pod(),
        seen(ended(since=1, backoff=Backoff(300, ago(700)))),
        PodActions(start=(Start(APP, 1, Backoff(10, NOW)),)),
        id="ten good minutes forget the crashes",
    ),
    pytest.param(
        pod(restart_policy="OnFailure"),
        seen(ended(code=0), sandbox=True),
        PodActions(remove_sandbox=True, winding_down=True),
        id="OnFailure: success is the end",
    ),
    pytest.param(
        pod(restart_policy="OnFailure"),
        seen(ended(code=1)),
        PodActions(start=(Start(APP, 1, Backoff(10, NOW)),)),
        id="OnFailure: failure is not",
    ),
    pytest.param(
        pod(APP, "b", restart_policy="Never"), seen(ended(), runs("b")), NOTHING, id="Never: the others go on"
    ),
    pytest.param(
        pod(restart_policy="Never"),
        seen(ended(), sandbox=False),
        PodActions(winding_down=True),
        id="Never: no sandbox for a pod that is over",
    ),
    pytest.param(
        pod(),
        seen(runs(failed_probe="liveness")),
        PodActions(stop=(Stop(APP, "Container app failed liveness probe, will be restarted", "liveness"),)),
        id="a failed liveness probe stops",
    ),
    pytest.param(
        pod(),
        seen(runs(image="old")),
        PodActions(stop=(Stop(APP, "Container app definition changed, will be restarted"),)),
        id="a new image stops",
    ),
    pytest.param(
        pod(restart_policy="Never"),
        seen(runs(image="old")),
        PodActions(stop=(Stop(APP, "Container app definition changed, will be restarted"),)),
        id="a new image stops under any policy",
    ),
    pytest.param(pod(init=(INIT, LAST)), seen(), PodActions(start=(Start(INIT),)), id="init: the first one"),
    pytest.param(pod(init=(INIT, LAST)), seen(runs(INIT)), NOTHING, id="init: wait for it"),
    pytest.param(
        pod(init=(INIT, LAST)), seen(ended(INIT, 0)), PodActions(start=(Start(LAST),)), id="init: then the second"
    ),
    pytest.param(
        pod(init=(INIT, LAST)),
        seen(ended(INIT, 0), ended(LAST, 0)),
        PodActions(start=(Start(APP),)),
        id="init: then the containers",
    ),
    pytest.param(
        pod(init=(INIT,)),
        seen(ended(INIT, 1)),
        PodActions(start=(Start(INIT, 1, Backoff(10, NOW)),)),
        id="init: failure restarts it",
    ),
    pytest.param(
        pod(init=(INIT,), restart_policy="Never"),
        seen(ended(INIT, 1)),
        PodActions(remove_sandbox=True, winding_down=True),
        id="init: failure ends a pod that never restarts",
    ),
    pytest.param(
        pod(init=(INIT,)), seen(ended(INIT, 0), runs()), NOTHING, id="init: not again once the containers run"
    ),
    pytest.param(
        pod(init=(INIT,)),
        seen(ended(INIT, 0, current=False), ended(APP, 255, current=False)),
        PodActions(start=(Start(INIT, 1),)),
        id="init: again in a new sandbox",
    ),
    pytest.param(
        pod(init=(SIDE,)), seen(runs(SIDE, started=False)), NOTHING, id="sidecar: containers wait until it has started"
    ),
    pytest.param(pod(init=(SIDE,)), seen(runs(SIDE)), PodActions(start=(Start(APP),)), id="sidecar: then they start"),
    pytest.param(
        pod(init=(SIDE,)),
        seen(ended(SIDE, 0), runs()),
        PodActions(start=(Start(SIDE, 1, Backoff(10, NOW)),)),
        id="sidecar: always restarts",
    ),
    pytest.param(
        pod(init=(SIDE,), restart_policy="Never"),
        seen(runs(SIDE), ended(APP, 0)),
        PodActions(stop=(stop(SIDE),), winding_down=True),
        id="sidecar: ends with the containers",
    ),
    pytest.param(
        pod(APP, "b", deleted=True),
        seen(runs(), runs("b")),
        PodActions(stop=(stop(APP), stop("b")), winding_down=True),
        id="delete: all together",
    ),
    pytest.param(
        pod(init=("side1", "side2"), deleted=True),
        seen(runs(), runs("side1"), runs("side2")),
        PodActions(stop=(stop(APP),), winding_down=True),
        id="delete: sidecars last",
    ),
    pytest.param(
        pod(init=("side1", "side2"), deleted=True),
        seen(ended(), runs("side1"), runs("side2")),
        PodActions(stop=(stop("side2"),), winding_down=True),
        id="delete: sidecars in reverse",
    ),
    pytest.param(
        pod(deleted=True),
        seen(runs(), busy=frozenset({APP})),
        PodActions(winding_down=True),
        id="delete: under way",
    ),
    pytest.param(
        pod(deleted=True), seen(ended()), PodActions(remove_sandbox=True, winding_down=True), id="delete: the sandbox"
    ),
    pytest.param(
        pod(deleted=True), seen(ended(), sandbox=False), PodActions(finished=True, winding_down=True), id="delete: done"
    ),
    pytest.param(
        pod(deleted=True),
        seen(sandbox=False, sandbox_busy=True),
        PodActions(winding_down=True),
        id="delete: a sandbox under way is waited for",
    ),
    pytest.param(
        pod(active_deadline_seconds=10, status=PodStatus(start_time=ago(4))),
        seen(runs()),
        PodActions(wait_seconds=6),
        id="deadline: wake up for it",
    ),
    pytest.param(
        pod(active_deadline_seconds=10, status=PodStatus(start_time=ago(10))),
        seen(runs()),
        PodActions(stop=(stop(APP),), winding_down=True),
        id="deadline: over",
    ),
    pytest.param(
        pod(status=PodStatus(phase="Failed")),
        seen(sandbox=False),
        PodActions(winding_down=True),
        id="failed is final",
    ),
]


@pytest.mark.parametrize(("pod", "seen", "expected"), CASES)
def test_plan(pod: Pod, seen: PodSeen, expected: PodActions) -> None:
    assert plan_pod(pod, seen) == expected


@pytest.mark.parametrize(
    ("seconds", "text"), [(10, "10s"), (20, "20s"), (40, "40s"), (80, "1m20s"), (160, "2m40s"), (300, "5m0s")]
)
def test_delays_are_written_as_go_writes_them(seconds: float, text: str) -> None:
    assert backoff.duration(seconds) == text
