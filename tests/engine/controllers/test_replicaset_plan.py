"""How many pods a ReplicaSet makes, which it deletes, and what it reports."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fairway.engine.controllers.ownership import claim
from fairway.engine.controllers.replicaset.expectations import Expectations
from fairway.engine.controllers.replicaset.plan import Plan, Snapshot, batches, draft, failed, plan, status
from fairway.engine.controllers.replicaset.ranking import first_to_go
from fairway.kube.api.meta import Condition, LabelSelector, ObjectKey, ObjectMeta, OwnerReference
from fairway.kube.api.pods import ContainerStatus, Pod, PodSpec, PodStatus
from fairway.kube.api.selectors import from_labels
from fairway.kube.api.workloads import ReplicaSet, ReplicaSetSpec, ReplicaSetStatus

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
TEMPLATE = {
    "metadata": {"labels": {"app": "web"}, "annotations": {"a": "b"}, "creationTimestamp": None},
    "spec": {"containers": [{"name": "c", "image": "x"}]},
}


def replica_set(replicas: int = 2, **spec: Any) -> ReplicaSet:
    return ReplicaSet(
        metadata=ObjectMeta(name="web-5f", namespace="shop", uid="r", generation=3),
        spec=ReplicaSetSpec(
            replicas=replicas, selector=LabelSelector(match_labels={"app": "web"}), template=TEMPLATE, **spec
        ),
    )


def pod(
    name: str,
    *,
    node: str = "n",
    phase: str = "Running",
    ready: float | None = 100,
    age: float = 100,
    cost: int | None = None,
    restarts: int = 0,
    labels: dict[str, str] | None = None,
) -> Pod:
    """`ready` is for how many seconds, None when it is not."""
    since = NOW - timedelta(seconds=ready or 0)
    condition = Condition(type="Ready", status="False" if ready is None else "True", last_transition_time=since)
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace="shop",
            uid=f"uid-{name}",
            creation_timestamp=NOW - timedelta(seconds=age),
            labels=labels or {"app": "web"},
            annotations={} if cost is None else {"controller.kubernetes.io/pod-deletion-cost": str(cost)},
        ),
        spec=PodSpec(node_name=node),
        status=PodStatus(
            phase=phase,
            conditions=(condition,),
            container_statuses=(ContainerStatus(name="c", restart_count=restarts),),
        ),
    )


def leaving(one: Pod) -> Pod:
    return replace(one, metadata=replace(one.metadata, deletion_timestamp=NOW))


A, B, C = pod("a"), pod("b", age=50), pod("c", age=10)


@pytest.mark.parametrize(
    ("seen", "wanted"),
    [
        pytest.param(Snapshot(replica_set(2), (A, B), NOW), Plan(), id="enough"),
        pytest.param(Snapshot(replica_set(3), (A,), NOW), Plan(2), id="two missing"),
        pytest.param(Snapshot(replica_set(3), (A,), NOW, frozenset({"x"})), Plan(1), id="one is on its way"),
        pytest.param(
            Snapshot(replica_set(2), (A,), NOW, frozenset({"a"})), Plan(1), id="what came is not counted twice"
        ),
        pytest.param(Snapshot(replica_set(1), (A, leaving(B)), NOW), Plan(), id="leaving pods do not count"),
        pytest.param(Snapshot(replica_set(1), (A, pod("d", phase="Failed")), NOW), Plan(), id="nor do ended ones"),
        pytest.param(Snapshot(replica_set(1), (A, B), NOW), Plan(0, (B,)), id="the younger goes"),
        pytest.param(
            Snapshot(replica_set(1), (A, B), NOW, frozenset(), frozenset({"uid-b"})), Plan(), id="it is going already"
        ),
        pytest.param(Snapshot(replica_set(1000), (), NOW), Plan(500), id="no more than a burst"),
        pytest.param(
            Snapshot(replica_set(1, min_ready_seconds=120), (A,), NOW), Plan(0, (), 20.0), id="wait until it counts"
        ),
    ],
)
def test_plan(seen: Snapshot, wanted: Plan) -> None:
    assert plan(seen) == wanted


def test_a_deleted_replica_set_does_nothing() -> None:
    owner = replica_set(5)
    owner = replace(owner, metadata=replace(owner.metadata, deletion_timestamp=NOW))
    assert plan(Snapshot(owner, (A,), NOW)) == Plan()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(pod("x", node=""), pod("y"), id="not assigned"),
        pytest.param(pod("x", phase="Pending"), pod("y"), id="pending"),
        pytest.param(pod("x", ready=None), pod("y"), id="not ready"),
        pytest.param(pod("x", cost=-5), pod("y"), id="cheap"),
        pytest.param(pod("x", ready=5), pod("y", ready=50), id="newly ready"),
        pytest.param(pod("x", restarts=4), pod("y"), id="often restarted"),
        pytest.param(pod("x", age=5), pod("y", age=50), id="young"),
        pytest.param(pod("x", ready=None, cost=5), pod("y", cost=-5), id="readiness counts before cost"),
    ],
)
def test_who_goes_first(first: Pod, second: Pod) -> None:
    assert first_to_go([second, first]) == [first, second]


def test_the_crowded_node_gives_first() -> None:
    lonely = pod("z", node="other", ready=1)
    assert first_to_go([lonely, A, B])[-1] == lonely


def test_status_counts() -> None:
    owner = replica_set(4, min_ready_seconds=30)
    pods = (A, pod("b", ready=10), pod("c", ready=None, labels={"app": "x"}), leaving(pod("d")))
    assert status(Snapshot(owner, pods, NOW), None) == ReplicaSetStatus(
        observed_generation=3, replicas=3, fully_labeled_replicas=2, ready_replicas=2, available_replicas=1
    )


def test_a_failure_is_reported_once_and_taken_back() -> None:
    first = failed(NOW, "FailedCreate", "no")
    reported = status(Snapshot(replica_set(), (), NOW), first)
    owner = replace(replica_set(), status=reported)
    again = status(Snapshot(owner, (), NOW), failed(NOW + timedelta(seconds=9), "FailedCreate", "again"))
    assert again == reported
    assert status(Snapshot(owner, (), NOW), None).conditions == ()


def test_a_pod_from_the_template() -> None:
    assert draft(replica_set(), "abcde") == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "web-5f-",
            "name": "web-5f-abcde",
            "namespace": "shop",
            "labels": {"app": "web"},
            "annotations": {"a": "b"},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": "web-5f",
                    "uid": "r",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {"containers": [{"name": "c", "image": "x"}]},
    }


def test_long_names_leave_room_for_the_suffix() -> None:
    owner = replica_set()
    owner = replace(owner, metadata=replace(owner.metadata, name="a" * 70))
    assert draft(owner, "abcde")["metadata"]["name"] == "a" * 58 + "abcde"


@given(st.integers(0, 2000))
def test_batches_add_up(count: int) -> None:
    sizes = list(batches(count))
    assert sum(sizes) == count
    assert all(later <= 2 * former for former, later in pairwise(sizes))


class TestExpectations:
    KEY = ObjectKey("shop", "web")

    def test_seen_in_any_order(self) -> None:
        expected = Expectations(lambda: 0.0)
        expected.expect_pod(self.KEY, "a")
        expected.expect_deletion(self.KEY, "u")
        assert (expected.pods(self.KEY), expected.deletions(self.KEY)) == (frozenset("a"), frozenset("u"))
        expected.pod_seen(self.KEY, "a")
        expected.pod_seen(self.KEY, "never expected")
        expected.deletion_seen(self.KEY, "u")
        assert (expected.pods(self.KEY), expected.deletions(self.KEY)) == (frozenset(), frozenset())

    def test_nothing_is_expected_for_ever(self) -> None:
        times = [0.0]
        expected = Expectations(lambda: times[0])
        expected.expect_pod(self.KEY, "a")
        times[0] = 301.0
        assert expected.pods(self.KEY) == frozenset()


OWNER = ObjectMeta(name="web-5f", namespace="shop", uid="r")


def owned(name: str, uid: str, labels: dict[str, str] | None = None) -> Pod:
    one = pod(name, labels=labels)
    reference = OwnerReference(api_version="apps/v1", kind="ReplicaSet", name="x", uid=uid, controller=True)
    return replace(one, metadata=replace(one.metadata, owner_references=(reference,)))


def test_claims() -> None:
    mine, foreign, strange = owned("m", "r"), owned("f", "other"), owned("s", "r", {"app": "x"})
    other = pod("o", labels={"app": "x"})
    found = claim(OWNER, from_labels({"app": "web"}), [mine, foreign, strange, A, leaving(B), other])
    assert (found.owned, found.adopt, found.release) == ((mine,), (A,), (strange,))


def test_a_deleted_owner_adopts_nothing_and_releases_nothing() -> None:
    strange = owned("s", "r", {"app": "x"})
    found = claim(replace(OWNER, deletion_timestamp=NOW), from_labels({"app": "web"}), [A, strange])
    assert (found.owned, found.adopt, found.release) == ((strange,), (), ())
