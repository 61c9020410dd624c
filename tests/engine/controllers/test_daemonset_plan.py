"""What a DaemonSet does next, as tables, and what it never does."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fairway.engine.controllers.daemonset.patience import Patience
from fairway.engine.controllers.daemonset.plan import plan
from fairway.engine.controllers.daemonset.pods import new_pod
from fairway.engine.controllers.daemonset.snapshot import Snapshot, node_of
from fairway.kube.api.config import Node
from fairway.kube.api.daemonsets import DaemonSet
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import Pod
from fairway.toolkit.clock import FakeClock

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def daemon_set(
    strategy: dict[str, Any] | None = None, template: dict[str, Any] | None = None, **spec: Any
) -> DaemonSet:
    pods = {"containers": [{"name": "main", "image": "x"}], **(template or {})}
    raw = {
        "metadata": {"name": "agent", "namespace": "default", "uid": "set", "generation": 2},
        "spec": {
            "template": {"metadata": {"labels": {"app": "agent"}}, "spec": pods},
            "updateStrategy": strategy or {"type": "OnDelete"},
            **spec,
        },
    }
    return decode(DaemonSet, raw)


def node(name: str, *taints: tuple[str, str], **labels: str) -> Node:
    spec = {"taints": [{"key": key, "effect": effect} for key, effect in taints]}
    return decode(Node, {"metadata": {"name": name, "labels": labels}, "spec": spec})


def pod(place: str, tag: str = "new", state: str = "ready", *, age: float = 600, name: str = "") -> Pod:
    leaving, _, state = state.rpartition(" ")
    since = (NOW - timedelta(seconds=age)).isoformat()
    metadata: dict[str, Any] = {
        "name": name or f"{place}-{tag}",
        "namespace": "default",
        "uid": name or f"{place}-{tag}",
        "labels": {"controller-revision-hash": tag},
        "creationTimestamp": since,
    }
    if leaving:
        metadata["deletionTimestamp"] = NOW.isoformat()
    phase = {"ready": "Running", "running": "Running"}.get(state, state.capitalize())
    ready = {"type": "Ready", "status": str(state == "ready"), "lastTransitionTime": since}
    return decode(
        Pod, {"metadata": metadata, "spec": {"nodeName": place}, "status": {"phase": phase, "conditions": [ready]}}
    )


def look(owner: DaemonSet, nodes: list[Node], *pods: Pod, coming: frozenset[str] = frozenset()) -> Snapshot:
    return Snapshot(owner, pods, tuple(nodes), "new", NOW, coming)


def steps(seen: Snapshot) -> tuple[list[str], list[str]]:
    found = plan(seen)
    return list(found.create), [item.metadata.name for item in found.delete]


def rolling(unavailable: int | str = 1, surge: int | str = 0) -> dict[str, Any]:
    return {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}}


@pytest.mark.parametrize(
    ("place", "template", "fits"),
    [
        (node("a"), {}, True),
        (node("a", ("node.kubernetes.io/not-ready", "NoExecute")), {}, True),
        (node("a", ("node.kubernetes.io/unschedulable", "NoSchedule")), {}, True),
        (node("a", ("node.kubernetes.io/network-unavailable", "NoSchedule")), {}, False),
        (node("a", ("node.kubernetes.io/network-unavailable", "NoSchedule")), {"hostNetwork": True}, True),
        (node("a", ("reserved", "NoSchedule")), {}, False),
        (node("a", ("reserved", "PreferNoSchedule")), {}, True),
        (node("a", ("reserved", "NoSchedule")), {"tolerations": [{"operator": "Exists"}]}, True),
        (node("a"), {"nodeSelector": {"disk": "ssd"}}, False),
        (node("a", disk="ssd"), {"nodeSelector": {"disk": "ssd"}}, True),
        (node("a"), {"nodeName": "b"}, False),
    ],
)
def test_which_nodes_fit(place: Node, template: dict[str, Any], *, fits: bool) -> None:
    found = plan(look(daemon_set(template=template), [place]))
    assert found.create == (("a",) if fits else ())
    assert found.status.desired_number_scheduled == int(fits)


A, B, C = node("a"), node("b"), node("c")


@pytest.mark.parametrize(
    ("nodes", "pods", "create", "delete"),
    [
        ([A, B], [pod("a")], ["b"], []),
        ([A], [pod("a"), pod("a", name="second", age=5)], [], ["second"]),
        ([A], [pod("a", state="failed")], [], ["a-new"]),
        ([A], [pod("a", state="leaving ready")], [], []),
        ([node("a", ("x", "NoSchedule"))], [pod("a")], [], []),  # may go on, does not start
        ([node("a", ("x", "NoExecute"))], [pod("a")], [], ["a-new"]),
        ([A, B], [pod("a", "old"), pod("b", "old")], [], []),  # OnDelete
    ],
)
def test_pods_on_nodes(nodes: list[Node], pods: list[Pod], create: list[str], delete: list[str]) -> None:
    assert steps(look(daemon_set(), nodes, *pods)) == (create, delete)


def test_what_is_under_way_is_not_done_twice() -> None:
    assert steps(look(daemon_set(), [A, B], coming=frozenset({"a"}))) == (["b"], [])


async def test_pods_that_fail_again_and_again_are_not_made_in_a_circle() -> None:
    clock, key = FakeClock(), ObjectKey("default", "agent")
    patience = Patience(clock.monotonic)
    for seconds in (1, 2, 4):
        patience.failed(key, "a")
        assert patience.waiting(key) == {"a": seconds}
        await clock.advance(seconds)
        assert patience.waiting(key) == {}
    seen = look(daemon_set(), [A], pod("a", state="failed"))
    found = plan(replace(seen, patient={"a": 3.0}))
    assert (found.delete, found.ended, found.again_seconds) == ((), (), 3)
    patience.forget(key)
    patience.failed(key, "a")
    assert patience.waiting(key) == {"a": 1}


def test_pods_for_nodes_that_are_gone() -> None:
    made = decode(Pod, new_pod(daemon_set(), "gone", "new", "abcde"))
    assert node_of(made) == "gone"
    assert steps(look(daemon_set(), [], made)) == ([], ["agent-abcde"])


OLD = [pod("a", "old"), pod("b", "old"), pod("c", "old")]


@pytest.mark.parametrize(
    ("strategy", "pods", "create", "delete"),
    [
        (rolling(1), OLD, [], ["a-old"]),
        (rolling(2), OLD, [], ["a-old", "b-old"]),
        (rolling("50%"), OLD, [], ["a-old", "b-old"]),
        (rolling(1), [pod("a", state="running"), *OLD[1:]], [], []),
        (rolling(1), [pod("a"), *OLD[1:]], [], ["b-old"]),
        (rolling(1), [pod("a", "old", "running"), *OLD[1:]], [], ["a-old"]),  # does not serve anyway
        (rolling(0, 1), OLD, ["a"], []),
        (rolling(0, 1), [*OLD, pod("a", state="running")], [], []),
        (rolling(0, 1), [*OLD, pod("a")], [], ["a-old"]),
        (rolling(0, 1), [pod("a"), *OLD[1:]], ["b"], []),
        (rolling(0, "100%"), OLD, ["a", "b", "c"], []),
        (rolling(0, 0), OLD, [], ["a-old"]),  # nothing allowed would never end
    ],
)
def test_updates(strategy: dict[str, Any], pods: list[Pod], create: list[str], delete: list[str]) -> None:
    assert steps(look(daemon_set(strategy), [A, B, C], *pods)) == (create, delete)


def test_availability_takes_its_time() -> None:
    owner = daemon_set(rolling(1), minReadySeconds=30)
    found = plan(look(owner, [A, B], pod("a", age=10), pod("b", "old")))
    assert (found.delete, found.again_seconds) == ((), 20)
    assert found.status.number_ready == 2
    assert found.status.number_available == 1


def test_status() -> None:
    nodes = [A, B, C, node("d", ("x", "NoSchedule"))]
    found = plan(look(daemon_set(), nodes, pod("a"), pod("b", "old", "running"), pod("d"))).status
    assert (found.desired_number_scheduled, found.current_number_scheduled, found.number_misscheduled) == (3, 2, 1)
    assert (found.number_ready, found.number_available, found.number_unavailable) == (1, 1, 2)
    assert (found.updated_number_scheduled, found.observed_generation) == (1, 2)


def test_a_pod_is_bound_to_its_node_by_affinity() -> None:
    preferred = {"preferredDuringSchedulingIgnoredDuringExecution": []}
    made = new_pod(daemon_set(template={"affinity": {"nodeAffinity": preferred}}), "a", "new", "abcde")
    affinity = made["spec"]["affinity"]["nodeAffinity"]
    (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term == {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}
    assert "preferredDuringSchedulingIgnoredDuringExecution" in affinity
    assert made["metadata"]["labels"] == {"app": "agent", "controller-revision-hash": "new"}


@given(
    places=st.integers(1, 6),
    unavailable=st.integers(0, 3),
    surge=st.integers(0, 3),
    ready_order=st.randoms(use_true_random=False),
)
def test_an_update_ends_within_its_bounds(places: int, unavailable: int, surge: int, ready_order: Any) -> None:
    if bool(unavailable) == bool(surge):
        unavailable, surge = 1, 0
    owner = daemon_set(rolling(unavailable, surge))
    nodes = [node(f"n{number}") for number in range(places)]
    pods = {f"n{number}-old": pod(f"n{number}", "old") for number in range(places)}
    starting: list[str] = []
    for _ in range(200):
        found = plan(look(owner, nodes, *pods.values()))
        for item in found.delete:
            del pods[item.metadata.name]
        for name in found.create:
            made = pod(name, state="running")
            assert made.metadata.name not in pods
            pods[made.metadata.name] = made
            starting.append(name)
        serving = {item.spec.node_name for item in pods.values() if item.ready}
        assert len(serving) >= places - unavailable
        assert len(pods) <= places + surge
        if not found.create and not found.delete:
            if not starting:
                break
            name = starting.pop(ready_order.randrange(len(starting)))
            pods[f"{name}-new"] = pod(name)
    assert sorted(pods) == [f"n{number}-new" for number in range(places)]
