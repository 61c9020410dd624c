"""Duplicate keys, pruning, canonical scalars, and what Go always writes."""

import copy
from typing import Any

import pytest

from fairway.engine.apiserver import schema
from fairway.engine.apiserver.schema.canonical import quantity

SCHEMAS = schema.load()


def _type(group: str, version: str, kind: str) -> schema.Type:
    found = SCHEMAS.kind(group, version, kind)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        (b"{}", ()),
        (b'{"a":{"b":1},"c":{"b":1}}', ()),
        (b'{"a":1,"a":2,"a":3}', ("a",)),
        (b'{"spec":{"replicas":1,"replicas":2}}', ("spec.replicas",)),
        (b'{"spec":{"containers":[{"image":"a"},{"image":"b","image":"c"}]}}', ("spec.containers[1].image",)),
        (b'{"a":{"x":1,"x":2},"b":1,"b":2}', ("a.x", "b")),
    ],
)
def test_duplicate_keys_are_named_by_their_path(body: bytes, paths: tuple[str, ...]) -> None:
    assert schema.duplicates(body) == paths


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 200_000 + b"]" * 200_000])
def test_a_body_that_is_no_json_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        schema.duplicates(body)


def test_pruning_drops_unknown_fields_and_nulls_and_leaves_the_argument_alone() -> None:
    pod: dict[str, Any] = {
        "metadata": {"name": "n", "labels": {"a": "b"}, "deletionTimestamp": None},
        "spec": {"x": 1, "containers": [{"name": "c", "bogus": {}, "resources": {"limits": {"cpu": 0.5}}}]},
    }
    before = copy.deepcopy(pod)
    pruned = schema.prune(_type("", "v1", "Pod"), pod)
    assert pruned == {
        "metadata": {"name": "n", "labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "500m"}}}]},
    }
    assert pod == before
    assert pruned["metadata"]["labels"] is pod["metadata"]["labels"]


def test_a_clean_object_is_returned_itself() -> None:
    service = {"metadata": {"name": "n"}, "spec": {"ports": [{"port": 80}]}}
    assert schema.prune(_type("", "v1", "Service"), service) is service


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
        ("2024-01-01T02:00:00.5+02:00", "2024-01-01T00:00:00Z"),
    ],
)
def test_times_are_kept_in_utc_by_the_second(given: str, kept: str) -> None:
    pruned = schema.prune(_type("", "v1", "Namespace"), {"metadata": {"creationTimestamp": given}})
    assert pruned["metadata"]["creationTimestamp"] == kept


def test_microtimes_have_six_digits() -> None:
    lease = {"spec": {"renewTime": "2024-01-01T00:00:00.5Z"}}
    assert schema.prune(_type("coordination.k8s.io", "v1", "Lease"), lease) == {
        "spec": {"renewTime": "2024-01-01T00:00:00.500000Z"}
    }


# Each pair as kubectl 1.33 printed it (`create quota --hard=… --dry-run=client -o json`).
@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("0.5", "500m"),
        (".5", "500m"),
        ("1.", "1."),
        ("+1", "+1"),
        ("0", "0"),
        ("1000m", "1"),
        ("1.50", "1500m"),
        ("0.1m", "100u"),
        ("1500.5m", "1500500u"),
        ("0.0000000001", "1n"),
        ("1e3", "1e3"),
        ("1E3", "1E3"),
        ("1e-3", "1e-3"),
        ("100e-3", "100e-3"),
        ("2000000", "2M"),
        ("1000000k", "1G"),
        ("12E", "12E"),
        ("0Ki", "0"),
        ("1024Mi", "1Gi"),
        ("0.5Gi", "512Mi"),
        ("1.5Ki", "1536"),
        ("0.3Gi", "322122547200m"),
        ("500Ki", "500Ki"),
        ("1000Ki", "1000Ki"),
        ("1Ei", "1Ei"),
        ("99Ei", "9223372036854775807"),
        ("nonsense", "nonsense"),
        ("1e999999999", "1e999999999"),
    ],
)
def test_quantities_are_written_as_upstream_writes_them(given: str, kept: str) -> None:
    assert quantity(given) == kept


@pytest.mark.parametrize(
    ("group", "version", "kind", "given", "kept"),
    [
        ("", "v1", "Service", {}, {"metadata": {}, "spec": {}, "status": {"loadBalancer": {}}}),
        (
            "apps",
            "v1",
            "Deployment",
            {"spec": {"template": {"spec": {"containers": [{"name": "c"}]}}}},
            {
                "metadata": {},
                "spec": {
                    "strategy": {},
                    "template": {"metadata": {}, "spec": {"containers": [{"name": "c", "resources": {}}]}},
                },
                "status": {},
            },
        ),
        ("", "v1", "ConfigMap", {"metadata": {"name": "n"}}, {"metadata": {"name": "n"}}),
    ],
)
def test_what_go_always_writes_is_filled_in(group: str, version: str, kind: str, given: Any, kept: Any) -> None:
    completed = schema.complete(_type(group, version, kind), given)
    assert completed == kept
    assert schema.complete(_type(group, version, kind), completed) is completed


def test_a_new_daemonset_counts_nothing_yet() -> None:
    status = schema.complete(_type("apps", "v1", "DaemonSet"), {})["status"]
    assert status == {
        "currentNumberScheduled": 0,
        "desiredNumberScheduled": 0,
        "numberMisscheduled": 0,
        "numberReady": 0,
    }
