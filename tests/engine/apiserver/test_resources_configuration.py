"""ConfigMaps, Secrets, Namespaces, Nodes, Events and metadata: refusals and rows."""

from datetime import UTC, datetime
from typing import Any

import pytest

from fairway.engine.apiserver.resources import validate_metadata
from fairway.engine.apiserver.resources.configmaps import CONFIG_MAPS
from fairway.engine.apiserver.resources.events import EVENTS
from fairway.engine.apiserver.resources.names import dns_subdomain
from fairway.engine.apiserver.resources.namespaces import NAMESPACES
from fairway.engine.apiserver.resources.nodes import NODES
from fairway.engine.apiserver.resources.secrets import SECRETS

Object = dict[str, Any]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("obj", "fields"),
    [
        ({"data": {"a.conf": "x"}}, []),
        ({"data": {"a/b": "x"}}, ["data[a/b]"]),
        ({"data": {"a": "x"}, "binaryData": {"a": ""}}, ["data[a]"]),
        ({"data": {"a": "x" * (1 << 20) + "y"}}, ["[]"]),
    ],
)
def test_config_maps(obj: Object, fields: list[str]) -> None:
    assert [cause.field for cause in CONFIG_MAPS.validate(obj, None)] == fields


def test_an_immutable_config_map_stays() -> None:
    old = {"immutable": True, "data": {"a": "1"}}
    says = "Forbidden: field is immutable when `immutable` is set"
    found = CONFIG_MAPS.validate({"data": {"a": "2"}}, old)
    assert [(cause.field, cause.message) for cause in found] == [("immutable", says), ("data", says)]


def test_string_data_becomes_data() -> None:
    obj: Object = {"data": {"a": "b2xk"}, "stringData": {"a": "new", "b": "ä"}}
    SECRETS.default(obj)
    assert obj == {"type": "Opaque", "data": {"a": "bmV3", "b": "w6Q="}}


@pytest.mark.parametrize(
    ("obj", "causes"),
    [
        ({"type": "Opaque"}, []),
        (
            {"type": "kubernetes.io/tls", "data": {"tls.crt": ""}},
            [("data[tls.key]", "Required value")],
        ),
        ({"type": "kubernetes.io/tls", "data": {"tls.crt": "", "tls.key": ""}}, []),
        (
            {"type": "kubernetes.io/basic-auth"},
            [("data[username]", "Required value"), ("data[password]", "Required value")],
        ),
        ({"type": "kubernetes.io/dockerconfigjson"}, [("data[.dockerconfigjson]", "Required value")]),
        ({"type": "example.com/own", "data": {"x": ""}}, []),
    ],
)
def test_secrets(obj: Object, causes: list[tuple[str, str]]) -> None:
    assert [(cause.field, cause.message) for cause in SECRETS.validate(obj, None)] == causes


def test_a_broken_docker_config_is_not_shown() -> None:
    obj = {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "c2VjcmV0"}}
    (cause,) = SECRETS.validate(obj, None)
    assert "<secret contents redacted>" in cause.message


def test_the_type_of_a_secret_never_changes() -> None:
    (cause,) = SECRETS.validate({"type": "a"}, {"type": "b"})
    assert (cause.field, cause.message) == ("type", 'Invalid value: "a": field is immutable')


def test_a_new_namespace() -> None:
    obj: Object = {"metadata": {"name": "shop"}}
    NAMESPACES.default(obj)
    NAMESPACES.prepare_create(obj)
    assert obj == {
        "metadata": {"name": "shop", "labels": {"kubernetes.io/metadata.name": "shop"}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def test_node_row() -> None:
    node = {
        "metadata": {"name": "fairway", "labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {"unschedulable": True},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {
                "kubeletVersion": "v1.36.0",
                "osImage": "Debian",
                "kernelVersion": "6.1",
                "containerRuntimeVersion": "fairway://0.1",
            },
            "addresses": [{"type": "InternalIP", "address": "10.42.0.1"}],
        },
    }
    assert NODES.row(node, NOW) == [
        "fairway",
        "Ready,SchedulingDisabled",
        "control-plane",
        "<unknown>",
        "v1.36.0",
        "10.42.0.1",
        "<none>",
        "Debian",
        "6.1",
        "fairway://0.1",
    ]
    assert NODES.selectable(node) == {"spec.unschedulable": "true"}


def test_event_row_and_rule() -> None:
    event: Object = {
        "metadata": {"name": "web.1", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "name": "web", "namespace": "default", "fieldPath": "spec.containers{web}"},
        "source": {"component": "kubelet", "host": "fairway"},
        "type": "Normal",
        "reason": "Pulled",
        "message": "done\n",
        "count": 3,
        "firstTimestamp": "2025-12-31T23:50:00Z",
        "lastTimestamp": "2025-12-31T23:59:00Z",
    }
    assert EVENTS.row(event, NOW) == [
        "60s",
        "Normal",
        "Pulled",
        "pod/web",
        "spec.containers{web}",
        "kubelet, fairway",
        "done",
        "10m",
        3,
        "web.1",
    ]
    assert EVENTS.validate(event, None) == []
    event["involvedObject"]["namespace"] = "other"
    assert [cause.field for cause in EVENTS.validate(event, None)] == ["involvedObject.namespace"]


@pytest.mark.parametrize(
    ("metadata", "causes"),
    [
        ({"name": "a", "namespace": "b"}, []),
        ({"namespace": "b"}, [("metadata.name", "Required value: name or generateName is required")]),
        ({"name": "a-x", "generateName": "a-", "namespace": "b"}, []),
        ({"name": "a"}, [("metadata.namespace", "Required value")]),
        (
            {"name": "a", "namespace": "b", "finalizers": ["x"]},
            [
                (
                    "metadata.finalizers[0]",
                    'Invalid value: "x": name is neither a standard finalizer name nor is it fully qualified',
                )
            ],
        ),
    ],
)
def test_metadata(metadata: Object, causes: list[tuple[str, str]]) -> None:
    found = validate_metadata({"metadata": metadata}, dns_subdomain, namespaced=True)
    assert [(cause.field, cause.message) for cause in found] == causes


def test_labels_are_checked_key_and_value() -> None:
    metadata = {"name": "a", "namespace": "b", "labels": {"-bad": "x", "ok": "not ok"}}
    found = validate_metadata({"metadata": metadata}, dns_subdomain, namespaced=True)
    assert [cause.field for cause in found] == ["metadata.labels", "metadata.labels"]


def test_names_never_change() -> None:
    old, new = ({"metadata": {"name": name, "namespace": "b", "uid": "1"}} for name in "ab")
    (cause,) = validate_metadata(new, dns_subdomain, namespaced=True, old=old)
    assert (cause.field, cause.message) == ("metadata.name", 'Invalid value: "b": field is immutable')
