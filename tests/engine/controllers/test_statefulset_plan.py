"""What a StatefulSet does next, as tables, and what it never does."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fairway.engine.controllers.revisions import data_of, find, record, surplus
from fairway.engine.controllers.statefulset.claims import CreateClaim, OwnClaim
from fairway.engine.controllers.statefulset.plan import Action, CreatePod, DeletePod, MendPod, plan
from fairway.engine.controllers.statefulset.pods import storage_matches
from fairway.engine.controllers.statefulset.snapshot import Snapshot, ordinal_of
from fairway.kube.api.meta import ObjectMeta, OwnerReference
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import Pod
from fairway.kube.api.statefulsets import ControllerRevision, PersistentVolumeClaim, StatefulSet

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
CLAIM = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}


def template(image: str = "new") -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "main", "image": image}]}}


def revision(image: str, number: int = 1) -> ControllerRevision:
    return ControllerRevision(metadata=ObjectMeta(name=f"db-{image}"), data=data_of(template(image)), revision=number)


def stateful_set(**spec: Any) -> StatefulSet:
    raw = {
        "metadata": {"name": "db", "namespace": "default", "uid": "set", "generation": 3},
        "spec": {"selector": {"matchLabels": {"app": "db"}}, "template": template(), "replicas": 3, **spec},
    }
    return decode(StatefulSet, raw)


def pod(ordinal: int, state: str = "ready", image: str = "new", *, ready_for: float = 600, claims: bool = False) -> Pod:
    """`state`: ready, running, pending, failed, succeeded; `leaving` in front of it for one that is deleted."""
    leaving, _, state = state.rpartition(" ")
    phase = {"ready": "Running", "running": "Running"}.get(state, state.capitalize())
    since = (NOW - timedelta(seconds=ready_for)).isoformat()
    metadata: dict[str, Any] = {
        "name": f"db-{ordinal}",
        "namespace": "default",
        "uid": f"pod-{ordinal}",
        "labels": {
            "app": "db",
            "controller-revision-hash": f"db-{image}",
            "statefulset.kubernetes.io/pod-name": f"db-{ordinal}",
            "apps.kubernetes.io/pod-index": str(ordinal),
        },
    }
    if leaving:
        metadata["deletionTimestamp"] = NOW.isoformat()
    ready = {"type": "Ready", "status": str(state == "ready"), "lastTransitionTime": since}
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": f"data-db-{ordinal}"}}] if claims else []
    status = {"phase": phase, "conditions": [ready]}
    return decode(Pod, {"metadata": metadata, "spec": {"volumes": volumes}, "status": status})


def look(owner: StatefulSet, *pods: Pod, current: str = "new", claims: tuple[str, ...] = ()) -> Snapshot:
    known = tuple(
        PersistentVolumeClaim(metadata=ObjectMeta(name=name, namespace="default", uid=name)) for name in claims
    )
    return Snapshot(owner, pods, revision(current), revision("new", 2), NOW, known)


def short(action: Action) -> str:
    match action:
        case CreatePod():
            tag = action.pod["metadata"]["labels"]["controller-revision-hash"].removeprefix("db-")
            return f"+{action.name}:{tag}"
        case DeletePod(found):
            return f"-{found.metadata.name}"
        case CreateClaim():
            return f"+{action.name}"
        case OwnClaim(claim, owners):
            return f"{claim.metadata.name}={','.join(owner.kind for owner in owners)}"
        case MendPod(found):
            return f"~{found.metadata.name}"


def steps(seen: Snapshot) -> list[str]:
    return [short(action) for action in plan(seen).actions]


OLD = {"current": "old"}
PARTITION = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}
ON_DELETE = {"updateStrategy": {"type": "OnDelete"}}
PARALLEL = {"podManagementPolicy": "Parallel"}


@pytest.mark.parametrize(
    ("spec", "pods", "wanted"),
    [
        # in order
        ({}, [], ["+db-0:new"]),
        ({}, [pod(0)], ["+db-1:new"]),
        ({}, [pod(0, "running")], []),
        ({}, [pod(0), pod(1), pod(2)], []),
        ({}, [pod(0), pod(2)], ["+db-1:new"]),
        ({}, [pod(0, "leaving ready"), pod(1)], []),
        ({}, [pod(0), pod(1, "failed"), pod(2)], ["-db-1"]),
        ({}, [pod(0), pod(1, "leaving failed"), pod(2)], []),
        ({"ordinals": {"start": 5}}, [pod(5)], ["+db-6:new"]),
        # scaling down, from the end
        ({"replicas": 1}, [pod(0), pod(1), pod(2)], ["-db-2"]),
        ({"replicas": 1}, [pod(0), pod(1), pod(2, "leaving ready")], []),
        ({"replicas": 1}, [pod(0), pod(1, "running"), pod(2)], ["-db-2"]),
        ({"replicas": 1}, [pod(0), pod(1, "running"), pod(2, "running")], []),
        ({"replicas": 1}, [pod(0), pod(1), pod(2, "running")], ["-db-2"]),
        ({"replicas": 1}, [pod(0, "running"), pod(1)], []),
        ({"replicas": 0}, [pod(0)], ["-db-0"]),
        # all at once
        (PARALLEL, [], ["+db-0:new", "+db-1:new", "+db-2:new"]),
        (PARALLEL, [pod(1, "running")], ["+db-0:new", "+db-2:new"]),
        ({**PARALLEL, "replicas": 1}, [pod(0), pod(1), pod(2)], ["-db-2", "-db-1"]),
        # a rolling update, from the end
        ({}, [pod(0, image="old"), pod(1, image="old"), pod(2, image="old")], ["-db-2"]),
        ({}, [pod(0, image="old"), pod(1, image="old"), pod(2)], ["-db-1"]),
        ({}, [pod(0, image="old"), pod(1, image="old"), pod(2, "running")], []),
        (PARALLEL, [pod(0, image="old"), pod(1, image="old"), pod(2, "running")], []),
        (PARTITION, [pod(0, image="old"), pod(1, image="old"), pod(2, image="old")], ["-db-2"]),
        (PARTITION, [pod(0, image="old"), pod(1, image="old"), pod(2)], []),
        (PARTITION, [pod(0, image="old"), pod(2)], ["+db-1:old"]),
        (ON_DELETE, [pod(0, image="old"), pod(1, image="old"), pod(2, image="old")], []),
        (ON_DELETE, [pod(0, image="old"), pod(1, image="old")], ["+db-2:new"]),
        # ready, but not for long enough
        ({"minReadySeconds": 30}, [pod(0, ready_for=10)], []),
        ({"minReadySeconds": 30}, [pod(0, ready_for=31)], ["+db-1:new"]),
    ],
)
def test_next_steps(spec: dict[str, Any], pods: list[Pod], wanted: list[str]) -> None:
    assert steps(look(stateful_set(**spec), *pods, current="old")) == wanted


def test_when_to_look_again() -> None:
    assert plan(look(stateful_set(minReadySeconds=30), pod(0, ready_for=10))).again_seconds == 20


def test_nothing_is_done_to_one_that_goes() -> None:
    owner = stateful_set()
    going = replace(owner, metadata=replace(owner.metadata, deletion_timestamp=NOW))
    assert steps(look(going)) == []


def test_lost_labels_are_put_back() -> None:
    changed = pod(0)
    changed = replace(changed, metadata=replace(changed.metadata, labels={"app": "db"}))
    found = plan(look(stateful_set(replicas=1), changed))
    assert short(found.actions[0]) == "~db-0"


def test_claims_come_before_pods() -> None:
    owner = stateful_set(volumeClaimTemplates=[CLAIM])
    assert steps(look(owner)) == ["+data-db-0", "+db-0:new"]
    assert steps(look(owner, claims=("data-db-0",))) == ["+db-0:new"]
    (_, made) = plan(look(owner)).actions
    assert isinstance(made, CreatePod)
    new = decode(Pod, made.pod)
    assert storage_matches(owner, new, 0)
    assert not storage_matches(owner, new, 1)
    assert steps(look(owner, pod(0, "pending"))) == ["+data-db-0"]


def test_a_pod_waits_until_its_old_claim_is_gone() -> None:
    owner = stateful_set(volumeClaimTemplates=[CLAIM])
    leaving = PersistentVolumeClaim(metadata=ObjectMeta(name="data-db-0", namespace="default", deletion_timestamp=NOW))
    assert steps(replace(look(owner), claims=(leaving,))) == []


@pytest.mark.parametrize(
    ("deleted", "scaled", "wanted"),
    [
        ("Retain", "Retain", []),
        ("Delete", "Retain", ["data-db-0=StatefulSet", "data-db-1=StatefulSet"]),
        ("Retain", "Delete", ["data-db-1=Pod"]),
        ("Delete", "Delete", ["data-db-0=StatefulSet", "data-db-1=Pod"]),
    ],
)
def test_who_owns_the_claims(deleted: str, scaled: str, wanted: list[str]) -> None:
    policy = {"whenDeleted": deleted, "whenScaled": scaled}
    owner = stateful_set(volumeClaimTemplates=[CLAIM], persistentVolumeClaimRetentionPolicy=policy, replicas=1)
    seen = look(owner, pod(0, claims=True), pod(1, claims=True), claims=("data-db-0", "data-db-1", "other"))
    assert steps(seen) == [*wanted, "-db-1"]


@pytest.mark.parametrize(
    ("pods", "current", "counts"),
    [
        ([], "old", (0, 0, 0, 0, 0, "db-old")),
        ([pod(0, image="old"), pod(1, image="old"), pod(2)], "old", (3, 3, 3, 2, 1, "db-old")),
        ([pod(0), pod(1), pod(2)], "old", (3, 3, 3, 3, 3, "db-new")),
        ([pod(0), pod(1, "running"), pod(2, "leaving ready")], "new", (3, 2, 2, 2, 2, "db-new")),
    ],
)
def test_status(pods: list[Pod], current: str, counts: tuple[Any, ...]) -> None:
    found = plan(look(stateful_set(), *pods, current=current)).status
    assert (
        found.replicas,
        found.ready_replicas,
        found.available_replicas,
        found.current_replicas,
        found.updated_replicas,
        found.current_revision,
    ) == counts
    assert (found.observed_generation, found.update_revision) == (3, "db-new")


@pytest.mark.parametrize(
    ("name", "number"), [("db-0", 0), ("db-12", 12), ("db-01", None), ("x-db-0", None), ("db-", None)]
)
def test_ordinals(name: str, number: int | None) -> None:
    assert ordinal_of(stateful_set(), Pod(metadata=ObjectMeta(name=name))) == number


def test_revisions() -> None:
    owner, reference = ObjectMeta(name="db", namespace="default"), OwnerReference("apps/v1", "StatefulSet", "db", "u")
    known = (revision("a", 1), revision("b", 2), revision("c", 3))
    made = record(owner, reference, template("d"), known, 0)
    assert made is not None
    assert made.revision["revision"] == 4  # type: ignore[union-attr]
    assert made.revision["data"]["spec"]["template"]["$patch"] == "replace"  # type: ignore[union-attr]
    assert record(owner, reference, template("c"), known, 0) is None
    back = record(owner, reference, template("a"), known, 0)
    assert (back.revision.metadata.name, back.number) == ("db-a", 4)  # type: ignore[union-attr]
    assert find(known, template("b")) is known[1]
    assert [item.metadata.name for item in surplus(known, frozenset({"db-c"}), 1)] == ["db-a"]


STATES = st.sampled_from(["ready", "running", "pending", "failed", "leaving ready", "leaving running"])
PODS = st.dictionaries(st.integers(0, 5), st.tuples(STATES, st.sampled_from(["old", "new"])), max_size=6)


@given(pods=PODS, replicas=st.integers(0, 5), partition=st.integers(0, 5))
def test_in_order_there_is_one_change_at_a_time(
    pods: dict[int, tuple[str, str]], replicas: int, partition: int
) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}
    owner = stateful_set(replicas=replicas, updateStrategy=strategy)
    seen = look(owner, *(pod(number, *state) for number, state in pods.items()), current="old")
    changes = [action for action in plan(seen).actions if isinstance(action, CreatePod | DeletePod)]
    assert len(changes) <= 1
    for change in changes:
        if isinstance(change, CreatePod):
            ordinal = int(change.name.rpartition("-")[2])
            assert ordinal < replicas
            assert all(pods[number][0] == "ready" for number in range(ordinal))
        else:
            ordinal = int(change.pod.metadata.name.rpartition("-")[2])
            healthy = pods[ordinal][0] == "ready"
            below_partition = ordinal < min(partition, replicas)
            assert not (healthy and below_partition)


@given(replicas=st.integers(0, 5), start=st.integers(0, 5), parallel=st.booleans())
def test_following_the_plan_ends_where_it_should(replicas: int, start: int, *, parallel: bool) -> None:
    """Pods become ready, deleted ones go, and the plan is done in a bounded number of steps."""
    spec = {"replicas": replicas, **(PARALLEL if parallel else {})}
    pods = {number: pod(number, image="old") for number in range(start)}
    for _ in range(60):
        seen = look(stateful_set(**spec), *pods.values(), current="old")
        actions = plan(seen).actions
        if not actions:
            break
        for action in actions:
            if isinstance(action, CreatePod):
                number = int(action.name.rpartition("-")[2])
                assert number not in pods
                pods[number] = pod(number)
            elif isinstance(action, DeletePod):
                del pods[int(action.pod.metadata.name.rpartition("-")[2])]
    assert sorted(pods) == list(range(replicas))
    assert plan(look(stateful_set(**spec), *pods.values(), current="old")).status.current_revision == "db-new"
