"""Custom resources for the controllers that treat all kinds alike: garbage collection, namespaces, quotas."""

import asyncio
from pathlib import Path
from typing import Any

import controllers_world
import pytest
from controllers_world import Cluster

from fairway.engine.controllers.caches import Caches
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.resource import (
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    EVENTS,
    NAMESPACES,
    RESOURCE_QUOTAS,
    Resource,
)
from fairway.toolkit.clock import SystemClock

WIDGETS = Resource("example.com", "v1", "widgets", "Widget")
Raw = dict[str, Any]


def definition(*versions: str, served: bool = True) -> Raw:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    names = versions or ("v1",)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [
                {"name": name, "served": served, "storage": index == 0, "schema": schema}
                for index, name in enumerate(names)
            ],
        },
    }


def widget(name: str = "w", namespace: str = "default", **metadata: Any) -> Raw:
    return {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": name, "namespace": namespace, **metadata},
    }


def config_map(name: str, **metadata: Any) -> Raw:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default", **metadata}}


def owner(of: Raw, *, block: bool = False, version: str = "") -> Raw:
    return {
        "apiVersion": version or of["apiVersion"],
        "kind": of["kind"],
        "name": of["metadata"]["name"],
        "uid": of["metadata"]["uid"],
        "blockOwnerDeletion": block,
    }


async def gone(cluster: Cluster, resource: Resource, name: str, namespace: str = "default") -> None:
    await cluster.until(lambda: cluster.get(resource, name, namespace), lambda found: found is None, f"{name} gone")


@pytest.fixture
async def widgets(cluster: Cluster) -> Cluster:
    await cluster.client.create(CUSTOM_RESOURCE_DEFINITIONS, definition())
    return cluster


async def test_what_a_custom_resource_owns_goes_with_it(widgets: Cluster) -> None:
    made = await widgets.client.create(WIDGETS, widget())
    await widgets.client.create(CONFIG_MAPS, config_map("owned", ownerReferences=[owner(made)]))
    await widgets.client.delete(WIDGETS, "w", namespace="default")
    await gone(widgets, CONFIG_MAPS, "owned")


async def test_a_custom_resource_goes_with_its_owner(widgets: Cluster) -> None:
    made = await widgets.client.create(CONFIG_MAPS, config_map("owner"))
    await widgets.client.create(WIDGETS, widget(ownerReferences=[owner(made)]))
    await widgets.client.delete(CONFIG_MAPS, "owner", namespace="default")
    await gone(widgets, WIDGETS, "w")


async def test_an_owner_named_in_another_version_is_found(cluster: Cluster) -> None:
    await cluster.client.create(CUSTOM_RESOURCE_DEFINITIONS, definition("v1", "v1beta1"))
    made = await cluster.client.create(WIDGETS, widget())
    reference = owner(made, version="example.com/v1beta1")
    await cluster.client.create(CONFIG_MAPS, config_map("owned", ownerReferences=[reference]))
    await cluster.client.delete(WIDGETS, "w", namespace="default")
    await gone(cluster, CONFIG_MAPS, "owned")


async def test_foreground_deletion_waits_for_custom_dependents(widgets: Cluster) -> None:
    made = await widgets.client.create(CONFIG_MAPS, config_map("owner"))
    reference = owner(made, block=True)
    held = widget(ownerReferences=[reference], finalizers=["example.com/hold"])
    await widgets.client.create(WIDGETS, held)
    await widgets.client.delete(CONFIG_MAPS, "owner", namespace="default", propagation_policy="Foreground")
    await widgets.until(
        lambda: widgets.get(WIDGETS, "w"), lambda found: found["metadata"].get("deletionTimestamp"), "deleted"
    )
    found = await widgets.get(CONFIG_MAPS, "owner")
    assert found is not None
    assert found["metadata"]["finalizers"] == ["foregroundDeletion"]
    await widgets.client.patch(WIDGETS, "w", {"metadata": {"finalizers": None}}, namespace="default")
    await gone(widgets, CONFIG_MAPS, "owner")


async def test_a_deleted_definition_takes_what_its_objects_own(widgets: Cluster) -> None:
    made = await widgets.client.create(WIDGETS, widget())
    await widgets.client.create(CONFIG_MAPS, config_map("owned", ownerReferences=[owner(made)]))
    await widgets.client.delete(CUSTOM_RESOURCE_DEFINITIONS, "widgets.example.com")
    await gone(widgets, CUSTOM_RESOURCE_DEFINITIONS, "widgets.example.com")
    await gone(widgets, CONFIG_MAPS, "owned")
    await widgets.client.create(CUSTOM_RESOURCE_DEFINITIONS, definition())
    again = await widgets.client.create(WIDGETS, widget())
    await widgets.client.create(CONFIG_MAPS, config_map("again", ownerReferences=[owner(again)]))
    await widgets.client.delete(WIDGETS, "w", namespace="default")
    await gone(widgets, CONFIG_MAPS, "again")


async def test_what_an_unknown_kind_owns_is_kept_until_the_kind_is_known(cluster: Cluster) -> None:
    reference = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "never", "uid": "no-such-uid"}
    await cluster.client.create(CONFIG_MAPS, config_map("orphan", ownerReferences=[reference]))
    made = await cluster.client.create(CONFIG_MAPS, config_map("marker"))
    await cluster.client.create(CONFIG_MAPS, config_map("owned", ownerReferences=[owner(made)]))
    await cluster.client.delete(CONFIG_MAPS, "marker", namespace="default")
    await gone(cluster, CONFIG_MAPS, "owned")  # by now the collector has looked at the orphan too
    assert await cluster.get(CONFIG_MAPS, "orphan") is not None
    await cluster.client.create(CUSTOM_RESOURCE_DEFINITIONS, definition())
    await gone(cluster, CONFIG_MAPS, "orphan")


async def test_a_kind_that_is_not_served_for_a_while_loses_nothing(widgets: Cluster) -> None:
    made = await widgets.client.create(WIDGETS, widget())
    await widgets.client.create(CONFIG_MAPS, config_map("kept", ownerReferences=[owner(made)]))
    for served in (False, True):
        patch = {"spec": definition(served=served)["spec"]}
        await widgets.client.patch(CUSTOM_RESOURCE_DEFINITIONS, "widgets.example.com", patch)
    assert await widgets.get(WIDGETS, "w") is not None
    await widgets.client.delete(WIDGETS, "w", namespace="default", propagation_policy="Orphan")
    await gone(widgets, WIDGETS, "w")
    kept = await widgets.get(CONFIG_MAPS, "kept")
    assert kept is not None
    assert "ownerReferences" not in kept["metadata"]


async def test_a_namespace_is_emptied_of_custom_resources(widgets: Cluster) -> None:
    await widgets.client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    await widgets.client.create(WIDGETS, widget(namespace="shop", finalizers=["example.com/hold"]))
    await widgets.client.create(EVENTS, event("shop"))
    await widgets.client.delete(NAMESPACES, "shop")
    found = await widgets.until(
        lambda: widgets.get(NAMESPACES, "shop"), lambda found: messages(found, "NamespaceFinalizersRemaining"), "told"
    )
    remaining = "Some resources are remaining: widgets.example.com has 1 resource instances"
    assert messages(found, "NamespaceContentRemaining") in (remaining, told_with_others(found))
    held = "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
    assert messages(found, "NamespaceFinalizersRemaining") == held
    await widgets.client.patch(WIDGETS, "w", {"metadata": {"finalizers": None}}, namespace="shop")
    await gone(widgets, NAMESPACES, "shop")
    assert await widgets.get(WIDGETS, "w", "shop") is None


def event(namespace: str) -> Raw:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e", "namespace": namespace},
        "involvedObject": {"kind": "Pod", "namespace": namespace, "name": "p"},
        "reason": "Tested",
    }


def messages(found: Raw, type: str) -> str:
    conditions = (found.get("status") or {}).get("conditions") or ()
    return next((each["message"] for each in conditions if each["type"] == type and each["status"] == "True"), "")


def told_with_others(found: Raw) -> str:
    """The first look sees what has not been deleted yet, too: each object once, though two groups serve Events."""
    told = messages(found, "NamespaceContentRemaining")
    assert "widgets.example.com has 1 resource instances" in told
    assert told.count("events.") <= 1
    return told


async def test_a_quota_counts_custom_resources(widgets: Cluster) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "q", "namespace": "default"},
        "spec": {"hard": {"count/widgets.example.com": "5"}},
    }

    async def used() -> str | None:
        found = await widgets.get(RESOURCE_QUOTAS, "q")
        return None if found is None else (found.get("status") or {}).get("used", {}).get("count/widgets.example.com")

    await widgets.client.create(RESOURCE_QUOTAS, quota)
    await widgets.until(used, lambda count: count == "0", "none used")
    await widgets.client.create(WIDGETS, widget())
    await widgets.until(used, lambda count: count == "1", "one used")
    await widgets.client.delete(CUSTOM_RESOURCE_DEFINITIONS, "widgets.example.com")
    await widgets.until(used, lambda count: count == "0", "none used again")
    await widgets.client.create(CUSTOM_RESOURCE_DEFINITIONS, definition())
    await widgets.client.create(WIDGETS, widget("again"))
    await widgets.until(used, lambda count: count == "1", "one used again")


async def test_borrowed_caches_are_given_back(tmp_path: Path) -> None:
    async with controllers_world.cluster(tmp_path, with_controllers=False) as cluster:
        caches = Caches(cluster.client, SystemClock())
        heard: list[str] = []
        with caches.borrow() as lent:
            lent.namespaces.cache.subscribe(lambda key, old, new: heard.append(key.name))
            caches.namespaces.cache.apply({"metadata": {"name": "one"}})
            assert lent.namespaces.cache.get(ObjectKey("", "one")) is not None
        caches.namespaces.cache.apply({"metadata": {"name": "two"}})
        assert heard == ["one"]
        await asyncio.sleep(0)
