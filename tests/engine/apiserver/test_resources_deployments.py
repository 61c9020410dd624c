"""Deployments and ReplicaSets: defaults, refusals, generations, rows."""

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from fairway.engine.apiserver.resources.deployments import DEPLOYMENTS
from fairway.engine.apiserver.resources.replicasets import REPLICA_SETS

Object = dict[str, Any]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def deployment(**spec: Any) -> Object:
    base = {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "nginx:1"}]},
        },
    }
    obj = {"metadata": {"name": "web", "namespace": "default"}, "spec": {**base, **spec}}
    DEPLOYMENTS.default(obj)
    DEPLOYMENTS.prepare_create(obj)
    return obj


def refused(obj: Object, old: Object | None = None) -> list[tuple[str, str]]:
    return [(cause.field, cause.message) for cause in DEPLOYMENTS.validate(obj, old)]


def test_defaults() -> None:
    spec = deployment()["spec"]
    assert spec["replicas"] == 1
    assert spec["revisionHistoryLimit"] == 10
    assert spec["progressDeadlineSeconds"] == 600
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    assert spec["template"]["spec"]["restartPolicy"] == "Always"
    assert "enableServiceLinks" not in spec["template"]["spec"]


def test_zero_replicas_stay_zero() -> None:
    assert deployment(replicas=0)["spec"]["replicas"] == 0


@pytest.mark.parametrize(
    ("spec", "causes"),
    [
        ({}, []),
        ({"replicas": -1}, [("spec.replicas", "Invalid value: -1: must be greater than or equal to 0")]),
        ({"selector": None}, [("spec.selector", "Required value")]),
        ({"selector": {}}, [("spec.selector", "Invalid value: {}: empty selector is invalid for deployment")]),
        (
            {"selector": {"matchLabels": {"app": "other"}}},
            [
                (
                    "spec.template.metadata.labels",
                    'Invalid value: {"app":"web"}: `selector` does not match template `labels`',
                )
            ],
        ),
        (
            {"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}},
            [
                (
                    "spec.strategy.rollingUpdate",
                    "Forbidden: may not be specified when strategy `type` is 'Recreate'",
                )
            ],
        ),
        (
            {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}},
            [
                (
                    "spec.strategy.rollingUpdate.maxUnavailable",
                    'Invalid value: "0%": may not be 0 when `maxSurge` is 0',
                )
            ],
        ),
        (
            {"strategy": {"rollingUpdate": {"maxUnavailable": "101%"}}},
            [
                (
                    "spec.strategy.rollingUpdate.maxUnavailable",
                    'Invalid value: "101%": must not be greater than 100%',
                )
            ],
        ),
        (
            {"strategy": {"type": "Magic"}},
            [("spec.strategy.type", 'Unsupported value: "Magic": supported values: "Recreate", "RollingUpdate"')],
        ),
        (
            {"minReadySeconds": 600},
            [("spec.progressDeadlineSeconds", "Invalid value: 600: must be greater than minReadySeconds")],
        ),
    ],
)
def test_validation(spec: Object, causes: list[tuple[str, str]]) -> None:
    assert refused(deployment(**spec)) == causes


def test_a_template_is_checked_like_a_pod() -> None:
    obj = deployment()
    obj["spec"]["template"]["spec"].update(containers=[], restartPolicy="Never")
    assert refused(obj) == [
        ("spec.template.spec.containers", "Required value"),
        ("spec.template.spec.restartPolicy", 'Unsupported value: "Never": supported values: "Always"'),
    ]


def test_the_selector_never_changes() -> None:
    old = deployment()
    new = deployment(selector={"matchLabels": {"app": "web"}, "matchExpressions": []})
    assert refused(new, old) == [
        (
            "spec.selector",
            'Invalid value: {"matchLabels":{"app":"web"},"matchExpressions":[]}: field is immutable',
        )
    ]


@pytest.mark.parametrize(
    ("change", "generation"),
    [
        pytest.param(lambda obj: None, 1, id="nothing"),
        pytest.param(lambda obj: obj["spec"].update(replicas=3), 2, id="spec"),
        pytest.param(lambda obj: obj["metadata"].update(annotations={"a": "b"}), 2, id="annotations"),
        pytest.param(lambda obj: obj["metadata"].update(labels={"a": "b"}), 1, id="labels"),
        pytest.param(lambda obj: obj.update(status={"replicas": 5}), 1, id="status"),
    ],
)
def test_generation_counts_changes_of_the_specification(change: Any, generation: int) -> None:
    old = deployment()
    new = copy.deepcopy(old)
    change(new)
    DEPLOYMENTS.prepare_update(new, old)
    assert new["metadata"]["generation"] == generation
    assert new["status"] == old["status"]


def test_status_writes_keep_the_rest() -> None:
    old = deployment()
    new = copy.deepcopy(old)
    new["spec"]["replicas"] = 9
    new["status"] = {"replicas": 1}
    new["metadata"]["labels"] = {"a": "b"}
    DEPLOYMENTS.prepare_status(new, old)
    assert new["spec"]["replicas"] == 1
    assert new["status"] == {"replicas": 1}
    assert "labels" not in new["metadata"]


def test_rows() -> None:
    obj = deployment(replicas=3)
    obj["status"] = {"readyReplicas": 2, "updatedReplicas": 1, "availableReplicas": 2}
    obj["metadata"]["creationTimestamp"] = "2025-12-31T23:59:00Z"
    assert DEPLOYMENTS.row(obj, NOW) == ["web", "2/3", 1, 2, "60s", "web", "nginx:1", "app=web"]
    obj["status"] = {"replicas": 3, "readyReplicas": 2}
    assert REPLICA_SETS.row(obj, NOW) == ["web", 3, 3, 2, "60s", "web", "nginx:1", "app=web"]
