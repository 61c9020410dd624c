"""Live objects as manifests of a Release, and which runs are released by what their jobs did."""

from typing import Any

import pytest

from fairway.delivery.kinds.runs import Change, PipelineRun, PipelineRunSpec, PipelineRunStatus
from fairway.delivery.pipelines.changes import Note, merged, notes
from fairway.delivery.releases import live
from fairway.delivery.releases.objects import Place
from fairway.kube.api.resource import CONFIG_MAPS, DEPLOYMENTS, PERSISTENT_VOLUME_CLAIMS, SERVICE_ACCOUNTS, SERVICES

Raw = dict[str, Any]
PLACE = Place("team", "shop", "production")


def seen(kind: str, api: str, **more: Any) -> Raw:
    metadata = {
        "name": "web",
        "namespace": "team",
        "uid": "u",
        "resourceVersion": "7",
        "generation": 3,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": [{"manager": "kubectl-client-side-apply"}],
        "ownerReferences": [{"kind": "App"}],
        "labels": {"app": "web"},
        "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
            "deployment.kubernetes.io/revision": "2",
            "team/contact": "ann",
        },
    }
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "status": {"replicas": 1}, **more}


def test_what_the_cluster_added_is_left_out() -> None:
    template = {"metadata": {"creationTimestamp": None, "labels": {"app": "web"}}, "spec": {"containers": []}}
    made = live.manifest(DEPLOYMENTS, seen("Deployment", "apps/v1", spec={"replicas": 2, "template": template}), PLACE)
    assert made["metadata"] == {
        "name": "web",
        "namespace": "team",
        "labels": {"app": "web", **PLACE.labels},
        "annotations": {"team/contact": "ann"},
    }
    assert "status" not in made and made["spec"]["template"]["metadata"] == {"labels": {"app": "web"}}


@pytest.mark.parametrize(
    ("resource", "body", "wanted"),
    [
        (
            SERVICES,
            {"spec": {"clusterIP": "10.96.1.2", "clusterIPs": ["10.96.1.2"], "type": "ClusterIP"}},
            {"spec": {"type": "ClusterIP"}},
        ),
        (
            SERVICES,
            {"spec": {"clusterIP": "None", "clusterIPs": ["None"]}},
            {"spec": {"clusterIP": "None", "clusterIPs": ["None"]}},
        ),
        (
            PERSISTENT_VOLUME_CLAIMS,
            {"spec": {"volumeName": "pv-1", "accessModes": ["x"]}},
            {"spec": {"accessModes": ["x"]}},
        ),
        (
            SERVICE_ACCOUNTS,
            {"secrets": [{"name": "t"}], "imagePullSecrets": [{"name": "h"}]},
            {"imagePullSecrets": [{"name": "h"}]},
        ),
        (CONFIG_MAPS, {"data": {"a": "b"}}, {"data": {"a": "b"}}),
    ],
)
def test_what_the_cluster_gave_one_object_is_not_wished_for_again(resource: Any, body: Raw, wanted: Raw) -> None:
    made = live.manifest(resource, seen(resource.kind, resource.api_version, **body), PLACE)
    assert {key: value for key, value in made.items() if key not in ("apiVersion", "kind", "metadata")} == wanted


def test_going_back_means_the_image_that_was_made_then() -> None:
    spec = {"containers": [{"name": "a", "image": "h.io/a:1"}, {"name": "b", "image": "nginx"}]}
    deployment = seen("Deployment", "apps/v1", spec={"template": {"spec": spec}})
    (made,) = live.pinned((deployment,), {"h.io/a:1": "h.io/a@sha256:1"})
    assert [*live.images((made,))] == ["h.io/a@sha256:1", "nginx"]
    config = seen("ConfigMap", "v1", data={"image": "h.io/a:1"})
    assert live.pinned((config,), {"h.io/a:1": "h.io/a@sha256:1"}) == (config,), "only what containers run"


def run(phase: str, *changes: Change, deploys: bool = True) -> PipelineRun:
    return PipelineRun(
        spec=PipelineRunSpec(app="shop"), status=PipelineRunStatus(phase=phase, deploys=deploys, changes=changes)
    )


DEPLOYED = Change("production", "apps", "deployments", "web")


@pytest.mark.parametrize(
    ("of", "wanted"),
    [
        (run("Succeeded", DEPLOYED), True),
        (run("Failed", DEPLOYED), True),
        (run("Cancelled", DEPLOYED), True),
        (run("Superseded", DEPLOYED), False),  # the newer run deploys
        (run("Running", DEPLOYED), False),
        (run("Succeeded"), False),
        (run("Succeeded", Change("staging", "apps", "deployments", "web")), False),
        (run("Succeeded", Change("production", "", "secrets", "vault")), False),  # values stay out of Releases
        (run("Succeeded", Change("production", "batch", "jobs", "migrate")), False),
        (run("Succeeded", DEPLOYED, deploys=False), False),
    ],
)
def test_a_run_is_released_by_what_its_jobs_changed(of: PipelineRun, wanted: bool) -> None:
    assert live.deployed(of, "production") is wanted


def test_notes_of_two_attempts_are_one_list() -> None:
    first, gone = Note("apps", "deployments", "web"), Note("apps", "deployments", "web", deleted=True)
    assert notes(merged([first, Note("", "services", "web")], [gone])) == (gone, Note("", "services", "web"))
    for bad in (b"{", b"[1]", b"\xff", b'[{"group": 1}]'):
        with pytest.raises(ValueError, match="these are no notes"):
            notes(bad)
