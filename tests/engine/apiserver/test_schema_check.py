"""What is found wrong with an object, in upstream's words."""

import copy
import json
from typing import Any

import pytest

from fairway.engine.apiserver import schema
from fairway.engine.apiserver.schema import Cause, Report, check

SCHEMAS = schema.load()
POD_JSON = json.dumps(
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "labels": {"app": "web"}, "creationTimestamp": "2024-01-02T03:04:05Z"},
        "spec": {
            "containers": [
                {
                    "name": "web",
                    "image": "nginx",
                    "ports": [{"containerPort": 80}],
                    "resources": {"limits": {"cpu": "500m", "memory": 1073741824}},
                    "readinessProbe": {"httpGet": {"path": "/", "port": "http"}},
                    "env": [{"name": "A", "value": None}],
                }
            ],
            "volumes": [{"name": "v", "emptyDir": {}}],
        },
    }
)


def _type(group: str, version: str, kind: str) -> schema.Type:
    found = SCHEMAS.kind(group, version, kind)
    assert found is not None
    return found


POD = _type("", "v1", "Pod")


def _pod(path: list[str | int], value: Any) -> dict[str, Any]:
    pod: dict[str, Any] = json.loads(POD_JSON)
    node: Any = pod
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return pod


def test_a_sound_pod_has_an_empty_report() -> None:
    pod = json.loads(POD_JSON)
    before = copy.deepcopy(pod)
    assert check(POD, pod) == Report()
    assert pod == before


@pytest.mark.parametrize(
    ("path", "unknown"),
    [
        (["spec", "foo"], "spec.foo"),
        (["spec", "containers", 0, "bar"], "spec.containers[0].bar"),
        (["spec", "containers", 0, "ports", 0, "Name"], "spec.containers[0].ports[0].Name"),
        (["bogus"], "bogus"),
        (["metadata", "owner"], "metadata.owner"),
    ],
)
def test_unknown_fields_are_named_by_their_path(path: list[str | int], unknown: str) -> None:
    assert check(POD, _pod(path, "x")) == Report((unknown,))


GO = "json: cannot unmarshal {} into Go struct field {} of type {}"


@pytest.mark.parametrize(
    ("path", "value", "field", "message"),
    [
        pytest.param(
            ["spec", "terminationGracePeriodSeconds"],
            "30",
            "spec.terminationGracePeriodSeconds",
            GO.format("string", "PodSpec.spec.terminationGracePeriodSeconds", "int64"),
            id="a string for a number",
        ),
        pytest.param(
            ["spec", "containers", 0, "env", 0, "value"],
            5,
            "spec.containers[0].env[0].value",
            GO.format("number", "EnvVar.spec.containers.env.value", "string"),
            id="a number for a string",
        ),
        pytest.param(
            ["metadata", "labels", "n"],
            True,
            "metadata.labels.n",
            GO.format("bool", "ObjectMeta.metadata.labels", "string"),
            id="a bool for a label",
        ),
        pytest.param(
            ["spec", "containers"],
            {"name": "x"},
            "spec.containers",
            GO.format("object", "PodSpec.spec.containers", "[]v1.Container"),
            id="an object for a list",
        ),
        pytest.param(
            ["spec", "containers", 0, "ports", 0, "containerPort"],
            1 << 31,
            "spec.containers[0].ports[0].containerPort",
            GO.format("number 2147483648", "ContainerPort.spec.containers.ports.containerPort", "int32"),
            id="a number out of range",
        ),
        pytest.param(
            ["spec", "hostNetwork"],
            1,
            "spec.hostNetwork",
            GO.format("number", "PodSpec.spec.hostNetwork", "bool"),
            id="a number for a bool",
        ),
        pytest.param(
            ["spec", "containers", 0, "resources", "limits", "cpu"],
            "lots",
            "spec.containers[0].resources.limits.cpu",
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            id="no quantity",
        ),
        pytest.param(
            ["metadata", "creationTimestamp"],
            "yesterday",
            "metadata.creationTimestamp",
            'parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"',
            id="no time",
        ),
    ],
)
def test_wrong_types_are_told_as_go_tells_them(path: list[str | int], value: Any, field: str, message: str) -> None:
    report = check(POD, _pod(path, value))
    assert report.wrong == (Cause("FieldValueTypeInvalid", message, field),)
    assert report.missing == ()


def test_secret_data_that_is_not_base64() -> None:
    report = check(_type("", "v1", "Secret"), {"metadata": {}, "data": {"a": "YWI*"}})
    assert report.causes == (Cause("FieldValueTypeInvalid", "illegal base64 data at input byte 3", "data.a"),)


def test_an_object_that_is_none() -> None:
    report = check(_type("apps", "v1", "Deployment"), [1])
    assert report.wrong[0].message == "json: cannot unmarshal array into Go value of type v1.Deployment"


def test_all_faults_are_reported_at_once() -> None:
    pod = _pod(["spec", "foo"], 1)
    pod["spec"]["containers"][0]["image"] = 7
    del pod["spec"]["containers"][0]["name"]
    report = check(POD, pod)
    assert report.unknown == ("spec.foo",)
    assert [cause.field for cause in report.wrong] == ["spec.containers[0].image"]
    assert report.missing == (Cause("FieldValueRequired", "Required value", "spec.containers[0].name"),)


def test_required_fields_are_not_asked_for_inside_status() -> None:
    deployment = {
        "spec": {"selector": {}, "template": {"spec": {"containers": []}}},
        "status": {"conditions": [{"reason": "x"}]},
    }
    assert check(_type("apps", "v1", "Deployment"), deployment) == Report()


def test_every_kind_links_and_accepts_its_empty_object() -> None:
    for group, version in sorted({(group, version) for group, version, _ in SCHEMAS}):
        for kind in SCHEMAS.kinds(group, version):
            assert check(_type(group, version, kind), {}).wrong == ()


@pytest.mark.parametrize(
    ("group", "version", "kind"),
    [
        ("", "v1", "Namespace"),
        ("apps", "v1", "StatefulSet"),
        ("batch", "v1", "CronJob"),
        ("autoscaling", "v2", "HorizontalPodAutoscaler"),
        ("policy", "v1", "Eviction"),
        ("networking.k8s.io", "v1", "IngressClass"),
        ("discovery.k8s.io", "v1", "EndpointSlice"),
        ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding"),
        ("storage.k8s.io", "v1", "StorageClass"),
        ("scheduling.k8s.io", "v1", "PriorityClass"),
        ("coordination.k8s.io", "v1", "Lease"),
        ("events.k8s.io", "v1", "Event"),
        ("node.k8s.io", "v1", "RuntimeClass"),
        ("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
        ("authentication.k8s.io", "v1", "TokenReview"),
        ("authorization.k8s.io", "v1", "SelfSubjectAccessReview"),
        ("certificates.k8s.io", "v1", "CertificateSigningRequest"),
        ("admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration"),
        ("autoscaling", "v1", "Scale"),
        ("", "v1", "DeleteOptions"),
    ],
)
def test_the_stable_groups_are_there(group: str, version: str, kind: str) -> None:
    assert SCHEMAS.kind(group, version, kind) is not None


def test_an_unknown_kind_has_no_type() -> None:
    assert SCHEMAS.kind("fairway.dev", "v1", "App") is None


@pytest.mark.parametrize(
    ("group", "kind", "body"),
    [
        ("authentication.k8s.io", "TokenRequest", {"spec": {}}),
        ("rbac.authorization.k8s.io", "Role", {}),
        ("rbac.authorization.k8s.io", "RoleBinding", {"roleRef": {"kind": "Role", "name": "r"}}),
        ("scheduling.k8s.io", "PriorityClass", {}),
        ("networking.k8s.io", "NetworkPolicy", {"spec": {}}),
        ("", "Event", {}),
    ],
)
def test_what_upstream_defaults_or_never_asks_for_is_not_missing(group: str, kind: str, body: dict[str, Any]) -> None:
    assert check(_type(group, "v1", kind), body) == Report()
