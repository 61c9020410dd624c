"""Pods: what is filled in, what is refused, what may change."""

import copy
from typing import Any

import pytest

from fairway.engine.apiserver.resources.pods import PODS, grace_seconds, quality_of_service

Object = dict[str, Any]


def pod(**spec: Any) -> Object:
    base = {"containers": [{"name": "web", "image": "nginx:1.25"}]}
    return {"metadata": {"name": "web", "namespace": "default"}, "spec": {**base, **spec}}


def downward(source: Object) -> Object:
    """A volume of one file with what the source names."""
    return {"name": "v", "downwardAPI": {"items": [{"path": "file", **source}]}}


def container(**fields: Any) -> list[Object]:
    return [{"name": "web", "image": "nginx:1.25", **fields}]


def created(**spec: Any) -> Object:
    obj = pod(**spec)
    PODS.default(obj)
    PODS.prepare_create(obj)
    return obj


def refused(obj: Object, old: Object | None = None) -> list[tuple[str, str]]:
    return [(cause.field, cause.message) for cause in PODS.validate(obj, old)]


def test_a_minimal_pod_gets_everything_upstream_gives() -> None:
    assert created()["spec"] == {
        "containers": [
            {
                "name": "web",
                "image": "nginx:1.25",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "imagePullPolicy": "IfNotPresent",
            }
        ],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "default",
        "serviceAccount": "default",
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "tolerations": [
            {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
        ],
        "enableServiceLinks": True,
    }
    assert created()["status"] == {"phase": "Pending", "qosClass": "BestEffort"}


def test_defaults_are_filled_once() -> None:
    once = created(containers=container(livenessProbe={"httpGet": {"port": 80}}, ports=[{"containerPort": 80}]))
    twice = copy.deepcopy(once)
    PODS.default(twice)
    assert twice == once


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1", "IfNotPresent"),
        ("host:5000/nginx", "Always"),
        ("host:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:" + "0" * 64, "IfNotPresent"),
    ],
)
def test_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    obj = created(containers=[{"name": "web", "image": image}])
    assert obj["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_probe_volume_and_reference_defaults() -> None:
    spec = created(
        containers=container(
            readinessProbe={"httpGet": {"port": 80}, "timeoutSeconds": 0},
            lifecycle={"preStop": {"httpGet": {"port": 80}}},
            env=[{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        ),
        volumes=[{"name": "a"}, {"name": "b", "configMap": {"name": "c"}}, {"name": "h", "hostPath": {"path": "/"}}],
    )["spec"]
    web = spec["containers"][0]
    assert web["readinessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert web["lifecycle"]["preStop"]["httpGet"] == {"port": 80, "path": "/", "scheme": "HTTP"}
    assert web["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"
    assert spec["volumes"] == [
        {"name": "a", "emptyDir": {}},
        {"name": "b", "configMap": {"name": "c", "defaultMode": 420}},
        {"name": "h", "hostPath": {"path": "/", "type": ""}},
    ]


def test_limits_become_requests() -> None:
    resources = created(containers=container(resources={"limits": {"cpu": "1"}}))["spec"]["containers"][0]["resources"]
    assert resources == {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
        ({"limits": {"cpu": "1"}}, "Burstable"),
    ],
)
def test_quality_of_service(resources: Object, quality: str) -> None:
    obj = pod(containers=container(resources=resources))
    PODS.default(obj)
    assert quality_of_service(obj["spec"]) == quality


@pytest.mark.parametrize(
    ("spec", "causes"),
    [
        pytest.param({}, [], id="fine"),
        pytest.param({"containers": []}, [("spec.containers", "Required value")], id="no containers"),
        pytest.param(
            {"containers": [{"name": "a", "image": "x"}, {"name": "a", "image": "x"}]},
            [("spec.containers[1].name", 'Duplicate value: "a"')],
            id="container twice",
        ),
        pytest.param({"containers": [{"name": "a"}]}, [("spec.containers[0].image", "Required value")], id="no image"),
        pytest.param(
            {"containers": container(ports=[{"containerPort": 70000, "protocol": "TPC"}])},
            [
                (
                    "spec.containers[0].ports[0].containerPort",
                    "Invalid value: 70000: must be between 1 and 65535, inclusive",
                ),
                (
                    "spec.containers[0].ports[0].protocol",
                    'Unsupported value: "TPC": supported values: "SCTP", "TCP", "UDP"',
                ),
            ],
            id="port and protocol",
        ),
        pytest.param(
            {
                "containers": container(
                    volumeMounts=[{"name": "x", "mountPath": "/a"}, {"name": "x", "mountPath": "/a"}]
                )
            },
            [
                ("spec.containers[0].volumeMounts[0].name", 'Not found: "x"'),
                ("spec.containers[0].volumeMounts[1].name", 'Not found: "x"'),
                ("spec.containers[0].volumeMounts[1].mountPath", 'Invalid value: "/a": must be unique'),
            ],
            id="mounts",
        ),
        pytest.param(
            {"containers": container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})},
            [
                (
                    "spec.containers[0].resources.requests",
                    'Invalid value: "2": must be less than or equal to cpu limit of 1',
                )
            ],
            id="request over limit",
        ),
        pytest.param(
            {"containers": container(livenessProbe={"successThreshold": 2, "exec": {"command": ["x"]}})},
            [("spec.containers[0].livenessProbe.successThreshold", "Invalid value: 2: must be 1")],
            id="liveness success threshold",
        ),
        pytest.param(
            {"containers": container(readinessProbe={"periodSeconds": 5})},
            [("spec.containers[0].readinessProbe", "Required value: must specify a handler type")],
            id="probe without handler",
        ),
        pytest.param(
            {"restartPolicy": "Sometimes"},
            [
                (
                    "spec.restartPolicy",
                    'Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"',
                )
            ],
            id="restart policy",
        ),
        pytest.param(
            {"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]},
            [("spec.volumes[0].hostPath", "Forbidden: may not specify more than 1 volume type")],
            id="two sources",
        ),
        pytest.param(
            {"initContainers": [{"name": "i", "image": "x", "readinessProbe": {"exec": {"command": ["x"]}}}]},
            [
                (
                    "spec.initContainers[0].readinessProbe",
                    "Forbidden: may not be set for init containers without restartPolicy=Always",
                )
            ],
            id="init container with probe",
        ),
        pytest.param(
            {"dnsPolicy": "None"},
            [
                (
                    "spec.dnsConfig.nameservers",
                    "Required value: must provide at least one DNS nameserver when `dnsPolicy` is None",
                )
            ],
            id="no nameserver",
        ),
        pytest.param(
            {"volumes": [downward({"fieldRef": {"fieldPath": "spec.nodeName"}})]},
            [
                (
                    "spec.volumes[0].downwardAPI.items[0].fieldRef.fieldPath",
                    'Unsupported value: "spec.nodeName": supported values: "metadata.annotations", "metadata.labels", '
                    '"metadata.name", "metadata.namespace", "metadata.uid"',
                )
            ],
            id="a field that is for variables only",
        ),
        pytest.param(
            {"volumes": [downward({"resourceFieldRef": {"resource": "limits.cpu"}})]},
            [("spec.volumes[0].downwardAPI.items[0].resourceFieldRef.containerName", "Required value")],
            id="whose limit",
        ),
    ],
)
def test_validation_at_create(spec: Object, causes: list[tuple[str, str]]) -> None:
    assert refused(created(**spec)) == causes


@pytest.mark.parametrize(
    "source",
    [
        {"fieldRef": {"fieldPath": "metadata.labels"}},
        {"fieldRef": {"fieldPath": "metadata.annotations"}},
        {"fieldRef": {"fieldPath": "metadata.labels['app']"}},
        {"resourceFieldRef": {"containerName": "web", "resource": "limits.memory"}},
    ],
    ids=str,
)
def test_what_a_volume_may_tell_of_its_pod(source: Object) -> None:
    assert refused(created(volumes=[downward(source)])) == []
    projected = {"sources": [{"downwardAPI": downward(source)["downwardAPI"]}]}
    assert refused(created(volumes=[{"name": "v", "projected": projected}])) == []


def test_an_image_may_change() -> None:
    old, new = created(), created(containers=[{"name": "web", "image": "nginx:1.26"}])
    assert refused(new, old) == []


def test_a_port_may_not_change() -> None:
    old, new = created(), created(containers=container(ports=[{"containerPort": 80}]))
    ((field, message),) = refused(new, old)
    assert field == "spec"
    assert message.startswith("Forbidden: pod updates may not change fields other than `spec.containers[*].image`,")


def test_tolerations_may_only_be_added() -> None:
    old = created()
    more = created()
    more["spec"]["tolerations"].append({"key": "a", "operator": "Exists"})
    assert refused(more, old) == []
    assert [field for field, _ in refused(old, more)] == ["spec.tolerations"]


def test_update_keeps_status_and_counts_generations() -> None:
    old, new = created(), created(containers=[{"name": "web", "image": "nginx:1.26"}])
    old["status"]["phase"] = "Running"
    PODS.prepare_update(new, old)
    assert new["status"]["phase"] == "Running"
    assert new["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    ("spec", "phase", "seconds"),
    [
        ({}, "Pending", 0),
        ({"nodeName": "fairway"}, "Running", 30),
        ({"nodeName": "fairway", "terminationGracePeriodSeconds": 5}, "Running", 5),
        ({"nodeName": "fairway", "terminationGracePeriodSeconds": 0}, "Running", 0),
        ({"nodeName": "fairway"}, "Succeeded", 0),
    ],
)
def test_grace_period_of_a_delete(spec: Object, phase: str, seconds: int) -> None:
    obj = created(**spec)
    obj["status"]["phase"] = phase
    assert grace_seconds(obj) == seconds
