"""Kinds that nothing here acts on: their defaults, their rules with all causes, what never changes, their columns."""

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from fairway.engine.apiserver.resources import KINDS, Kind

Object = dict[str, Any]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
BY_NAME = {kind.kind: kind for kind in KINDS}

RULE = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
WEBHOOK = {
    "name": "a.b.c",
    "clientConfig": {"url": "https://a/b"},
    "admissionReviewVersions": ["v1"],
    "sideEffects": "None",
    "rules": [RULE],
}
QUEUING = {"type": "Queue", "queuing": {}}
SUBJECT = {"kind": "Group", "group": {"name": "g"}}
FLOW_RULE = {"subjects": [SUBJECT], "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}
DRIVER = {"name": "d.example.com", "nodeID": "n"}
SOUND: dict[str, Object] = {
    "ValidatingWebhookConfiguration": {"webhooks": [WEBHOOK]},
    "MutatingWebhookConfiguration": {"webhooks": [WEBHOOK]},
    "ValidatingAdmissionPolicy": {
        "spec": {"matchConstraints": {"resourceRules": [RULE]}, "validations": [{"expression": "true"}]}
    },
    "ValidatingAdmissionPolicyBinding": {"spec": {"policyName": "p", "validationActions": ["Deny"]}},
    "IPAddress": {"spec": {"parentRef": {"resource": "services", "namespace": "n", "name": "s"}}},
    "ServiceCIDR": {"spec": {"cidrs": ["10.0.0.0/24", "fd00::/112"]}},
    "RuntimeClass": {"handler": "runc"},
    "CSIDriver": {"spec": {}},
    "CSINode": {"spec": {"drivers": [DRIVER]}},
    "CSIStorageCapacity": {"storageClassName": "fast", "capacity": "1Gi"},
    "VolumeAttachment": {"spec": {"attacher": "d", "nodeName": "n", "source": {"persistentVolumeName": "v"}}},
    "VolumeAttributesClass": {"driverName": "d", "parameters": {"a": "b"}},
    "FlowSchema": {"spec": {"priorityLevelConfiguration": {"name": "p"}, "rules": [FLOW_RULE]}},
    "PriorityLevelConfiguration": {"spec": {"type": "Limited", "limited": {"limitResponse": QUEUING}}},
}
NAMES = {"IPAddress": "10.0.0.5"}


def made(kind: Kind, fields: Object) -> Object:
    obj = {"metadata": {"name": NAMES.get(kind.kind, "x")}, **copy.deepcopy(fields)}
    kind.default(obj)
    return obj


def changed(fields: Object, path: str, value: Any) -> Object:
    """`fields` with the value at a path such as `webhooks.0.name`."""
    result = copy.deepcopy(fields)
    *parents, last = path.split(".")
    holder: Any = result
    for part in parents:
        holder = holder[int(part)] if isinstance(holder, list) else holder.setdefault(part, {})
    holder[last] = value
    return result


@pytest.mark.parametrize("kind", SOUND)
def test_sound_ones_pass_and_stay(kind: str) -> None:
    obj = made(BY_NAME[kind], SOUND[kind])
    assert BY_NAME[kind].validate(obj, None) == []
    assert BY_NAME[kind].validate(copy.deepcopy(obj), obj) == []
    assert len(BY_NAME[kind].row(obj, NOW)) == len(BY_NAME[kind].columns)


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("ValidatingWebhookConfiguration", "webhooks.0.failurePolicy", "Fail"),
        ("ValidatingWebhookConfiguration", "webhooks.0.matchPolicy", "Equivalent"),
        ("ValidatingWebhookConfiguration", "webhooks.0.timeoutSeconds", 10),
        ("ValidatingWebhookConfiguration", "webhooks.0.objectSelector", {}),
        ("ValidatingWebhookConfiguration", "webhooks.0.rules.0.scope", "*"),
        ("MutatingWebhookConfiguration", "webhooks.0.reinvocationPolicy", "Never"),
        ("ValidatingAdmissionPolicy", "spec.failurePolicy", "Fail"),
        ("ValidatingAdmissionPolicy", "spec.matchConstraints.resourceRules.0.scope", "*"),
        ("CSIDriver", "spec.attachRequired", True),
        ("CSIDriver", "spec.podInfoOnMount", False),
        ("CSIDriver", "spec.fsGroupPolicy", "ReadWriteOnceWithFSType"),
        ("CSIDriver", "spec.volumeLifecycleModes", ["Persistent"]),
        ("FlowSchema", "spec.matchingPrecedence", 1000),
        ("PriorityLevelConfiguration", "spec.limited.nominalConcurrencyShares", 30),
        ("PriorityLevelConfiguration", "spec.limited.limitResponse.queuing.handSize", 8),
    ],
)
def test_defaults(kind: str, path: str, value: Any) -> None:
    found: Any = made(BY_NAME[kind], SOUND[kind])
    for part in path.split("."):
        found = found[int(part)] if isinstance(found, list) else found[part]
    assert found == value


HOOK = "ValidatingWebhookConfiguration"
LEVEL = "PriorityLevelConfiguration"


@pytest.mark.parametrize(
    ("kind", "path", "value", "causes"),
    [
        (HOOK, "webhooks", [WEBHOOK, WEBHOOK], ['webhooks[1].name: Duplicate value: "a.b.c"']),
        (HOOK, "webhooks.0.name", "a.b", ["should be a domain with at least three segments separated by dots"]),
        (HOOK, "webhooks.0.timeoutSeconds", 31, ["the timeout value must be between 1 and 30 seconds"]),
        (HOOK, "webhooks.0.sideEffects", None, ["webhooks[0].sideEffects: Required value"]),
        (HOOK, "webhooks.0.sideEffects", "Some", ['supported values: "None", "NoneOnDryRun"']),
        (HOOK, "webhooks.0.failurePolicy", "Maybe", ['supported values: "Fail", "Ignore"']),
        (HOOK, "webhooks.0.clientConfig", {}, ["exactly one of url or service is required"]),
        (HOOK, "webhooks.0.clientConfig.url", "http://u:p@a?b#c", ["'https' is", "user", "fragments", "query"]),
        (HOOK, "webhooks.0.clientConfig", {"service": {"path": "x"}}, ["service name", "service namespace", "'/'"]),
        (HOOK, "webhooks.0.admissionReviewVersions", [], ["must specify one of v1, v1beta1"]),
        (HOOK, "webhooks.0.admissionReviewVersions", ["v9"], ["must include at least one of v1, v1beta1"]),
        (HOOK, "webhooks.0.rules.0.operations", ["*", "CREATE"], ["must not specify other operations"]),
        (HOOK, "webhooks.0.rules.0.apiGroups", [], ["webhooks[0].rules[0].apiGroups: Required value"]),
        (HOOK, "webhooks.0.rules.0.scope", "All", ['supported values: "*", "Cluster", "Namespaced"']),
        (HOOK, "webhooks.0.objectSelector", {"matchLabels": {"a b": "c"}}, ["webhooks[0].objectSelector"]),
        ("ValidatingAdmissionPolicy", "spec.matchConstraints", None, ["spec.matchConstraints: Required value"]),
        ("ValidatingAdmissionPolicy", "spec.validations", [], ["spec.validations", "spec.auditAnnotations"]),
        ("ValidatingAdmissionPolicyBinding", "spec.validationActions", ["Deny", "Warn"], ["both Deny and Warn"]),
        ("ValidatingAdmissionPolicyBinding", "spec.policyName", "", ["spec.policyName: Required value"]),
        ("ValidatingAdmissionPolicyBinding", "spec.paramRef", {}, ["one of name or selector", "NotFoundAction"]),
        ("IPAddress", "spec.parentRef", {}, ["spec.parentRef.resource", "spec.parentRef.name"]),
        ("ServiceCIDR", "spec.cidrs", [], ["at least one CIDR required"]),
        ("ServiceCIDR", "spec.cidrs", ["10.0.0.1/24", "x"], ["canonical form", "must be a valid CIDR value"]),
        ("ServiceCIDR", "spec.cidrs", ["10.0.0.0/24", "10.0.1.0/24"], ["no more than one IP for each IP family"]),
        ("RuntimeClass", "handler", "A B", ["handler: Invalid value"]),
        ("CSIDriver", "spec.fsGroupPolicy", "All", ['"ReadWriteOnceWithFSType", "File", "None"']),
        ("CSIDriver", "spec.tokenRequests", [{"audience": "a", "expirationSeconds": 5}, {"audience": "a"}], [
            "less than 10 minutes", "spec.tokenRequests[1].audience: Duplicate value"]),
        ("CSINode", "spec.drivers", [DRIVER, DRIVER], ["spec.drivers[1].name: Duplicate value"]),
        ("CSINode", "spec.drivers", [{"name": "", "allocatable": {"count": -1}}], ["name", "nodeID", "count"]),
        ("CSIStorageCapacity", "capacity", "-1", ["capacity: Invalid value"]),
        ("VolumeAttachment", "spec.source", {}, ["spec.source: Required value"]),
        ("VolumeAttachment", "spec.source.inlineVolumeSpec", {}, ["exactly one of inlineVolumeSpec"]),
        ("VolumeAttributesClass", "parameters", {}, ["must contain at least one key/value pair"]),
        ("FlowSchema", "spec.matchingPrecedence", 10001, ["must be a value between 1 and 10000 inclusive"]),
        ("FlowSchema", "spec.rules.0.subjects", [{"kind": "User"}], ["user is required when subject kind is 'User'"]),
        ("FlowSchema", "spec.rules.0.nonResourceRules", [], ["at least one of resourceRules and nonResourceRules"]),
        (LEVEL, "spec.type", "Exempt", ["spec.limited: Forbidden"]),
        (LEVEL, "spec.limited.limitResponse.type", "Reject", ["spec.limited.limitResponse.queuing: Forbidden"]),
        (LEVEL, "spec.limited.limitResponse.queuing.handSize", 65, ["should not be greater than queues (64)"]),
    ],
)  # fmt: skip
def test_what_is_refused(kind: str, path: str, value: Any, causes: list[str]) -> None:
    obj = made(BY_NAME[kind], changed(SOUND[kind], path, value))
    found = [f"{cause.field}: {cause.message}" for cause in BY_NAME[kind].validate(obj, None)]
    assert len(found) == len(causes), found
    for cause in causes:
        assert any(cause in text for text in found), (cause, found)


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("IPAddress", "spec.parentRef.name", "other"),
        ("ServiceCIDR", "spec.cidrs", ["10.1.0.0/24"]),
        ("RuntimeClass", "handler", "other"),
        ("CSIDriver", "spec.attachRequired", False),
        ("CSINode", "spec.drivers.0.nodeID", "other"),
        ("CSIStorageCapacity", "storageClassName", "slow"),
        ("VolumeAttachment", "spec.nodeName", "other"),
        ("VolumeAttributesClass", "parameters", {"a": "c"}),
    ],
)
def test_what_never_changes(kind: str, path: str, value: Any) -> None:
    old = made(BY_NAME[kind], SOUND[kind])
    new = made(BY_NAME[kind], changed(SOUND[kind], path, value))
    assert ["field is immutable" in cause.message for cause in BY_NAME[kind].validate(new, old)] == [True]


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        ("CSIDriver", {"AttachRequired": True, "TokenRequests": "<unset>", "Modes": "Persistent"}),
        ("FlowSchema", {"PriorityLevel": "p", "DistinguisherMethod": "<none>", "MissingPL": "?"}),
        (LEVEL, {"Type": "Limited", "NominalConcurrencyShares": 30, "Queues": 64, "QueueLengthLimit": 50}),
        ("IPAddress", {"ParentRef": "services/n/s"}),
        ("ValidatingAdmissionPolicy", {"Validations": 1, "ParamKind": "<unset>"}),
        ("ValidatingAdmissionPolicyBinding", {"PolicyName": "p", "ParamRef": "<unset>"}),
    ],
)
def test_columns(kind: str, cells: Object) -> None:
    obj = made(BY_NAME[kind], SOUND[kind])
    names = [column.name for column in BY_NAME[kind].columns]
    shown = dict(zip(names, BY_NAME[kind].row(obj, NOW), strict=True))
    assert {name: shown[name] for name in cells} == cells


def test_an_address_is_named_by_itself() -> None:
    rule = BY_NAME["IPAddress"].name_rule
    assert rule("10.0.0.5") == rule("fd00::1") == []
    assert rule("fd00:0::1") != []
    assert rule("x") == ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]


async def test_a_missing_field_is_told_once(api: Any) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    answer = await api.create(path, {"metadata": {"name": "a"}, "spec": {}}, 422)
    fields = [cause["field"] for cause in answer["details"]["causes"]]
    assert len(fields) == len(set(fields))
    assert "spec.selector" in fields
