"""What a Job does next, as tables, and that every pod is counted once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fairway.engine.controllers.job import indexes
from fairway.engine.controllers.job.plan import Plan, plan
from fairway.engine.controllers.job.pods import new_indexed_pod, new_pod
from fairway.engine.controllers.job.snapshot import FINALIZER, Snapshot
from fairway.kube.api.jobs import Job, JobStatus, UncountedTerminatedPods
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import Pod

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def job(status: JobStatus | None = None, restart: str = "Never", **spec: Any) -> Job:
    template = {"spec": {"restartPolicy": restart, "containers": [{"name": "main", "image": "x"}]}}
    metadata = {"name": "sum", "namespace": "default", "uid": "job"}
    made = decode(Job, {"metadata": metadata, "spec": {"completions": 3, "template": template, **spec}})
    return replace(made, status=status or JobStatus(start_time=NOW - timedelta(seconds=10)))


def pod(
    name: str, state: str = "running", *, index: int | None = None, code: int = 1, ago: float = 3600, **extra: Any
) -> Pod:
    """`state`: running, pending, succeeded, failed; `leaving` in front, `counted` behind it: no finalizer."""
    words = state.split()
    phase = next(word for word in words if word not in ("leaving", "counted"))
    metadata: dict[str, Any] = {"name": name, "namespace": "default", "uid": name, "annotations": {}}
    if "counted" not in words:
        metadata["finalizers"] = [FINALIZER]
    if "leaving" in words:
        metadata["deletionTimestamp"] = (NOW - timedelta(seconds=ago)).isoformat()
    if index is not None:
        metadata["annotations"][indexes.INDEX] = str(index)
        metadata["annotations"][indexes.FAILURES] = str(extra.get("failures", 0))
    status: dict[str, Any] = {"phase": phase.capitalize()}
    if phase in ("failed", "succeeded"):
        end = {"exitCode": code if phase == "failed" else 0, "finishedAt": (NOW - timedelta(seconds=ago)).isoformat()}
        status["containerStatuses"] = [{"name": "main", "state": {"terminated": end}}]
    elif restarts := extra.get("restarts"):
        status["containerStatuses"] = [{"name": "main", "restartCount": restarts}]
    if condition := extra.get("condition"):
        status["conditions"] = [{"type": condition, "status": "True"}]
    return decode(Pod, {"metadata": metadata, "status": status})


def decide(owner: Job, *pods: Pod, coming: frozenset[str] = frozenset()) -> Plan:
    return plan(Snapshot(owner, pods, NOW, coming))


def met(found: Plan) -> dict[str, str]:
    return {item.type: item.reason for item in found.status.conditions if item.status == "True"}


def names(pods: Any) -> list[str]:
    return [item.metadata.name for item in pods]


@pytest.mark.parametrize(
    ("spec", "pods", "create", "drop"),
    [
        ({}, [], 1, 0),
        ({"parallelism": 2}, [], 2, 0),
        ({"parallelism": 5}, [], 3, 0),
        ({"parallelism": 5}, [pod("a")], 2, 0),
        ({"parallelism": 0}, [pod("a")], 0, 1),
        ({"parallelism": 2}, [pod("a"), pod("b"), pod("c")], 0, 1),
        ({"parallelism": 5}, [pod("a", "succeeded"), pod("b")], 1, 0),
        ({"completions": None, "parallelism": 2}, [], 2, 0),
        ({"completions": None, "parallelism": 2}, [pod("a", "succeeded"), pod("b")], 0, 0),
        ({}, [pod("a", "leaving running")], 1, 0),
        ({"podReplacementPolicy": "Failed"}, [pod("a", "leaving running")], 0, 0),
    ],
)
def test_sizes(spec: dict[str, Any], pods: list[Pod], create: int, drop: int) -> None:
    found = decide(job(**spec), *pods)
    assert (len(found.create), len(found.drop)) == (create, drop)


def test_what_is_under_way_is_not_done_twice() -> None:
    found = decide(job(parallelism=2), coming=frozenset({"sum-a"}))
    assert (len(found.create), found.status.active) == (1, 2)


@pytest.mark.parametrize(
    ("failures", "ago", "wait"), [(1, 0, 10), (1, 11, None), (2, 0, 20), (3, 0, 40), (6, 0, 320), (6, 400, None)]
)
def test_failures_slow_it_down(failures: int, ago: float, wait: float | None) -> None:
    failed = [pod(f"p{number}", "failed counted", ago=ago + number) for number in range(failures)]
    found = decide(job(backoffLimit=9), *failed)
    assert found.again_seconds == wait
    assert len(found.create) == (wait is None)


def test_a_success_in_between_starts_anew() -> None:
    pods = [
        pod("a", "failed counted", ago=30),
        pod("b", "succeeded counted", ago=20),
        pod("c", "failed counted", ago=5),
    ]
    assert decide(job(), *pods).again_seconds == 5


def test_counting_goes_in_steps() -> None:
    """Noted, released, counted: whatever happens in between, a pod counts once."""
    first = decide(job(), pod("a", "succeeded"), pod("b", "failed"))
    assert first.status.uncounted_terminated_pods == UncountedTerminatedPods(succeeded=("a",), failed=("b",))
    assert (first.status.succeeded, first.status.failed) == (0, 0)
    assert names(first.release) == ["a", "b"]
    again = decide(replace(job(), status=first.status), pod("a", "succeeded"), pod("b", "failed"))
    assert again.status.uncounted_terminated_pods == first.status.uncounted_terminated_pods
    last = decide(replace(job(), status=first.status), pod("a", "succeeded counted"))
    assert (last.status.succeeded, last.status.failed) == (1, 1)
    assert last.status.uncounted_terminated_pods == UncountedTerminatedPods()


def test_completion() -> None:
    done = JobStatus(succeeded=2, uncounted_terminated_pods=UncountedTerminatedPods(succeeded=("c",)), start_time=NOW)
    waiting = decide(job(done), pod("c", "succeeded"))
    assert met(waiting) == {"SuccessCriteriaMet": "CompletionsReached"}
    assert waiting.status.completion_time is None
    found = decide(job(done), pod("c", "succeeded counted"))
    assert met(found) == {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
    assert found.status.completion_time == NOW
    assert [item.message for item in found.news] == ["Job completed"]


RULES = {
    "rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42], "containerName": "main"}},
        {"action": "Count", "onExitCodes": {"operator": "NotIn", "values": [1]}},
    ]
}


@pytest.mark.parametrize(
    ("spec", "pods", "reason"),
    [
        ({"backoffLimit": 1}, [pod("a", "failed"), pod("b", "failed")], "BackoffLimitExceeded"),
        ({"backoffLimit": 2}, [pod("a", "failed"), pod("b", "failed")], ""),
        ({"restart": "OnFailure", "backoffLimit": 2}, [pod("a", restarts=2)], "BackoffLimitExceeded"),
        ({"restart": "OnFailure", "backoffLimit": 2}, [pod("a", restarts=1)], ""),
        ({"activeDeadlineSeconds": 10}, [pod("a")], "DeadlineExceeded"),
        ({"activeDeadlineSeconds": 11}, [pod("a")], ""),
        ({"podFailurePolicy": RULES}, [pod("a", "failed", code=42)], "PodFailurePolicy"),
        ({"podFailurePolicy": RULES}, [pod("a", "failed", code=41)], ""),
    ],
)
def test_endings(spec: dict[str, Any], pods: list[Pod], reason: str) -> None:
    found = decide(job(**spec), *pods)
    assert met(found) == ({"FailureTarget": reason} if reason else {})
    assert names(found.kill) == ([item.metadata.name for item in pods if not item.finished] if reason else [])


def test_what_was_decided_stands() -> None:
    first = decide(job(backoffLimit=0), pod("a", "failed"), pod("b"))
    later = replace(job(backoffLimit=9), status=first.status)
    found = decide(later, pod("a", "failed counted"), pod("b", "leaving running"))
    assert "Failed" not in met(found)
    final = replace(later, status=found.status)
    found = decide(final, pod("a", "failed counted"))
    assert met(found) == {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"}
    assert found.status.failed == 2
    assert found.news[0].type == "Warning"


def test_ignored_failures_do_not_count() -> None:
    found = decide(job(podFailurePolicy=RULES), pod("a", "failed", condition="DisruptionTarget"))
    assert found.status.uncounted_terminated_pods == UncountedTerminatedPods()
    assert names(found.release) == ["a"]


def test_suspended_and_resumed() -> None:
    found = decide(job(suspend=True), pod("a"))
    assert (names(found.drop), found.status.start_time, met(found)) == (["a"], None, {"Suspended": "JobSuspended"})
    resumed = decide(replace(job(), status=found.status))
    assert (resumed.status.start_time, met(resumed)) == (NOW, {})
    assert [item.reason for item in (*found.news, *resumed.news)] == ["Suspended", "Resumed"]


def indexed(**spec: Any) -> Job:
    return job(completionMode="Indexed", parallelism=3, **spec)


def test_indexes_get_pods_in_order() -> None:
    found = decide(indexed(), pod("a", "succeeded", index=0), pod("b", index=2))
    assert [new.index for new in found.create] == [1]
    assert found.status.completed_indexes == "0"
    assert found.status.succeeded == 1
    found = decide(indexed(), coming=frozenset({"sum-0-abcde", "sum-2-abcde"}))
    assert [new.index for new in found.create] == [1]


def test_pods_of_an_index_that_is_taken_or_gone_are_dropped() -> None:
    found = decide(indexed(), pod("a", index=0), pod("b", index=0), pod("c", index=3))
    assert sorted(names(found.drop)) in (["a", "c"], ["b", "c"])


def test_failures_per_index() -> None:
    owner = indexed(backoffLimitPerIndex=1, backoffLimit=2**31 - 1)
    found = decide(owner, pod("a", "failed", index=0, failures=0, ago=5), pod("b", index=1), pod("c", index=2))
    assert (found.create, found.again_seconds, found.status.failed_indexes) == ((), 5, "")
    found = decide(owner, pod("a", "failed", index=0, failures=0), pod("b", index=1), pod("c", index=2))
    assert [(new.index, new.failures) for new in found.create] == [(0, 1)]
    found = decide(owner, pod("a", "failed", index=0, failures=1), pod("b", index=1), pod("c", index=2))
    assert (found.create, found.status.failed_indexes) == ((), "0")
    done = [pod(name, "succeeded", index=number) for number, name in ((1, "b"), (2, "c"))]
    found = decide(owner, pod("a", "failed", index=0, failures=1), *done)
    assert met(found) == {"FailureTarget": "FailedIndexes"}
    found = decide(indexed(backoffLimitPerIndex=0, maxFailedIndexes=0), pod("a", "failed", index=0))
    assert met(found) == {"FailureTarget": "MaxFailedIndexesExceeded"}


@pytest.mark.parametrize(
    ("rule", "done", "over"),
    [
        ({"succeededIndexes": "0"}, [0], True),
        ({"succeededIndexes": "0"}, [1], False),
        ({"succeededCount": 2}, [1, 2], True),
        ({"succeededIndexes": "0-1", "succeededCount": 1}, [1], True),
        ({"succeededIndexes": "0-1"}, [1], False),
    ],
)
def test_a_success_policy(rule: dict[str, Any], done: list[int], *, over: bool) -> None:
    owner = indexed(successPolicy={"rules": [rule]})
    pods = [pod(f"p{number}", "succeeded" if number in done else "running", index=number) for number in range(3)]
    found = decide(owner, *pods)
    assert met(found) == ({"SuccessCriteriaMet": "SuccessPolicy"} if over else {})
    assert bool(found.kill) is over


def test_after_the_end() -> None:
    done = {"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T11:59:00Z"}
    status = decode(JobStatus, {"completionTime": "2026-01-01T11:59:00Z", "conditions": [done]})
    assert decide(job(status), pod("a", "succeeded")).release
    assert decide(job(status, ttlSecondsAfterFinished=100)).again_seconds == 40
    assert decide(job(status, ttlSecondsAfterFinished=60)).remove
    assert decide(job(managedBy="example.com/queue")).create == ()


def test_pods() -> None:
    plain = new_pod(job(), "abcde")
    assert plain["metadata"]["name"] == "sum-abcde"
    assert plain["metadata"]["finalizers"] == [FINALIZER]
    numbered = new_indexed_pod(job(), 7, 2, "abcde")
    assert numbered["metadata"]["labels"] == {indexes.INDEX: "7"}
    assert numbered["metadata"]["annotations"] == {indexes.INDEX: "7", indexes.FAILURES: "2"}
    assert numbered["spec"]["hostname"] == "sum-7"


@given(numbers=st.sets(st.integers(0, 200)))
def test_indexes_come_back(numbers: set[int]) -> None:
    assert indexes.parse(indexes.render(numbers)) == numbers


def test_indexes_as_text() -> None:
    assert indexes.render([7, 1, 3, 4, 5, 9, 10]) == "1,3-5,7,9,10"


@given(
    data=st.data(),
    completions=st.integers(1, 6),
    parallelism=st.integers(1, 4),
    mode=st.sampled_from(["NonIndexed", "Indexed"]),
)
def test_following_the_plan_completes_and_counts_every_pod_once(
    data: st.DataObject, completions: int, parallelism: int, mode: str
) -> None:
    """The world does one thing at a time in any order: pods end, finalizers go late, statuses are written or lost."""
    owner = job(completions=completions, parallelism=parallelism, completionMode=mode, backoffLimit=100)
    pods: dict[str, Pod] = {}
    ended = {"succeeded": 0, "failed": 0}
    number = 0
    for _ in range(300):
        found = decide(owner, *pods.values())
        if owner.finished:
            break
        for new in found.create:
            number += 1
            pods[f"p{number}"] = pod(f"p{number}", index=new.index)
        assert len([item for item in pods.values() if not item.finished]) <= parallelism
        if data.draw(st.booleans()):
            continue  # the status could not be written
        owner = replace(owner, status=found.status)
        for item in found.release:
            if data.draw(st.booleans()):
                pods[item.metadata.name] = replace(item, metadata=replace(item.metadata, finalizers=()))
        running = [name for name, item in pods.items() if not item.finished]
        if running:
            name = data.draw(st.sampled_from(running))
            state = data.draw(st.sampled_from(["succeeded", "succeeded", "failed"]))
            index = pods[name].metadata.annotations.get(indexes.INDEX)
            pods[name] = pod(name, state, index=None if index is None else int(index))
            ended[state] += 1
    if owner.finished:
        assert (owner.status.succeeded, owner.status.failed) == (completions, ended["failed"])
        assert owner.status.uncounted_terminated_pods == UncountedTerminatedPods()
