"""Server-side apply and managed fields: what is merged, who owns it, who is in the way; and laws."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.engine.apiserver import schema
from fairway.engine.apiserver.apply import Conflict, PatchError, fields, managed_fields, server_side
from fairway.engine.apiserver.apply.typed import compare, fields_set

SCHEMAS = schema.load()
DEPLOYMENT = SCHEMAS.kind("apps", "v1", "Deployment")
CONFIG_MAP = SCHEMAS.kind("", "v1", "ConfigMap")
SERVICE = SCHEMAS.kind("", "v1", "Service")
assert DEPLOYMENT and CONFIG_MAP and SERVICE
T0, T1, T2 = "2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z", "2024-01-03T00:00:00Z"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def _config_map(data: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"} | metadata}
    return body if data is None else body | {"data": data}


def _deployment(replicas: int | None, *containers: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": list(containers)}},
    }
    if replicas is not None:
        spec["replicas"] = replicas
    metadata = {"name": "web", "namespace": "default", "labels": {"app": "web"}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


WEB = {"name": "web", "image": "nginx:1", "ports": [{"containerPort": 80}]}


def _apply(
    live: Any, applied: Any, who: str = "me", force: bool = False, time: str = T1, **more: Any
) -> dict[str, Any]:
    kind = {"ConfigMap": CONFIG_MAP, "Deployment": DEPLOYMENT, "Service": SERVICE}[applied["kind"]]
    return server_side.apply(kind, live, applied, who, force, time, **more)


def _owners(obj: dict[str, Any]) -> dict[tuple[str, str], Any]:
    return {(entry["manager"], entry["operation"]): entry for entry in obj["metadata"].get("managedFields", ())}


def test_create_is_owned_by_its_creator_as_a_real_cluster_writes_it() -> None:
    created = managed_fields.updated(DEPLOYMENT, None, _deployment(3, WEB), "kubectl-create", T0)
    # The shape of `kubectl create deployment --port=80` on Kubernetes, without the defaults.
    assert created["metadata"]["managedFields"] == [
        {
            "manager": "kubectl-create",
            "operation": "Update",
            "apiVersion": "apps/v1",
            "time": T0,
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {
                    "f:replicas": {},
                    "f:selector": {},
                    "f:template": {
                        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                        "f:spec": {
                            "f:containers": {
                                'k:{"name":"web"}': {
                                    ".": {},
                                    "f:image": {},
                                    "f:name": {},
                                    "f:ports": {
                                        ".": {},
                                        'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}},
                                    },
                                }
                            }
                        },
                    },
                },
            },
        }
    ]


def test_apply_owns_leaves_and_elements_but_not_structs() -> None:
    applied = _apply(None, _deployment(None, WEB))
    entry = _owners(applied)["me", "Apply"]
    assert entry["fieldsV1"]["f:spec"]["f:template"] == {
        "f:metadata": {"f:labels": {"f:app": {}}},
        "f:spec": {
            "f:containers": {
                'k:{"name":"web"}': {
                    ".": {},
                    "f:image": {},
                    "f:name": {},
                    "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
                }
            }
        },
    }
    assert list(entry["fieldsV1"]) == ["f:metadata", "f:spec"]


def test_one_conflict_is_told_in_one_line() -> None:
    live = managed_fields.updated(DEPLOYMENT, None, _deployment(1, WEB), "kubectl-client-side-apply", T0)
    with pytest.raises(Conflict) as refused:
        _apply(live, _deployment(3, WEB))
    assert refused.value.message == (
        'Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas'
    )
    (cause,) = refused.value.causes
    assert cause.reason == "FieldManagerConflict"
    assert cause.message == 'conflict with "kubectl-client-side-apply" using apps/v1'
    assert cause.field == ".spec.replicas"


def test_several_conflicts_are_listed_by_manager() -> None:
    live = _apply(None, _config_map({"a": "1"}), "zoe")
    live = managed_fields.updated(CONFIG_MAP, live, _config_map({"a": "1", "b": "1", "c": "1"}), "ann", T1, "status")
    with pytest.raises(Conflict) as refused:
        _apply(live, _config_map({"a": "2", "b": "2", "c": "2"}))
    assert refused.value.message == (
        "Apply failed with 3 conflicts: "
        'conflicts with "ann" with subresource "status" using v1:\n- .data.b\n- .data.c\n'
        'conflicts with "zoe":\n- .data.a'
    )


def test_the_path_of_a_list_element_names_its_keys() -> None:
    live = _apply(None, _deployment(None, WEB), "other")
    with pytest.raises(Conflict, match=r'\.spec\.template\.spec\.containers\[name="web"\]\.image$'):
        _apply(live, _deployment(None, WEB | {"image": "nginx:2"}))


def test_force_takes_the_fields_over() -> None:
    live = _apply(None, _config_map({"a": "1", "b": "1"}), "other", time=T0)
    taken = _apply(live, _config_map({"a": "2"}), force=True)
    assert taken["data"] == {"a": "2", "b": "1"}
    owners = _owners(taken)
    assert owners["me", "Apply"]["fieldsV1"] == {"f:data": {"f:a": {}}}
    assert owners["other", "Apply"]["fieldsV1"] == {"f:data": {"f:b": {}}}
    assert owners["other", "Apply"]["time"] == T0


def test_the_same_value_is_shared_without_a_conflict() -> None:
    live = _apply(None, _config_map({"a": "1"}), "other")
    both = _apply(live, _config_map({"a": "1"}))
    assert set(_owners(both)) == {("me", "Apply"), ("other", "Apply")}
    without_me = _apply(both, _config_map({}))
    assert without_me["data"] == {"a": "1"}


def test_what_is_no_longer_applied_goes_and_what_others_own_stays() -> None:
    live = _apply(None, _config_map({"a": "1", "b": "1"}))
    live = managed_fields.updated(CONFIG_MAP, live, live | {"data": {"a": "1", "b": "1", "x": "9"}}, "other", T1)
    assert _apply(live, _config_map({"a": "1"}), time=T2)["data"] == {"a": "1", "x": "9"}


def test_a_removed_element_goes_with_the_defaults_below_it() -> None:
    side = {"name": "side", "image": "s"}
    live = _apply(None, _deployment(None, WEB, side))
    defaulted = copy.deepcopy(live)
    for container in defaulted["spec"]["template"]["spec"]["containers"]:
        container["imagePullPolicy"] = "Always"
    result = _apply(defaulted, _deployment(None, WEB))
    assert result["spec"]["template"]["spec"]["containers"] == [WEB | {"imagePullPolicy": "Always"}]


def test_a_map_that_is_applied_empty_stays_and_one_no_longer_applied_goes() -> None:
    live = _apply(None, _config_map({"a": "1"}, annotations={"x": "1"}))
    result = _apply(live, _config_map({}))
    assert result["data"] == {}
    assert "annotations" not in result["metadata"]


def test_what_two_share_goes_when_the_last_of_them_lets_it_go() -> None:
    both = _apply(_apply(None, _config_map({"a": "1", "b": "1"}), "ann"), _config_map({"a": "1"}), "zoe")
    without_ann = _apply(both, _config_map({"b": "1"}), "ann", time=T2)
    assert without_ann["data"] == {"a": "1", "b": "1"}
    assert _apply(without_ann, _config_map(), "zoe", time=T2)["data"] == {"b": "1"}


def test_an_atomic_map_belongs_to_one_and_is_replaced_as_a_whole() -> None:
    live = _apply(None, _deployment(1, WEB), "ann")
    changed = _deployment(1, WEB)
    changed["spec"]["selector"]["matchLabels"] = {"app": "other"}
    with pytest.raises(Conflict) as refused:
        _apply(live, changed, "zoe")
    assert [cause.field for cause in refused.value.causes] == [".spec.selector"]
    forced = _apply(live, changed, "zoe", force=True)
    assert forced["spec"]["selector"] == {"matchLabels": {"app": "other"}}
    assert "f:selector" not in _owners(forced)["ann", "Apply"]["fieldsV1"]["f:spec"]


def test_ports_of_one_number_differ_by_protocol() -> None:
    udp = {"containerPort": 80, "protocol": "UDP"}
    live = _apply(None, _deployment(1, WEB | {"ports": [{"containerPort": 80}]}), "ann")
    live = _apply(live, _deployment(1, WEB | {"ports": [udp]}), "zoe")
    ports = live["spec"]["template"]["spec"]["containers"][0]["ports"]
    assert sorted(port.get("protocol", "TCP") for port in ports) == ["TCP", "UDP"]
    live = _apply(live, _deployment(1, {"name": "web", "image": "nginx:1"}), "ann", time=T2)
    assert live["spec"]["template"]["spec"]["containers"][0]["ports"] == [udp]


def test_an_applied_null_takes_the_field_away() -> None:
    live = _apply(None, _deployment(3, WEB))
    applied = _deployment(None, WEB)
    applied["spec"]["replicas"] = None
    assert "replicas" not in _apply(live, applied)["spec"]


def test_elements_keep_the_applied_order_and_foreign_ones_their_place() -> None:
    live = _apply(None, _deployment(None, {"name": "a"}, {"name": "x"}, {"name": "b"}), "other")
    result = _apply(live, _deployment(None, {"name": "b"}, {"name": "c"}, {"name": "a"}))
    names = [container["name"] for container in result["spec"]["template"]["spec"]["containers"]]
    assert names == ["x", "b", "c", "a"]


def test_an_update_takes_fields_from_an_applier() -> None:
    live = _apply(None, _config_map({"a": "1", "b": "1"}))
    edited = managed_fields.updated(CONFIG_MAP, live, live | {"data": {"a": "2", "b": "1"}}, "editor", T2)
    owners = _owners(edited)
    assert owners["editor", "Update"]["fieldsV1"] == {"f:data": {"f:a": {}}}
    assert owners["editor", "Update"]["time"] == T2
    assert owners["me", "Apply"]["fieldsV1"] == {"f:data": {"f:b": {}}}


def test_an_update_that_changes_nothing_keeps_the_entries() -> None:
    live = managed_fields.updated(CONFIG_MAP, None, _config_map({"a": "1"}), "m", T0)
    assert managed_fields.updated(CONFIG_MAP, live, _config_map({"a": "1"}), "m", T2) == live


def test_server_set_metadata_belongs_to_nobody() -> None:
    created = _config_map({"a": "1"}, uid="u", resourceVersion="1", creationTimestamp=T0, generation=1)
    entry = _owners(managed_fields.updated(CONFIG_MAP, None, created, "m", T0))["m", "Update"]
    assert entry["fieldsV1"] == {"f:data": {".": {}, "f:a": {}}}


def test_status_is_owned_through_its_subresource_only() -> None:
    live = managed_fields.updated(DEPLOYMENT, None, _deployment(1, WEB) | {"status": {"replicas": 1}}, "m", T0)
    assert "f:status" not in _owners(live)["m", "Update"]["fieldsV1"]
    changed = live | {"status": {"replicas": 2}, "spec": live["spec"] | {"replicas": 9}}
    entry = _owners(managed_fields.updated(DEPLOYMENT, live, changed, "kube", T1, "status"))["kube", "Update"]
    assert entry["subresource"] == "status"
    assert entry["fieldsV1"] == {"f:status": {"f:replicas": {}}}


@pytest.mark.parametrize("reset", [[], [{}]])
def test_a_client_may_forget_all_owners_and_they_stay_forgotten(reset: list[Any]) -> None:
    live = managed_fields.updated(CONFIG_MAP, None, _config_map({"a": "1"}), "m", T0)
    forgotten = managed_fields.updated(CONFIG_MAP, live, _config_map({"a": "1"}, managedFields=reset), "m", T1)
    assert "managedFields" not in forgotten["metadata"]
    later = managed_fields.updated(CONFIG_MAP, forgotten, _config_map({"a": "2"}), "m", T2)
    assert "managedFields" not in later["metadata"]


def test_a_client_may_replace_the_owners_as_kubectl_does_when_it_migrates() -> None:
    live = managed_fields.updated(CONFIG_MAP, None, _config_map({"a": "1"}), "kubectl-client-side-apply", T0)
    entry = live["metadata"]["managedFields"][0] | {"manager": "kubectl", "operation": "Apply"}
    replaced = managed_fields.updated(CONFIG_MAP, live, _config_map({"a": "1"}, managedFields=[entry]), "kubectl", T1)
    assert set(_owners(replaced)) == {("kubectl", "Apply")}


def test_entries_that_cannot_be_read_count_as_not_brought() -> None:
    live = managed_fields.updated(CONFIG_MAP, None, _config_map({"a": "1"}), "m", T0)
    bad = [{"manager": "x", "operation": "Frob", "apiVersion": "v1", "fieldsV1": {"f:data": {}}}]
    kept = managed_fields.updated(CONFIG_MAP, live, _config_map({"a": "1"}, managedFields=bad), "m", T1)
    assert set(_owners(kept)) == {("m", "Update")}


def test_the_first_apply_names_who_was_there_before() -> None:
    live = _config_map({"a": "1"})
    result = _apply(live, _config_map({"b": "2"}))
    assert set(_owners(result)) == {("before-first-apply", "Update"), ("me", "Apply")}
    with pytest.raises(Conflict, match=r'conflict with "before-first-apply" using v1: \.data\.a'):
        _apply(live, _config_map({"a": "2"}))


def test_kubectl_takes_over_what_it_applied_on_the_client_side() -> None:
    last = json.dumps(_config_map({"a": "1"}))
    live = _config_map({"a": "1", "b": "1"}, annotations={LAST_APPLIED: last})
    live = managed_fields.updated(CONFIG_MAP, None, live, "kubectl-client-side-apply", T0)
    result = _apply(live, _config_map({"a": "2"}), "kubectl")
    assert result["data"] == {"a": "2", "b": "1"}
    annotation = json.loads(result["metadata"]["annotations"][LAST_APPLIED])
    assert annotation == _config_map({"a": "2"})
    with pytest.raises(Conflict, match=r"\.data\.b"):
        _apply(live, _config_map({"a": "2", "b": "2"}), "kubectl")
    with pytest.raises(Conflict):
        _apply(live, _config_map({"a": "2"}), "somebody")


def test_the_eleventh_updater_makes_the_oldest_ancient() -> None:
    live = managed_fields.updated(CONFIG_MAP, None, _config_map({}), "creator", T0)
    data: dict[str, str] = {}
    for index in range(12):
        data[f"k{index}"] = "1"
        time = f"2024-02-{index + 1:02}T00:00:00Z"
        live = managed_fields.updated(CONFIG_MAP, live, _config_map(dict(data)), f"m{index}", time)
    managers = [entry["manager"] for entry in live["metadata"]["managedFields"]]
    assert managers == ["ancient-changes", *(f"m{index}" for index in range(3, 12))]
    ancient = live["metadata"]["managedFields"][0]["fieldsV1"]["f:data"]
    assert {"f:k0", "f:k1", "f:k2"} <= ancient.keys()


def test_service_ports_are_known_by_port_and_protocol() -> None:
    def service(*ports: dict[str, Any]) -> dict[str, Any]:
        metadata = {"name": "s"}
        return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": list(ports)}}

    live = _apply(None, service({"port": 53, "name": "tcp"}), "other")
    result = _apply(live, service({"port": 53, "protocol": "UDP", "name": "udp"}))
    assert [port["name"] for port in result["spec"]["ports"]] == ["tcp", "udp"]


@pytest.mark.parametrize(
    ("applied", "message"),
    [
        pytest.param(
            _config_map({"a": "1"}) | {"bogus": 1},
            "failed to create typed patch object (default/c; v1, Kind=ConfigMap): .bogus: field not declared in schema",
            id="an unknown field",
        ),
        pytest.param(
            _config_map({"a": 5}),
            "failed to create typed patch object (default/c; v1, Kind=ConfigMap): "
            ".data.a: expected string, got &value.valueUnstructured{Value:5}",
            id="a number for a string",
        ),
        pytest.param(
            _deployment(None, {"image": "x"}),
            "failed to create typed patch object (default/web; apps/v1, Kind=Deployment): "
            ".spec.template.spec.containers: element 0: associative list with keys has an element that omits key field "
            '"name" (and doesn\'t have default value)',
            id="an element without its key",
        ),
        pytest.param(
            _deployment(None, {"name": "a"}, {"name": "a"}),
            "failed to create typed patch object (default/web; apps/v1, Kind=Deployment): "
            '.spec.template.spec.containers: duplicate entries for key [name="a"]',
            id="an element twice",
        ),
        pytest.param(_config_map({}, managedFields=[]), "metadata.managedFields must be nil", id="its own owners"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(applied: dict[str, Any], message: str) -> None:
    with pytest.raises(PatchError) as refused:
        _apply(None, applied)
    assert refused.value.message == message


def test_custom_resources_merge_maps_by_key_and_replace_lists() -> None:
    def app(**spec: Any) -> dict[str, Any]:
        return {"apiVersion": "fairway.dev/v1", "kind": "App", "metadata": {"name": "a"}, "spec": spec}

    live = server_side.apply(schema.DEDUCED, None, app(a={"x": 1}, hosts=["h"]), "one", False, T0)
    both = server_side.apply(schema.DEDUCED, live, app(a={"y": 2}), "two", False, T1)
    assert both["spec"] == {"a": {"x": 1, "y": 2}, "hosts": ["h"]}
    with pytest.raises(Conflict, match=r'conflict with "one": \.spec\.hosts'):
        server_side.apply(schema.DEDUCED, both, app(hosts=["g"]), "two", False, T1)


DATA = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["1", "2"]), max_size=4)
PORTS = st.lists(
    st.fixed_dictionaries(
        {"containerPort": st.sampled_from([80, 81])},
        optional={"protocol": st.sampled_from(["TCP", "UDP"]), "name": st.sampled_from(["x", "y"])},
    ),
    unique_by=lambda port: (port["containerPort"], port.get("protocol", "TCP")),
    max_size=3,
)
CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from("abc")},
        optional={
            "image": st.sampled_from(["i:1", "i:2"]),
            "ports": PORTS,
            "args": st.lists(st.sampled_from("xy"), max_size=2),
            "resources": st.just({}) | st.just({"limits": {"cpu": "1"}}),
        },
    ),
    unique_by=lambda container: container["name"],
    max_size=3,
)
DEPLOYMENTS = st.builds(
    lambda replicas, containers: _deployment(replicas, *containers), st.none() | st.integers(0, 2), CONTAINERS
)
STEPS = st.lists(st.tuples(st.sampled_from(["one", "two", "three"]), st.booleans(), DEPLOYMENTS), max_size=4)


def _after(steps: list[tuple[str, bool, dict[str, Any]]]) -> dict[str, Any] | None:
    """A live object with a history of forced applies and updates by several managers."""
    live: dict[str, Any] | None = None
    for who, applies, obj in steps:
        if applies:
            live = _apply(live, obj, who, True, T0)
        else:
            live = managed_fields.updated(DEPLOYMENT, live, schema.complete(DEPLOYMENT, obj), who, T0)
    return live


@settings(max_examples=150, deadline=None)
@given(STEPS, DEPLOYMENTS)
def test_applied_twice_nothing_changes(steps: Any, applied: dict[str, Any]) -> None:
    live = _after(steps)
    once = _apply(live, applied, force=True, time=T1)
    assert _apply(once, applied, time=T2) == once


@settings(max_examples=150, deadline=None)
@given(STEPS, DEPLOYMENTS)
def test_all_that_is_applied_is_there_and_the_arguments_are_left_alone(steps: Any, applied: dict[str, Any]) -> None:
    live = _after(steps)
    before = copy.deepcopy((live, applied))
    result = _apply(live, applied, force=True)
    assert (live, applied) == before
    change = compare(DEPLOYMENT, result, applied)
    assert not change.modified & fields_set(DEPLOYMENT, applied)
    assert not change.added


@settings(max_examples=150, deadline=None)
@given(STEPS, DEPLOYMENTS)
def test_without_force_an_apply_conflicts_or_does_what_force_does(steps: Any, applied: dict[str, Any]) -> None:
    live = _after(steps)
    try:
        gentle = _apply(live, applied)
    except Conflict as conflict:
        assert conflict.causes
    else:
        assert gentle == _apply(live, applied, force=True)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_every_owned_field_is_there(steps: Any) -> None:
    live = _after(steps)
    if live is None:
        return
    bare = managed_fields.without_entries(live)
    present = compare(DEPLOYMENT, {}, bare).added
    for entry in live["metadata"].get("managedFields", ()):
        owned = fields.decode(entry["fieldsV1"])
        assert owned <= present
        assert fields.encode(owned) == entry["fieldsV1"]


@settings(max_examples=150, deadline=None)
@given(DEPLOYMENTS, DEPLOYMENTS)
def test_a_comparison_reads_the_same_backwards(old: dict[str, Any], new: dict[str, Any]) -> None:
    there, back = compare(DEPLOYMENT, old, new), compare(DEPLOYMENT, new, old)
    assert (there.added, there.modified, there.removed) == (back.removed, back.modified, back.added)
    assert compare(DEPLOYMENT, old, old) == compare(DEPLOYMENT, new, new)


@settings(max_examples=100, deadline=None)
@given(DATA, DATA)
def test_managers_of_different_keys_commute(one: dict[str, str], two: dict[str, str]) -> None:
    first = {f"one-{key}": value for key, value in one.items()}
    second = {f"two-{key}": value for key, value in two.items()}
    left = _apply(_apply(None, _config_map(first), "one"), _config_map(second), "two")
    right = _apply(_apply(None, _config_map(second), "two"), _config_map(first), "one")
    assert left["data"] == right["data"]
    owned = [{who: entry["fieldsV1"] for who, entry in _owners(obj).items()} for obj in (left, right)]
    assert owned[0] == owned[1]
