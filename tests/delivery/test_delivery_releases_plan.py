"""What is decided about Releases, as tables."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fairway.delivery.kinds.releases import Release
from fairway.delivery.releases import drift
from fairway.delivery.releases.diagnosis import newest_hash, state, suspect, worst
from fairway.delivery.releases.freeze import Frozen, expand, masked
from fairway.delivery.releases.objects import LiveMeta, Name
from fairway.delivery.releases.plan import POLICY, REFUSED, Row
from fairway.delivery.releases.report import consequence
from fairway.delivery.releases.retention import digests
from fairway.delivery.releases.status import Progress, Workload, message, progress, together
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import DAEMON_SETS, DEPLOYMENTS, JOBS, STATEFUL_SETS, Resource

Raw = dict[str, Any]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def release(number: int, phase: str = "", reason: str = "", **spec: Any) -> Release:
    raw = {
        "metadata": {"name": f"site-v{number}", "namespace": "default"},
        "spec": {"app": "site", "environment": "production", "number": number, **spec},
        "status": {"phase": phase, "reason": reason},
    }
    return decode(Release, raw)


def row(*releases: Release) -> Row:
    return Row(releases)


LIVE, SUPERSEDED, ROLLING = release(1, "Live"), release(1, "Superseded"), release(1, "Rolling")
FAILED = release(2, "Failed", "ProgressDeadlineExceeded")


@pytest.mark.parametrize(
    ("seen", "target"),
    [
        pytest.param(row(LIVE, FAILED), LIVE, id="the live one"),
        pytest.param(row(SUPERSEDED, FAILED), None, id="nothing was live"),
        pytest.param(row(LIVE, release(2, "Failed", REFUSED)), None, id="nothing was changed"),
        pytest.param(row(LIVE, release(2, "Failed", "x", onFailure="keep")), None, id="the policy is to keep"),
        pytest.param(row(LIVE, release(2, "Failed", "x", actor=POLICY)), None, id="the way back failed"),
        pytest.param(row(LIVE, release(2, "Failed", "x", actor="ann")), LIVE, id="a person's way back failed"),
        pytest.param(row(LIVE, FAILED, release(3)), None, id="something newer is there"),
        pytest.param(row(LIVE, release(2, "Rolling")), None, id="not yet"),
    ],
)
def test_where_to_go_back_to(seen: Row, target: Release | None) -> None:
    assert seen.target == target


@pytest.mark.parametrize(
    ("seen", "numbers"),
    [
        (row(LIVE), []),
        (row(LIVE, release(2, "Rolling")), []),
        (row(ROLLING, release(2)), [1]),
        (row(LIVE, release(2, "Live")), [1]),
        (row(LIVE, FAILED, release(3, "Live")), [1]),
        (row(release(1, "Pending"), release(2, "Rolling"), release(3)), [1, 2]),
    ],
)
def test_who_is_overtaken(seen: Row, numbers: list[int]) -> None:
    assert [one.spec.number for one in seen.overtaken] == numbers


def test_the_failed_one_is_told_who_took_its_place() -> None:
    back = release(3, "Live", actor=POLICY)
    assert row(LIVE, FAILED, back).unmarked == ((FAILED, back),)
    assert row(LIVE, FAILED, release(3)).unmarked == ()


def test_the_current_one_is_the_newest_that_was_not_refused() -> None:
    assert row(LIVE, release(2, "Failed", REFUSED)).current is LIVE
    assert row(LIVE, FAILED).current is FAILED


@pytest.mark.parametrize(
    ("seen", "keep", "numbers"),
    [
        pytest.param(
            [release(n, "Superseded") for n in range(1, 5)] + [release(5, "Live")], 3, [1, 2], id="the oldest"
        ),
        pytest.param(
            [LIVE] + [release(n, "Failed", "x") for n in range(2, 6)], 2, [2, 3], id="what is live stays however old"
        ),
        pytest.param(
            [SUPERSEDED, release(2, "Superseded"), release(3, "Live", of="site-v1")], 1, [2], id="and what it repeats"
        ),
        pytest.param([ROLLING, release(2, "Live")], 1, [], id="what has not ended stays"),
        pytest.param([SUPERSEDED, release(2, "Live")], 0, [1], id="the newest always stays"),
    ],
)
def test_what_is_not_retained(seen: list[Release], keep: int, numbers: list[int]) -> None:
    assert [one.spec.number for one in row(*seen).beyond(keep)] == numbers


@pytest.mark.parametrize(
    ("one", "before", "text"),
    [
        (FAILED, (LIVE,), "v1 serves on, and the policy goes back to it"),
        (FAILED, (), "no earlier live Release"),
        (release(2, onFailure="keep"), (LIVE,), "left for a look"),
        (release(2, actor=POLICY), (LIVE,), "left for a look"),
    ],
)
def test_what_a_failure_means(one: Release, before: tuple[Release, ...], text: str) -> None:
    assert text in consequence(one, "ProgressDeadlineExceeded", row(*before, one))


# --- rollouts


def deployment(status: Raw, replicas: int = 2, generation: int = 3, **spec: Any) -> Workload:
    metadata = {"name": "site", "generation": generation}
    given = {"observedGeneration": generation, **status}
    return decode(Workload, {"metadata": metadata, "spec": {"replicas": replicas, **spec}, "status": given})


def timed_out(seconds: int) -> Raw:
    at = (NOW + timedelta(seconds=seconds)).isoformat()
    return {
        "conditions": [
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "lastUpdateTime": at}
        ]
    }


FULL: Raw = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}


@pytest.mark.parametrize(
    ("live", "wanted"),
    [
        pytest.param(None, Progress(wanted=1), id="not there"),
        pytest.param(deployment(FULL, generation=2), Progress(wanted=1), id="older than the apply"),
        pytest.param(deployment({**FULL, "observedGeneration": 2}), Progress(wanted=1), id="not yet looked at"),
        pytest.param(deployment(FULL), Progress(2, 2, done=True), id="done"),
        pytest.param(deployment({**FULL, "replicas": 3}), Progress(1, 2), id="an old pod is left"),
        pytest.param(
            deployment({"replicas": 3, "updatedReplicas": 1, "availableReplicas": 2}),
            Progress(0, 2),
            id="the old serve",
        ),
        pytest.param(deployment({}, replicas=0), Progress(0, 0, done=True), id="scaled to nothing"),
        pytest.param(
            deployment({"replicas": 3, "updatedReplicas": 1}, paused=True), Progress(0, 2, done=True), id="paused"
        ),
        pytest.param(
            deployment({"replicas": 3, "updatedReplicas": 1, "availableReplicas": 2, **timed_out(5)}),
            Progress(
                0, 2, failed="Deployment site: 0 of 2 pods became ready in time", reason="ProgressDeadlineExceeded"
            ),
            id="too late",
        ),
        pytest.param(
            deployment({"replicas": 3, "updatedReplicas": 1, "availableReplicas": 2, **timed_out(0)}),
            Progress(0, 2, undated=True),
            id="the verdict on an earlier one",
        ),
    ],
)
def test_a_deployment(live: Workload | None, wanted: Progress) -> None:
    assert progress(Name(DEPLOYMENTS, "site"), live, 3, NOW) == wanted


@pytest.mark.parametrize(
    ("resource", "spec", "status", "done", "failed"),
    [
        (STATEFUL_SETS, {"replicas": 2}, {"readyReplicas": 2, "updatedReplicas": 2}, True, ""),
        (STATEFUL_SETS, {"replicas": 2}, {"readyReplicas": 2, "updatedReplicas": 1}, False, ""),
        (STATEFUL_SETS, {"replicas": 2, "updateStrategy": {"type": "OnDelete"}}, {}, True, ""),
        (
            STATEFUL_SETS,
            {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}},
            {"updatedReplicas": 1, "currentRevision": "a", "updateRevision": "b"},
            True,
            "",
        ),
        (DAEMON_SETS, {}, {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1}, False, ""),
        (DAEMON_SETS, {}, {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}, True, ""),
        (JOBS, {}, {}, False, ""),
        (JOBS, {}, {"conditions": [{"type": "Complete", "status": "True"}]}, True, ""),
        (JOBS, {}, {"conditions": [{"type": "Failed", "status": "True", "message": "no"}]}, False, "Job x: no"),
    ],
)
def test_other_workloads(resource: Resource, spec: Raw, status: Raw, done: bool, failed: str) -> None:
    raw = {"metadata": {"generation": 1}, "spec": spec, "status": {"observedGeneration": 1, **status}}
    found = progress(Name(resource, "x"), decode(Workload, raw), 1)
    assert (found.done, found.failed) == (done, failed)


def test_all_objects_together() -> None:
    now = together((Progress(1, 2), Progress(1, 1, done=True), Progress(0, 1, failed="no", reason="R", undated=True)))
    assert (now.ready, now.wanted, now.done, now.failed, now.reason, now.undated) == (2, 4, False, "no", "R", True)
    assert message(now) == "2 of 4 pods ready"
    assert together(()) == Progress(done=True)


# --- drift

MANIFEST: Raw = {
    "metadata": {"labels": {"a": "1"}},
    "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "app", "image": "x", "command": ["a"]}]}}},
}
OWNED: Raw = {
    "f:metadata": {"f:labels": {"f:a": {}}},
    "f:spec": {
        "f:replicas": {},
        "f:template": {
            "f:spec": {"f:containers": {'k:{"name":"app"}': {".": {}, "f:name": {}, "f:image": {}, "f:command": {}}}}
        },
    },
}


def meta(fields: Raw, manager: str = "fairway-delivery") -> LiveMeta:
    return decode(LiveMeta, {"managedFields": [{"manager": manager, "operation": "Apply", "fieldsV1": fields}]})


def without(fields: Raw, *path: str) -> Raw:
    head, *rest = path
    if not rest:
        return {key: value for key, value in fields.items() if key != head}
    return {**fields, head: without(fields[head], *rest)}


@pytest.mark.parametrize(
    ("metadata", "paths"),
    [
        pytest.param(meta(OWNED), (), id="as it was released"),
        pytest.param(meta(without(OWNED, "f:spec", "f:replicas")), ("spec.replicas",), id="scaled"),
        pytest.param(
            meta(without(OWNED, "f:spec", "f:template", "f:spec", "f:containers", 'k:{"name":"app"}', "f:image")),
            ("spec.template.spec.containers[app].image",),
            id="another image",
        ),
        pytest.param(
            meta(without(OWNED, "f:metadata", "f:labels", "f:a") | {"f:x": {}}),
            (),
            id="an empty entry is the whole value",
        ),
        pytest.param(meta(OWNED, "somebody"), (), id="nothing is known of who wrote what"),
    ],
)
def test_drift(metadata: LiveMeta, paths: tuple[str, ...]) -> None:
    assert drift.changed(MANIFEST, metadata) == paths


# --- variables


def test_references_between_variables() -> None:
    values = {"A": b"1", "B.c": b"2"}
    assert expand("$(A)-$(B.c)-$(C)-$$(A)-$A", values) == "1-2-$(C)-$(A)-$A"


def test_the_name_is_that_of_the_content() -> None:
    one, same = Frozen({"A": b"1", "B": b"2"}), Frozen({"B": b"2", "A": b"1"})
    assert one.name("site") == same.name("site") != Frozen({"A": b"1", "B": b"3"}).name("site")
    assert Frozen().name("site") == ""


def test_masking_takes_the_longest_first_and_every_line() -> None:
    hidden = (b"abcd", b"abcdef", b"line one\nline two", b"x")
    assert masked("abcdef abcd x line two!", hidden) == "*** *** x ***!"


def test_images_that_must_stay() -> None:
    template = {"spec": {"containers": [{"image": "a@sha256:" + "1" * 64}, {"image": "b:1"}]}}
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {},
        "spec": {"jobTemplate": {"spec": {"template": template}}},
    }
    seen = release(1, image="c@sha256:" + "2" * 64, manifests=[manifest])
    assert set(digests(seen)) == {"sha256:" + "1" * 64, "sha256:" + "2" * 64}


# --- diagnosis


def pod(name: str, ready: bool, template: str = "new", created: int = 0, **status: Any) -> Pod:
    at = (NOW + timedelta(seconds=created)).isoformat()
    conditions = [{"type": "Ready", "status": str(ready)}]
    metadata = {"name": name, "labels": {"pod-template-hash": template}, "creationTimestamp": at}
    return decode(Pod, {"metadata": metadata, "status": {"conditions": conditions, **status}})


def test_the_pod_to_look_at() -> None:
    pods = [
        pod("old", False, "old", 9),
        pod("a", False, created=1),
        pod("b", False, created=2),
        pod("c", True, created=3),
    ]
    found = worst(pods, "new")
    assert found is not None and found.metadata.name == "b"
    assert worst([pod("c", True)], "new") is None
    sets = [
        {
            "metadata": {
                "annotations": {"deployment.kubernetes.io/revision": number},
                "labels": {"pod-template-hash": name},
            }
        }
        for number, name in (("9", "old"), ("10", "new"), ("x", "strange"))
    ]
    assert newest_hash(sets) == "new" and newest_hash([]) == ""


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (
            {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}},
            "waiting: ImagePullBackOff: no such",
        ),
        (
            {
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}},
                "restartCount": 4,
            },
            "ended with exit code 3 (Error); 4 restarts",
        ),
        ({"state": {"terminated": {"exitCode": 137, "signal": 9, "reason": "OOMKilled"}}}, "by signal 9 (OOMKilled)"),
        ({"state": {"running": {}}}, "running, not ready"),
    ],
)
def test_why_a_container_stands_in_the_way(status: Raw, text: str) -> None:
    sick = pod("a", False, containerStatuses=[{"name": "side", "ready": True}, {"name": "app", **status}])
    found = suspect(sick)
    assert found is not None and state(found).startswith("app: ") and text in state(found)
