"""One step of a Deployment: which ReplicaSets are made, sized, renumbered and forgotten, and what is reported."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fairway.engine.controllers.conditions import find
from fairway.engine.controllers.deployment import rolling
from fairway.engine.controllers.deployment.plan import Create, Delete, Plan, Revise, Scale, plan
from fairway.engine.controllers.deployment.snapshot import Snapshot, available, wanted
from fairway.engine.controllers.deployment.template import plain, same_template, template_hash
from fairway.kube.api.meta import Condition, LabelSelector, ObjectMeta
from fairway.kube.api.noun import decode
from fairway.kube.api.workloads import (
    Deployment,
    DeploymentSpec,
    DeploymentStatus,
    DeploymentStrategy,
    ReplicaSet,
    ReplicaSetSpec,
    ReplicaSetStatus,
    RollingUpdate,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PREFIX = "deployment.kubernetes.io/"


def template(version: int) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": f"x:{version}"}]}}


def deployment(
    replicas: int = 4,
    version: int = 1,
    surge: int | str = 1,
    unavailable: int | str = 1,
    *,
    kind: str = "RollingUpdate",
    status: DeploymentStatus | None = None,
    annotations: Mapping[str, str] | None = None,
    **spec: Any,
) -> Deployment:
    strategy = DeploymentStrategy(type=kind, rolling_update=RollingUpdate(max_surge=surge, max_unavailable=unavailable))
    return Deployment(
        metadata=ObjectMeta(name="web", namespace="shop", uid="d", generation=1, annotations=annotations or {}),
        spec=DeploymentSpec(
            selector=LabelSelector(match_labels={"app": "web"}),
            template=template(version),
            replicas=replicas,
            strategy=strategy,
            **spec,
        ),
        status=status or DeploymentStatus(),
    )


def replica_set(
    version: int,
    size: int,
    serving: int | None = None,
    *,
    revision: int | None = None,
    desired: int | None = None,
    maximum: int | None = None,
) -> ReplicaSet:
    serving = size if serving is None else serving
    notes = {"revision": revision or version, "desired-replicas": desired, "max-replicas": maximum}
    body = template(version)
    body["metadata"]["labels"]["pod-template-hash"] = f"h{version}"
    return ReplicaSet(
        metadata=ObjectMeta(
            name=f"web-{version}",
            namespace="shop",
            uid=f"r{version}",
            creation_timestamp=NOW + timedelta(seconds=version),
            annotations={PREFIX + key: str(value) for key, value in notes.items() if value is not None},
        ),
        spec=ReplicaSetSpec(template=body, replicas=size),
        status=ReplicaSetStatus(replicas=size, ready_replicas=serving, available_replicas=serving),
    )


def decide(owner: Deployment, *owned: ReplicaSet, now: datetime = NOW, running: tuple[str, ...] = ()) -> Plan:
    return plan(Snapshot(owner, owned, now, frozenset(running)))


def scaled(decided: Plan) -> dict[str, int]:
    return {
        action.replica_set.metadata.name: action.replicas for action in decided.actions if isinstance(action, Scale)
    }


def reasons(status: DeploymentStatus) -> dict[str, tuple[str, str]]:
    return {condition.type: (condition.status, condition.reason) for condition in status.conditions}


# --- rolling


@pytest.mark.parametrize(
    ("owner", "owned", "sizes"),
    [
        pytest.param(deployment(4, 1), [replica_set(1, 4)], {}, id="all is well"),
        pytest.param(deployment(4, 2), [replica_set(1, 4), replica_set(2, 0)], {"web-2": 1}, id="up by the surge"),
        pytest.param(
            deployment(4, 2), [replica_set(1, 4), replica_set(2, 1, 0)], {"web-1": 3}, id="down by the unavailable"
        ),
        pytest.param(
            deployment(4, 2, 1, 0), [replica_set(1, 4), replica_set(2, 1, 0)], {}, id="wait for the new one to serve"
        ),
        pytest.param(deployment(4, 2, 1, 0), [replica_set(1, 4), replica_set(2, 1, 1)], {"web-1": 3}, id="one for one"),
        pytest.param(deployment(4, 2, 1, 0), [replica_set(1, 4, 2), replica_set(2, 1, 0)], {}, id="nothing to spare"),
        pytest.param(
            deployment(4, 3, 1, 1),
            [replica_set(1, 2, 0), replica_set(2, 3, 3), replica_set(3, 0)],
            {"web-1": 0},
            id="broken old pods go first",
        ),
        pytest.param(
            deployment(4, 2), [replica_set(1, 0), replica_set(2, 6)], {"web-2": 4}, id="the new one is too large"
        ),
        pytest.param(
            deployment(10, 2, "25%", "25%"),
            [replica_set(1, 10), replica_set(2, 0)],
            {"web-2": 3},
            id="a surge in percent is rounded up",
        ),
        pytest.param(
            deployment(10, 2, "25%", "25%"),
            [replica_set(1, 10), replica_set(2, 3, 0)],
            {"web-1": 8},
            id="an unavailability in percent is rounded down",
        ),
        pytest.param(
            deployment(1, 2, 0, "25%"), [replica_set(1, 1), replica_set(2, 0)], {"web-1": 0}, id="never both zero"
        ),
    ],
)
def test_rolling(owner: Deployment, owned: list[ReplicaSet], sizes: dict[str, int]) -> None:
    assert scaled(decide(owner, *owned)) == sizes


def test_a_new_template_gets_a_replica_set() -> None:
    owner = deployment(4, 2, annotations={"kubernetes.io/change-cause": "why", PREFIX + "revision": "1", "x/y": "z"})
    decided = decide(owner, replica_set(1, 4))
    (action,) = decided.actions
    assert isinstance(action, Create)
    raw = action.replica_set
    digest = template_hash(template(2), 0)
    assert raw["metadata"] == {
        "name": f"web-{digest}",
        "namespace": "shop",
        "labels": {"app": "web", "pod-template-hash": digest},
        "annotations": {
            "kubernetes.io/change-cause": "why",
            "x/y": "z",
            PREFIX + "revision": "2",
            PREFIX + "desired-replicas": "4",
            PREFIX + "max-replicas": "5",
        },
        "ownerReferences": [
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": "web",
                "uid": "d",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    assert raw["spec"]["replicas"] == 1
    assert raw["spec"]["selector"] == {"matchLabels": {"app": "web", "pod-template-hash": digest}}
    assert raw["spec"]["template"]["metadata"]["labels"] == {"app": "web", "pod-template-hash": digest}
    assert decided.revision == 2
    condition = find(decided.status.conditions, "Progressing")
    assert condition and condition.message == f'Created new replica set "web-{digest}"'


def test_the_first_replica_set_starts_at_full_size() -> None:
    (action,) = decide(deployment(4)).actions
    assert isinstance(action, Create)
    assert action.replicas == 4


def test_a_rollback_renumbers_and_remembers() -> None:
    decided = decide(deployment(2, 1), replica_set(1, 0), replica_set(2, 2))
    (action,) = decided.actions
    assert isinstance(action, Revise)
    assert action.annotations == {PREFIX + "revision": "3", PREFIX + "revision-history": "1"}
    assert decided.revision == 3


def test_annotations_follow_the_deployment() -> None:
    owner = deployment(1, 1, annotations={"kubernetes.io/change-cause": "new"})
    (action,) = decide(owner, replica_set(1, 1)).actions
    assert isinstance(action, Revise)
    assert action.annotations == {"kubernetes.io/change-cause": "new"}


def test_old_revisions_are_forgotten_when_the_rollout_is_complete() -> None:
    owner = deployment(1, 4, revision_history_limit=1)
    old = [replica_set(1, 0), replica_set(2, 0), replica_set(3, 0)]
    actions = decide(owner, *old, replica_set(4, 1)).actions
    assert [action.replica_set.metadata.name for action in actions if isinstance(action, Delete)] == ["web-1", "web-2"]
    assert decide(owner, *old, replica_set(4, 1, 0)).actions == ()


# --- recreate, pause, scale


def test_recreate_goes_down_waits_and_comes_up() -> None:
    owner = deployment(3, 2, kind="Recreate")
    assert scaled(decide(owner, replica_set(1, 3))) == {"web-1": 0}
    assert decide(owner, replica_set(1, 0), running=("r1",)).actions == ()
    (action,) = decide(owner, replica_set(1, 0)).actions
    assert isinstance(action, Create)
    assert action.replicas == 3


def test_a_paused_deployment_makes_nothing_new() -> None:
    decided = decide(deployment(4, 2, paused=True), replica_set(1, 4, desired=4, maximum=5))
    assert decided.actions == ()
    assert reasons(decided.status)["Progressing"] == ("Unknown", "DeploymentPaused")


def test_resuming_is_reported() -> None:
    paused = decide(deployment(4, 1, paused=True), replica_set(1, 4)).status
    resumed = decide(deployment(4, 1, status=paused), replica_set(1, 4, 3)).status
    assert reasons(resumed)["Progressing"][1] == "DeploymentResumed"


@pytest.mark.parametrize(
    ("replicas", "owned", "sizes"),
    [
        pytest.param(7, [replica_set(1, 4, desired=4, maximum=5)], {"web-1": 7}, id="one up"),
        pytest.param(0, [replica_set(1, 4, desired=4, maximum=5)], {"web-1": 0}, id="to nothing"),
        pytest.param(
            20,
            [replica_set(1, 8, desired=10, maximum=11), replica_set(2, 3, desired=10, maximum=11)],
            {"web-1": 15, "web-2": 6},
            id="both up, by their size",
        ),
        pytest.param(
            5,
            [replica_set(1, 8, desired=10, maximum=11), replica_set(2, 3, desired=10, maximum=11)],
            {"web-1": 4, "web-2": 2},
            id="both down, by their size",
        ),
        pytest.param(
            0,
            [replica_set(1, 8, desired=10, maximum=11), replica_set(2, 3, desired=10, maximum=11)],
            {"web-1": 0, "web-2": 0},
            id="both to nothing",
        ),
    ],
)
def test_scaling_is_proportional(replicas: int, owned: list[ReplicaSet], sizes: dict[str, int]) -> None:
    assert scaled(decide(deployment(replicas, 2), *owned)) == sizes


def test_scaling_notes_what_was_wanted() -> None:
    (action,) = decide(deployment(7, 1), replica_set(1, 4, desired=4)).actions
    assert isinstance(action, Scale)
    assert action.annotations == {PREFIX + "desired-replicas": "7", PREFIX + "max-replicas": "8"}


def test_a_deleted_deployment_only_reports() -> None:
    owner = deployment(4, 2)
    owner = replace(owner, metadata=replace(owner.metadata, deletion_timestamp=NOW))
    assert decide(owner, replica_set(1, 4)).actions == ()


# --- status


def test_counts() -> None:
    status = decide(deployment(4, 2), replica_set(1, 3, 2), replica_set(2, 2, 1)).status
    assert (status.replicas, status.updated_replicas, status.ready_replicas) == (5, 2, 3)
    assert (status.available_replicas, status.unavailable_replicas, status.observed_generation) == (3, 2, 1)
    assert reasons(status)["Available"] == ("True", "MinimumReplicasAvailable")


def test_a_complete_rollout_is_reported_once() -> None:
    status = decide(deployment(4), replica_set(1, 4)).status
    condition = find(status.conditions, "Progressing")
    assert condition is not None
    assert (condition.status, condition.reason) == ("True", "NewReplicaSetAvailable")
    assert condition.message == 'ReplicaSet "web-1" has successfully progressed.'
    later = decide(deployment(4, status=status), replica_set(1, 4), now=NOW + timedelta(hours=1))
    assert later.status == status
    assert later.again_seconds is None


def test_no_progress_in_time_is_reported_and_progress_heals_it() -> None:
    started = Condition(
        type="Progressing",
        status="True",
        reason="ReplicaSetUpdated",
        last_update_time=NOW,
        last_transition_time=NOW,
    )
    before = DeploymentStatus(replicas=4, updated_replicas=4, conditions=(started,))
    owner = deployment(4, status=before, progress_deadline_seconds=60)
    waiting = decide(owner, replica_set(1, 4, 0), now=NOW + timedelta(seconds=50))
    assert waiting.again_seconds == pytest.approx(11)
    late = decide(replace(owner, status=waiting.status), replica_set(1, 4, 0), now=NOW + timedelta(seconds=61)).status
    assert reasons(late)["Progressing"] == ("False", "ProgressDeadlineExceeded")
    healed = decide(replace(owner, status=late), replica_set(1, 4, 1), now=NOW + timedelta(seconds=70)).status
    assert reasons(healed)["Progressing"] == ("True", "ReplicaSetUpdated")


def test_failures_of_replica_sets_are_passed_on() -> None:
    failure = Condition(type="ReplicaFailure", status="True", reason="FailedCreate", message="no")
    broken = replica_set(1, 4, 0)
    broken = replace(broken, status=replace(broken.status, conditions=(failure,)))
    status = decide(deployment(4), broken).status
    assert reasons(status)["ReplicaFailure"] == ("True", "FailedCreate")
    assert "ReplicaFailure" not in reasons(decide(deployment(4, status=status), replica_set(1, 4)).status)


# --- templates


def test_templates_are_equal_without_nulls_and_hash() -> None:
    one = {"metadata": {"creationTimestamp": None, "labels": {"a": "b"}}, "spec": {"x": 1}}
    other = {"metadata": {"labels": {"a": "b", "pod-template-hash": "h"}}, "spec": {"x": 1}}
    assert same_template(one, other)
    assert plain(other) == {"metadata": {"labels": {"a": "b"}}, "spec": {"x": 1}}
    assert template_hash(one, 0) == template_hash(other, 0) != template_hash(one, 1)


# --- properties: a world in which pods come, serve and break at random


class World:
    """ReplicaSets as the API would hold them, changed by plans and by chance."""

    def __init__(self, owner: Deployment) -> None:
        self.owner = owner
        self.owned: dict[str, ReplicaSet] = {}

    def step(self) -> Plan:
        decided = plan(Snapshot(self.owner, tuple(self.owned.values()), NOW))
        for action in decided.actions:
            match action:
                case Create(raw):
                    made = decode(ReplicaSet, {**raw, "metadata": {**raw["metadata"], "uid": action.name}})
                    stamp = NOW + timedelta(seconds=len(self.owned))
                    self.owned[action.name] = replace(made, metadata=replace(made.metadata, creation_timestamp=stamp))
                case Scale(old, size, notes):
                    self._put(old, replicas=size, annotations=notes)
                case Revise(old, notes, _):
                    self._put(old, annotations=notes)
                case Delete(old):
                    del self.owned[old.metadata.name]
        self.owner = replace(self.owner, status=decided.status)
        return decided

    def _put(self, old: ReplicaSet, annotations: Mapping[str, str], replicas: int | None = None) -> None:
        spec = old.spec if replicas is None else replace(old.spec, replicas=replicas)
        notes = {**old.metadata.annotations, **annotations}
        metadata = replace(old.metadata, annotations=notes)
        self.owned[old.metadata.name] = replace(old, metadata=metadata, spec=spec)

    def settle(self, serving: float) -> None:
        """Pods are made and deleted as wanted; a part of those that did not serve does now."""
        for name, one in self.owned.items():
            had = min(one.status.available_replicas, one.spec.replicas)
            now = had + round((one.spec.replicas - had) * serving)
            status = ReplicaSetStatus(replicas=one.spec.replicas, ready_replicas=now, available_replicas=now)
            self.owned[name] = replace(one, status=status)

    def break_some(self, part: float) -> None:
        for name, one in self.owned.items():
            left = round(one.status.available_replicas * (1 - part))
            self.owned[name] = replace(one, status=replace(one.status, available_replicas=left, ready_replicas=left))

    def serving(self) -> int:
        """Pods that still serve once every ReplicaSet has its size (those that do not are deleted first)."""
        return sum(min(one.status.available_replicas, one.spec.replicas) for one in self.owned.values())

    def change(self, **spec: Any) -> None:
        metadata = replace(self.owner.metadata, generation=self.owner.metadata.generation + 1)
        self.owner = replace(self.owner, metadata=metadata, spec=replace(self.owner.spec, **spec))


limits = st.one_of(st.integers(0, 5), st.integers(0, 100).map(lambda percent: f"{percent}%"))
events = st.lists(
    st.one_of(
        st.tuples(st.just("settle"), st.floats(0, 1)),
        st.tuples(st.just("break"), st.floats(0, 1)),
        st.tuples(st.just("version"), st.integers(1, 4)),
    ),
    max_size=25,
)


@settings(max_examples=300, deadline=None)
@given(replicas=st.integers(0, 12), surge=limits, unavailable=limits, story=events)
def test_a_rolling_update_stays_within_its_bounds_and_ends(
    replicas: int, surge: int | str, unavailable: int | str, story: list[tuple[str, Any]]
) -> None:
    world = World(deployment(replicas, 1, surge, unavailable))
    for what, value in story:
        if what == "version":
            world.change(template=template(value))
        elif what == "settle":
            world.settle(value)
        else:
            world.break_some(value)
        before = world.serving()
        seen = Snapshot(world.owner, (), NOW)
        world.step()
        assert wanted(world.owned.values()) <= replicas + seen.max_surge
        assert world.serving() >= min(before, replicas - seen.max_unavailable)
    for _ in range(80):
        world.settle(1.0)
        if not world.step().actions and available(world.owned.values()) == replicas:
            break
    assert wanted(world.owned.values()) == available(world.owned.values()) == replicas
    world.settle(1.0)
    world.step()
    assert reasons(world.owner.status)["Progressing"] == ("True", "NewReplicaSetAvailable")
    assert world.step().actions == ()


@settings(max_examples=300, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 12), min_size=1, max_size=4),
    before=st.integers(1, 20),
    after=st.integers(0, 30),
    surge=st.integers(0, 5),
)
def test_scaling_reaches_its_size_and_stops(sizes: list[int], before: int, after: int, surge: int) -> None:
    notes = {"desired": before, "maximum": before + surge}
    owned = tuple(replica_set(number, size, **notes) for number, size in enumerate(sizes, start=1))
    owner = deployment(after, len(sizes), surge, 0 if surge else 1)
    seen = Snapshot(owner, owned, NOW)
    if not rolling.is_scaling(seen):
        return
    target = rolling.scaling(seen)
    assert all(size >= 0 for size in target.values())
    total = wanted(owned) + sum(
        target[one.metadata.name] - one.spec.replicas for one in owned if one.metadata.name in target
    )
    active = [one for one in owned if one.spec.replicas]
    assert total == after or (len(active) > 1 and after and total == after + surge)
