"""CustomResourceDefinitions end to end: what a definition makes of the API at once."""

import asyncio
from typing import Any

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
TABS = "/apis/stable.example.com/v1/namespaces/default/crontabs"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["cronSpec"],
            "properties": {
                "cronSpec": {"type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"},
                "image": {"type": "string", "default": "busybox"},
                "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
                "port": {"x-kubernetes-int-or-string": True},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "hosts": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {"name": {"type": "string"}, "value": {"type": "string"}},
                    },
                },
            },
            "x-kubernetes-validations": [
                {
                    "rule": "self.replicas <= 5 || self.image == 'big'",
                    "message": "more than 5 replicas need a big image",
                },
                {"rule": "!has(oldSelf.port) || self.port == oldSelf.port", "message": "port is immutable"},
            ],
        },
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}}},
    },
}


def definition(**changes: Any) -> dict[str, Any]:
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": SCHEMA},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": [
            {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"},
            {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com",
            "scope": "Namespaced",
            "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "shortNames": ["ct"]},
            "versions": [version],
            **changes,
        },
    }


def tab(name: str = "one", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "stable.example.com/v1",
        "kind": "CronTab",
        "metadata": {"name": name},
        "spec": {"cronSpec": "* * * * */5", **spec},
    }


async def established(api: Any, name: str = "crontabs.stable.example.com") -> Any:
    watching = await api.watch(f"{CRDS}?watch=1&fieldSelector=metadata.name={name}")
    while True:
        obj = (await watching.next())["object"]
        for condition in obj["status"]["conditions"] or ():
            if condition["type"] == "Established":
                return obj


async def test_a_definition_is_served_at_once(api: Any) -> None:
    made = await api.create(CRDS, definition())
    assert made["spec"]["names"]["listKind"] == "CronTabList"
    assert made["spec"]["conversion"] == {"strategy": "None"}
    assert (await api.get(TABS))["items"] == []
    listed = await api.get("/apis/stable.example.com/v1")
    assert [item["name"] for item in listed["resources"]] == ["crontabs", "crontabs/scale", "crontabs/status"]
    assert listed["resources"][0]["shortNames"] == ["ct"]
    document = await api.get("/openapi/v3/apis/stable.example.com/v1")
    assert "com.example.stable.v1.CronTab" in document["components"]["schemas"]
    shown = await established(api)
    assert {item["type"]: item["status"] for item in shown["status"]["conditions"]} == {
        "NamesAccepted": "True",
        "Established": "True",
    }
    assert shown["status"]["acceptedNames"]["plural"] == "crontabs"
    assert shown["status"]["storedVersions"] == ["v1"]


async def test_objects_are_pruned_defaulted_and_counted(api: Any) -> None:
    await api.create(CRDS, definition())
    answer = await api.call("POST", TABS, tab(bogus=1, free={"any": {"thing": [1]}}, port="http"))
    assert answer.status == 201, answer.body
    assert answer.headers["warning"] == '299 - "unknown field \\"spec.bogus\\""'
    made = answer.json
    assert made["spec"] == {
        "cronSpec": "* * * * */5",
        "image": "busybox",
        "replicas": 1,
        "port": "http",
        "free": {"any": {"thing": [1]}},
    }
    assert made["metadata"]["generation"] == 1
    changed = await api.patch(f"{TABS}/one", {"spec": {"replicas": 2}, "status": {"replicas": 7}})
    assert changed["metadata"]["generation"] == 2
    assert "status" not in changed
    status = await api.patch(
        f"{TABS}/one/status", {"spec": {"replicas": 9}, "status": {"replicas": 2, "selector": "a=b"}}
    )
    assert (status["status"]["replicas"], status["spec"]["replicas"], status["metadata"]["generation"]) == (2, 2, 2)
    scale = await api.get(f"{TABS}/one/scale")
    assert (scale["spec"], scale["status"]) == ({"replicas": 2}, {"replicas": 2, "selector": "a=b"})
    await api.patch(f"{TABS}/one/scale", {"spec": {"replicas": 4}})
    table = await api.get(TABS, Accept=TABLE)
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Spec", "Replicas", "Age"]
    assert table["rows"][0]["cells"][:3] == ["one", "* * * * */5", 4]
    refused = await api.call("POST", f"{TABS}?fieldValidation=Strict", tab("two", bogus=1))
    assert refused.message == (
        'CronTab in version "v1" cannot be handled as a CronTab: strict decoding error: unknown field "spec.bogus"'
    )


async def test_every_cause_of_refusal(api: Any) -> None:
    await api.create(CRDS, definition())
    body = tab("bad", cronSpec="x", replicas=11, hosts=[{"name": "a"}, {"name": "a"}, {}])
    answer = await api.call("POST", TABS, body)
    assert answer.status == 422
    causes = {cause["field"]: cause["message"] for cause in answer.json["details"]["causes"]}
    assert causes["spec.replicas"] == "Invalid value: 11: spec.replicas in body should be less than or equal to 10"
    assert causes["spec.cronSpec"].startswith('Invalid value: "x": spec.cronSpec in body should match')
    assert causes["spec.hosts[2].name"] == "Required value"
    assert causes["spec.hosts[1]"] == 'Duplicate value: {"name":"a"}'
    assert causes["<nil>"].startswith('Invalid value: "null": some validation rules were not checked')
    wrong = await api.call("POST", TABS, tab("bad", replicas="many"))
    assert 'spec.replicas in body must be of type integer: "string"' in wrong.message


async def test_rules_see_new_and_old(api: Any) -> None:
    await api.create(CRDS, definition())
    answer = await api.call("POST", TABS, tab(replicas=6))
    assert answer.message == (
        'CronTab.stable.example.com "one" is invalid: spec: Invalid value: "object": '
        "more than 5 replicas need a big image"
    )
    await api.create(TABS, tab(replicas=6, image="big", port=1))
    refused = await api.call("PATCH", f"{TABS}/one", {"spec": {"port": 2}}, "application/merge-patch+json")
    assert (refused.status, "port is immutable" in refused.message) == (422, True)


async def test_a_stricter_schema_spares_what_does_not_change(api: Any) -> None:
    await api.create(CRDS, definition())
    await api.create(TABS, tab(image="old"))
    stricter = definition()
    schema = {**SCHEMA, "properties": {**SCHEMA["properties"], "spec": {**SCHEMA["properties"]["spec"]}}}
    fields = {**SCHEMA["properties"]["spec"]["properties"]}
    fields["image"] = {"type": "string", "enum": ["new"]}
    fields["added"] = {"type": "string", "default": "later"}
    schema["properties"]["spec"]["properties"] = fields
    stricter["spec"]["versions"][0]["schema"] = {"openAPIV3Schema": schema}
    await api.put(f"{CRDS}/crontabs.stable.example.com", stricter)
    assert (await api.get(f"{TABS}/one"))["spec"]["added"] == "later"
    await api.patch(f"{TABS}/one", {"spec": {"replicas": 3}})
    refused = await api.call("PATCH", f"{TABS}/one", {"spec": {"image": "other"}}, "application/merge-patch+json")
    assert 'spec.image: Unsupported value: "other": supported values: "new"' in refused.message


async def test_apply_merges_by_the_schema(api: Any) -> None:
    await api.create(CRDS, definition())
    one = tab(hosts=[{"name": "a", "value": "1"}])
    two = {**tab(), "spec": {"hosts": [{"name": "b", "value": "2"}]}}
    how = "apply-patch+yaml"
    await api.patch(f"{TABS}/one?fieldManager=one", one, how, status=201)
    merged = await api.patch(f"{TABS}/one?fieldManager=two", two, how)
    assert merged["spec"]["hosts"] == [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]
    refused = await api.call("PATCH", f"{TABS}/one", {}, "application/strategic-merge-patch+json")
    assert refused.status == 415


async def test_versions_differ_in_their_name_only(api: Any) -> None:
    body = definition()
    old = {**body["spec"]["versions"][0], "name": "v1beta1", "storage": False, "deprecated": True}
    body["spec"]["versions"].append(old)
    await api.create(CRDS, body)
    await api.create(TABS, tab())
    beta = TABS.replace("/v1/", "/v1beta1/")
    watching = await api.watch(f"{beta}?watch=1")
    assert (await api.get(f"{beta}/one"))["apiVersion"] == "stable.example.com/v1beta1"
    assert (await watching.next())["object"]["apiVersion"] == "stable.example.com/v1beta1"
    answer = await api.call("PATCH", f"{beta}/one", {"spec": {"replicas": 2}}, "application/merge-patch+json")
    assert answer.json["apiVersion"] == "stable.example.com/v1beta1"
    assert "stable.example.com/v1beta1 CronTab is deprecated" in answer.headers["warning"]
    listed = await api.get(TABS)
    assert [(item["apiVersion"], item["spec"]["replicas"]) for item in listed["items"]] == [
        ("stable.example.com/v1", 2)
    ]
    groups = {group["name"]: group for group in (await api.get("/apis"))["groups"]}
    assert groups["stable.example.com"]["preferredVersion"]["version"] == "v1"


async def test_deleting_a_definition_deletes_its_objects(api: Any) -> None:
    await api.create(CRDS, definition())
    await api.create(TABS, tab())
    held = await api.create(TABS, {**tab("held"), "metadata": {"name": "held", "finalizers": ["example.com/wait"]}})
    watching = await api.watch(f"{TABS}?watch=1&resourceVersion={held['metadata']['resourceVersion']}")
    await api.delete(f"{CRDS}/crontabs.stable.example.com")
    assert sorted(await watching.names(2)) == [("DELETED", "one"), ("MODIFIED", "held")]
    assert (await api.call("POST", TABS, tab("late"))).status == 405
    crds = await api.watch(f"{CRDS}?watch=1")
    await api.patch(f"{TABS}/held", {"metadata": {"finalizers": None}})
    async with asyncio.timeout(60):
        while (await crds.next())["type"] != "DELETED":
            pass
    assert (await api.call("GET", TABS)).status == 404


async def test_names_that_are_taken(api: Any) -> None:
    await api.create(CRDS, definition())
    other = definition(names={"plural": "tabs", "singular": "tab", "kind": "CronTab", "listKind": "TabList"})
    other["metadata"]["name"] = "tabs.stable.example.com"
    await api.create(CRDS, other)
    shown = await established(api, "tabs.stable.example.com")
    assert {item["type"]: item["reason"] for item in shown["status"]["conditions"]} == {
        "NamesAccepted": "NameConflict",
        "Established": "NotAccepted",
    }
    assert (await api.call("GET", "/apis/stable.example.com/v1/tabs")).status == 404


async def test_definitions_that_are_not_sound(api: Any) -> None:
    body = definition()
    body["metadata"]["name"] = "wrong"
    body["spec"]["versions"][0]["schema"] = {
        "openAPIV3Schema": {
            "type": "object",
            "properties": {"a": {}, "b": {"type": "array"}, "c": {"type": "string", "uniqueItems": True}},
        }
    }
    answer = await api.call("POST", CRDS, body)
    causes = {cause["field"]: cause["message"] for cause in answer.json["details"]["causes"]}
    at = "spec.versions[0].schema.openAPIV3Schema.properties"
    assert causes["metadata.name"] == 'Invalid value: "wrong": must be spec.names.plural+"."+spec.group'
    assert causes[f"{at}[a].type"] == "Required value: must not be empty for specified object fields"
    assert causes[f"{at}[b].items"] == "Required value: must be specified"
    assert causes[f"{at}[c].uniqueItems"].startswith("Forbidden: uniqueItems cannot be set to true")
