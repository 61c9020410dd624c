"""Addresses and node ports of Services: given with the create, taken back with the delete."""

import asyncio
import random
from ipaddress import IPv4Network, ip_address, ip_network
from typing import Any

import pytest

from fairway.engine.apiserver.registry import ServiceAllocator
from fairway.engine.apiserver.store import MemoryStore

SERVICES = "/api/v1/namespaces/default/services"


def service(name: str = "web", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


async def test_every_service_gets_an_address_of_its_own(api: Any) -> None:
    made = await asyncio.gather(*(api.create(SERVICES, service(f"web{number}")) for number in range(50)))
    addresses = {item["spec"]["clusterIP"] for item in made}
    assert len(addresses) == 50
    assert all(ip_address(address) in ip_network("10.96.0.0/16") for address in addresses)
    assert made[0]["spec"]["clusterIPs"] == [made[0]["spec"]["clusterIP"]]


async def test_the_api_has_the_first_address(api: Any) -> None:
    made = await api.get(f"{SERVICES}/kubernetes")
    assert (made["spec"]["clusterIP"], made["spec"]["ports"][0]["port"]) == ("10.96.0.1", 443)
    found = await api.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")
    assert found["endpoints"][0]["addresses"] == ["10.42.0.1"]


@pytest.mark.parametrize("spec", [{"clusterIP": "None"}, {"type": "ExternalName", "externalName": "a.example"}])
async def test_some_need_no_address(api: Any, spec: Any) -> None:
    made = await api.create(SERVICES, service(**spec))
    assert made["spec"].get("clusterIP") in (None, "None")


async def test_a_certain_address_is_given_once(api: Any) -> None:
    await api.create(SERVICES, service("dns", clusterIP="10.96.0.10"))
    status = await api.create(SERVICES, service("other", clusterIP="10.96.0.10"), 422)
    assert status["message"] == (
        'Service "other" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.10"]: '
        "failed to allocate IP 10.96.0.10: provided IP is already allocated"
    )
    status = await api.create(SERVICES, service("other", clusterIP="10.1.1.1"), 422)
    assert "is not in the valid range. The range of valid IPs is 10.96.0.0/16" in status["message"]
    await api.delete(f"{SERVICES}/dns")
    await api.create(SERVICES, service("other", clusterIP="10.96.0.10"))


async def test_node_ports(api: Any) -> None:
    made = await api.create(SERVICES, service(type="NodePort"))
    port = made["spec"]["ports"][0]["nodePort"]
    assert 30000 <= port <= 32767
    again = service("other", type="NodePort", ports=[{"port": 80, "nodePort": port}])
    status = await api.create(SERVICES, again, 422)
    assert status["message"] == (
        f'Service "other" is invalid: spec.ports[0].nodePort: Invalid value: {port}: provided port is already allocated'
    )
    again["spec"]["ports"][0]["nodePort"] = 80
    status = await api.create(SERVICES, again, 422)
    assert "provided port is not in the valid range. The range of valid ports is 30000-32767" in status["message"]
    changed = await api.patch(f"{SERVICES}/web", {"spec": {"type": "ClusterIP"}})
    assert "nodePort" not in changed["spec"]["ports"][0]
    again["spec"]["ports"][0]["nodePort"] = port
    await api.create(SERVICES, again)


async def test_what_a_failed_or_imagined_create_took_is_given_back(api: Any) -> None:
    taken = service("web", clusterIP="10.96.0.77")
    await api.create(f"{SERVICES}?dryRun=All", taken)
    await api.create(SERVICES, {**taken, "spec": {**taken["spec"], "ports": [{"port": 99999}]}}, 422)
    await api.create(SERVICES, {**taken, "metadata": {"name": "kubernetes"}}, 409)
    await api.create(SERVICES, taken)


async def test_an_update_keeps_the_address(api: Any) -> None:
    made = await api.create(SERVICES, service())
    changed = await api.put(f"{SERVICES}/web", service(selector={"a": "b"}))
    assert changed["spec"]["clusterIP"] == made["spec"]["clusterIP"]


async def test_a_full_range_says_so() -> None:
    store = MemoryStore()
    store.open()
    allocator = ServiceAllocator(store, IPv4Network("10.0.0.0/29"), random.Random(1))
    for number in range(6):
        _, causes = allocator.allocate(service(f"a{number}"), None)
        assert not causes
    _, causes = allocator.allocate(service("b"), None)
    assert [cause.message for cause in causes] == ["Internal error: failed to allocate IP: range is full"]
    store.close()


async def test_the_api_s_own_service_comes_back(api: Any) -> None:
    path = "/api/v1/namespaces/default/services/kubernetes"
    live = await api.get(path)
    revision = live["metadata"]["resourceVersion"]
    watching = await api.watch(f"/api/v1/namespaces/default/services?watch=1&resourceVersion={revision}")
    await api.delete(path)
    await api.clock.advance(3)
    assert await watching.names(2) == [("DELETED", "kubernetes"), ("ADDED", "kubernetes")]
    assert (await api.get(path))["spec"]["clusterIP"] == live["spec"]["clusterIP"]
    await watching.close()
