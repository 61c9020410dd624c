"""Resources of a pod's containers change through `resize`, and nothing else does."""

from typing import Any

import pytest

PODS = "/api/v1/namespaces/default/pods"
STRATEGIC = "strategic-merge-patch+json"
SMALL = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "128Mi"}}

RESTART = {"resourceName": "memory", "restartPolicy": "RestartContainer"}


def pod(resources: Any = SMALL, **container: Any) -> Any:
    return {
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": resources, **container}]},
    }


def resizing(**resources: Any) -> Any:
    return {"spec": {"containers": [{"name": "c", "resources": resources}]}}


async def test_resources_change(api: Any) -> None:
    await api.create(PODS, pod())
    changed = await api.patch(f"{PODS}/p/resize", resizing(limits={"cpu": "400m"}, requests={"cpu": "300m"}), STRATEGIC)
    assert changed["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "300m", "memory": "64Mi"},
        "limits": {"cpu": "400m", "memory": "128Mi"},
    }
    assert changed["metadata"]["generation"] == 2
    assert (await api.get(f"{PODS}/p/resize"))["spec"] == changed["spec"]


async def test_nothing_else_changes_through_it(api: Any) -> None:
    await api.create(PODS, pod())
    obj = await api.get(f"{PODS}/p")
    obj["spec"]["containers"][0] |= {"image": "other"}
    obj["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "150m"
    obj["spec"]["activeDeadlineSeconds"] = 5
    obj["metadata"]["labels"] = {"a": "b"}
    changed = await api.put(f"{PODS}/p/resize", obj)
    assert changed["spec"]["containers"][0]["image"] == "i"
    assert changed["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "150m"
    assert "activeDeadlineSeconds" not in changed["spec"]
    assert "labels" not in changed["metadata"]


async def test_it_has_to_be_resize(api: Any) -> None:
    await api.create(PODS, pod())
    answer = await api.patch(f"{PODS}/p", resizing(limits={"cpu": "400m"}), STRATEGIC, 422)
    assert "pod updates may not change fields other than" in answer["message"]


@pytest.mark.parametrize(
    ("patch", "field", "says"),
    [
        (resizing(limits={"cpu": None}), "spec.containers[0].resources.limits", "resource limits cannot be removed"),
        (
            resizing(limits={"memory": "100Mi"}),
            "spec.containers[0].resources.limits[memory]",
            "memory limits cannot be decreased unless resizePolicy is RestartContainer",
        ),
        (
            resizing(requests={"cpu": "200m", "memory": "128Mi"}),
            "spec",
            'Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing',
        ),
        (resizing(requests={"ephemeral-storage": "1Gi"}), "spec", "only cpu and memory resources are mutable"),
        (
            {"spec": {"containers": [{"name": "c", "resizePolicy": [RESTART]}]}},
            "spec",
            "only cpu and memory resources are mutable",
        ),
        (
            {"spec": {"containers": [{"name": "d", "image": "i"}]}},
            "spec.containers",
            "containers may not be added or removed on resize",
        ),
        (
            resizing(requests={"cpu": "1"}),
            "spec.containers[0].resources.requests",
            "must be less than or equal to cpu limit of 200m",
        ),
    ],
)  # fmt: skip
async def test_what_is_refused(api: Any, patch: Any, field: str, says: str) -> None:
    await api.create(PODS, pod())
    answer = await api.patch(f"{PODS}/p/resize", patch, STRATEGIC, 422)
    causes = answer["details"]["causes"]
    assert field in {cause["field"] for cause in causes}
    assert says in answer["message"]


async def test_renamed_containers(api: Any) -> None:
    await api.create(PODS, pod())
    obj = await api.get(f"{PODS}/p")
    obj["spec"]["containers"][0]["name"] = "d"
    answer = await api.put(f"{PODS}/p/resize", obj, status=422)
    assert (
        "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize" in answer["message"]
    )


async def test_memory_limits_shrink_when_the_container_restarts(api: Any) -> None:
    await api.create(PODS, pod(resizePolicy=[RESTART]))
    changed = await api.patch(f"{PODS}/p/resize", resizing(limits={"memory": "100Mi"}), STRATEGIC)
    assert changed["spec"]["containers"][0]["resources"]["limits"]["memory"] == "100Mi"


async def test_a_memory_limit_cannot_be_added(api: Any) -> None:
    await api.create(PODS, pod({"requests": {"cpu": "1"}}))
    answer = await api.patch(f"{PODS}/p/resize", resizing(limits={"memory": "100Mi"}), STRATEGIC, 422)
    assert "memory limits cannot be added unless resizePolicy is RestartContainer" in answer["message"]


async def test_a_request_cannot_be_removed(api: Any) -> None:
    await api.create(PODS, pod({"requests": {"cpu": "1", "memory": "1Gi"}}))
    answer = await api.patch(f"{PODS}/p/resize", resizing(requests={"cpu": None}), STRATEGIC, 422)
    assert answer["message"] == (
        'Pod "p" is invalid: spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed'
    )


async def test_quotas_and_limit_ranges_hold(api: Any) -> None:
    await api.create(PODS, pod())
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"requests.cpu": "150m"}}}
    await api.create("/api/v1/namespaces/default/resourcequotas", quota)
    patch = resizing(requests={"cpu": "160m"})
    answer = await api.patch(f"{PODS}/p/resize", patch, STRATEGIC, 403)
    assert (
        "exceeded quota: q, requested: requests.cpu=60m, used: requests.cpu=100m, limited: requests.cpu=150m"
        in (answer["message"])
    )
    bounds = {"metadata": {"name": "l"}, "spec": {"limits": [{"type": "Container", "max": {"cpu": "210m"}}]}}
    await api.create("/api/v1/namespaces/default/limitranges", bounds)
    answer = await api.patch(f"{PODS}/p/resize", resizing(limits={"cpu": "220m"}), STRATEGIC, 403)
    assert "maximum cpu usage per Container is 210m, but limit is 220m" in answer["message"]


async def test_dry_run_and_unknown_fields(api: Any) -> None:
    await api.create(PODS, pod())
    path = f"{PODS}/p/resize"
    changed = await api.patch(f"{path}?dryRun=All", resizing(limits={"cpu": "400m"}), STRATEGIC)
    assert changed["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "400m"
    assert (await api.get(f"{PODS}/p"))["spec"]["containers"][0]["resources"] == SMALL
    answer = await api.patch(f"{path}?fieldValidation=Strict", {"spec": {"bogus": 1}}, STRATEGIC, 400)
    assert 'unknown field "spec.bogus"' in answer["message"]
