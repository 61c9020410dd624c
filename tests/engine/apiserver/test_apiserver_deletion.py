"""Deletes: finalizers, graceful ends, preconditions, namespaces."""

from datetime import UTC, datetime
from typing import Any

import pytest

from fairway.engine.apiserver.registry import DeleteOptions, deletion
from fairway.engine.apiserver.registry.deletion import Outcome
from fairway.engine.apiserver.resources.configmaps import CONFIG_MAPS as CONFIG_MAP
from fairway.engine.apiserver.resources.pods import PODS as POD

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def pod(node: str = "fairway", **metadata: Any) -> dict[str, Any]:
    containers = [{"name": "c", "image": "i"}]
    return {"metadata": {"name": "p", **metadata}, "spec": {"nodeName": node, "containers": containers}}


RUNNING = pod()
ENDING = pod(deletionTimestamp="2026-01-01T00:00:20Z", deletionGracePeriodSeconds=30)


@pytest.mark.parametrize(
    ("kind", "obj", "options", "outcome", "metadata"),
    [
        pytest.param(CONFIG_MAP, pod(), DeleteOptions(), Outcome.REMOVE, {}, id="nothing holds it"),
        pytest.param(
            CONFIG_MAP,
            pod(finalizers=["a/b"]),
            DeleteOptions(),
            Outcome.MARK,
            {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0, "finalizers": ["a/b"]},
            id="a finalizer holds it",
        ),
        pytest.param(
            CONFIG_MAP,
            pod(finalizers=["a/b"], deletionTimestamp="2026-01-01T00:00:00Z", deletionGracePeriodSeconds=0),
            DeleteOptions(),
            Outcome.WAIT,
            {"finalizers": ["a/b"]},
            id="deleted twice",
        ),
        pytest.param(
            CONFIG_MAP,
            pod(),
            DeleteOptions(propagation_policy="Foreground"),
            Outcome.MARK,
            {"finalizers": ["foregroundDeletion"]},
            id="foreground",
        ),
        pytest.param(
            CONFIG_MAP,
            pod(finalizers=["foregroundDeletion"]),
            DeleteOptions(propagation_policy="Orphan"),
            Outcome.MARK,
            {"finalizers": ["orphan"]},
            id="orphan instead",
        ),
        pytest.param(
            CONFIG_MAP,
            pod(finalizers=["orphan"]),
            DeleteOptions(propagation_policy="Background"),
            Outcome.REMOVE,
            {},
            id="background takes it back",
        ),
        pytest.param(
            POD,
            RUNNING,
            DeleteOptions(),
            Outcome.MARK,
            {"deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30},
            id="a running pod ends gracefully",
        ),
        pytest.param(POD, RUNNING, DeleteOptions(grace_period_seconds=0), Outcome.REMOVE, {}, id="at once"),
        pytest.param(POD, pod(node=""), DeleteOptions(), Outcome.REMOVE, {}, id="no node has it"),
        pytest.param(POD, ENDING, DeleteOptions(), Outcome.WAIT, {"deletionGracePeriodSeconds": 30}, id="again"),
        pytest.param(
            POD,
            ENDING,
            DeleteOptions(grace_period_seconds=60),
            Outcome.WAIT,
            {"deletionGracePeriodSeconds": 30},
            id="later",
        ),
        pytest.param(
            POD,
            ENDING,
            DeleteOptions(grace_period_seconds=10),
            Outcome.MARK,
            {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 10},
            id="sooner",
        ),
        pytest.param(POD, ENDING, DeleteOptions(grace_period_seconds=0), Outcome.REMOVE, {}, id="its end is reported"),
        pytest.param(
            POD,
            {**ENDING, "metadata": {**ENDING["metadata"], "finalizers": ["a/b"]}},
            DeleteOptions(grace_period_seconds=0),
            Outcome.MARK,
            {"deletionGracePeriodSeconds": 0, "finalizers": ["a/b"]},
            id="it ended, a finalizer is left",
        ),
    ],
)
def test_plan(kind: Any, obj: Any, options: DeleteOptions, outcome: Outcome, metadata: Any) -> None:
    copy = {**obj, "metadata": dict(obj["metadata"])}
    assert deletion.plan(kind, copy, options, NOW) is outcome
    if outcome is not Outcome.REMOVE:
        assert {key: copy["metadata"].get(key) for key in metadata} == metadata


async def test_a_deletion_is_a_status_or_the_object(api: Any) -> None:
    made = await api.create(CONFIG_MAPS, {"metadata": {"name": "a"}})
    status = await api.delete(f"{CONFIG_MAPS}/a")
    assert status == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]},
    }
    await api.create(PODS, pod(node=""))
    assert (await api.delete(f"{PODS}/p"))["kind"] == "Pod"
    assert (await api.delete(f"{PODS}/p", status=404))["message"] == 'pods "p" not found'


async def test_a_finalizer_keeps_an_object_until_it_is_taken_away(api: Any) -> None:
    await api.create(CONFIG_MAPS, {"metadata": {"name": "a", "finalizers": ["example.com/f"]}})
    marked = await api.delete(f"{CONFIG_MAPS}/a")
    assert marked["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:00Z"
    assert await api.delete(f"{CONFIG_MAPS}/a") == marked
    status = await api.patch(f"{CONFIG_MAPS}/a", {"metadata": {"finalizers": ["example.com/f", "b/c"]}}, status=422)
    assert "no new finalizers can be added if the object is being deleted" in status["message"]
    watching = await api.watch(f"{CONFIG_MAPS}?watch=1&resourceVersion={marked['metadata']['resourceVersion']}")
    last = await api.patch(f"{CONFIG_MAPS}/a", {"metadata": {"finalizers": None}})
    assert "finalizers" not in last["metadata"]
    assert await watching.names(1) == [("DELETED", "a")]
    assert (await api.call("GET", f"{CONFIG_MAPS}/a")).status == 404


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"uid": "x"}, "the UID in the precondition (x) does not match the UID in record ("),
        ({"resourceVersion": "1"}, "the ResourceVersion in the precondition (1) does not match the ResourceVersion"),
    ],
)
async def test_preconditions(api: Any, conditions: Any, message: str) -> None:
    await api.create(CONFIG_MAPS, {"metadata": {"name": "a"}})
    status = await api.delete(f"{CONFIG_MAPS}/a", {"preconditions": conditions}, 409)
    assert status["message"].startswith(f'Operation cannot be fulfilled on ConfigMap "a": {message}')


async def test_a_dry_run_deletes_nothing(api: Any) -> None:
    await api.create(CONFIG_MAPS, {"metadata": {"name": "a"}})
    await api.delete(f"{CONFIG_MAPS}/a?dryRun=All")
    await api.delete(f"{CONFIG_MAPS}/a", {"dryRun": ["All"]})
    await api.get(f"{CONFIG_MAPS}/a")


async def test_a_collection_can_be_deleted_dry(api: Any) -> None:
    for name in "ab":
        await api.create(CONFIG_MAPS, {"metadata": {"name": name}})
    listed = await api.delete(f"{CONFIG_MAPS}?dryRun=All")
    assert [item["metadata"]["name"] for item in listed["items"]] == ["a", "b"]
    assert len((await api.get(CONFIG_MAPS))["items"]) == 2


async def test_options_of_another_kind_delete_nothing(api: Any) -> None:
    await api.create(CONFIG_MAPS, {"metadata": {"name": "a"}})
    status = await api.delete(f"{CONFIG_MAPS}/a", {"kind": "ConfigMap", "apiVersion": "v1"}, 400)
    assert status["message"] == "decoded object cannot be converted to DeleteOptions"
    await api.get(f"{CONFIG_MAPS}/a")


@pytest.mark.parametrize("options", [{"propagationPolicy": "Sideways"}, {"dryRun": ["Some"]}])
async def test_options_are_checked(api: Any, options: Any) -> None:
    await api.create(CONFIG_MAPS, {"metadata": {"name": "a"}})
    assert "Unsupported value" in (await api.delete(f"{CONFIG_MAPS}/a", options, 422))["message"]


async def test_a_pod_goes_in_two_steps(api: Any) -> None:
    await api.create(PODS, pod())
    first = await api.delete(f"{PODS}/p", {"gracePeriodSeconds": 5})
    assert first["metadata"]["deletionGracePeriodSeconds"] == 5
    assert first["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:05Z"
    await api.delete(f"{PODS}/p?gracePeriodSeconds=0")
    assert (await api.call("GET", f"{PODS}/p")).status == 404


async def test_collections_are_deleted_by_selector(api: Any) -> None:
    for name, label in [("a", "x"), ("b", "x"), ("c", "y")]:
        await api.create(CONFIG_MAPS, {"metadata": {"name": name, "labels": {"l": label}}})
    gone = await api.delete(f"{CONFIG_MAPS}?labelSelector=l%3Dx")
    assert [item["metadata"]["name"] for item in gone["items"]] == ["a", "b"]
    assert [item["metadata"]["name"] for item in (await api.get(CONFIG_MAPS))["items"]] == ["c"]


async def test_a_namespace_goes_when_it_is_finalized(api: Any) -> None:
    await api.create("/api/v1/namespaces", {"metadata": {"name": "team"}})
    marked = await api.delete("/api/v1/namespaces/team")
    assert marked["status"]["phase"] == "Terminating"
    status = await api.create("/api/v1/namespaces/team/configmaps", {"metadata": {"name": "a"}}, 403)
    assert status["message"] == (
        'configmaps "a" is forbidden: unable to create new content in namespace team because it is being terminated'
    )
    assert status["details"]["causes"] == [
        {
            "reason": "NamespaceTerminating",
            "message": "namespace team is being terminated",
            "field": "metadata.namespace",
        }
    ]
    await api.delete("/api/v1/namespaces/team")
    kept = await api.put("/api/v1/namespaces/team", {**marked, "spec": {}})
    assert kept["spec"]["finalizers"] == ["kubernetes"]
    await api.put("/api/v1/namespaces/team/finalize", {**marked, "spec": {"finalizers": []}})
    assert (await api.call("GET", "/api/v1/namespaces/team")).status == 404


async def test_some_namespaces_stay(api: Any) -> None:
    status = await api.delete("/api/v1/namespaces/default", status=403)
    assert status["message"] == 'namespaces "default" is forbidden: this namespace may not be deleted'
