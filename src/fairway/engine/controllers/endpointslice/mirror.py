"""The same endpoints as one v1 Endpoints object, for those who still read it."""

from collections.abc import Mapping, Sequence
from typing import Any

from fairway.engine.controllers.endpointslice.endpoints import Member, Ports
from fairway.engine.controllers.endpointslice.plan import HEADLESS
from fairway.kube.api.noun import encode
from fairway.kube.api.services import Endpoint, Service

MANAGED_BY = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
ADDRESSES_MAX = 1000


def endpoints_of(service: Service, members: Sequence[Member]) -> dict[str, Any]:
    """The Endpoints object (raw JSON). Pods on their way out are in none of its lists."""
    shown = [member for member in members if _shown(service, member.endpoint)]
    labels = {**service.metadata.labels, MANAGED_BY: MANAGER}
    if service.spec.cluster_ip == "None":
        labels[HEADLESS] = ""
    metadata: dict[str, Any] = {
        "name": service.metadata.name,
        "namespace": service.metadata.namespace,
        "labels": labels,
    }
    if len(shown) > ADDRESSES_MAX:
        metadata["annotations"] = {OVER_CAPACITY: "truncated"}
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": metadata,
        "subsets": [_subset(ports, found) for ports, found in _by_ports(shown[:ADDRESSES_MAX]).items()],
    }


def same(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether writing `wanted` would change nothing that matters."""
    labels = (current.get("metadata") or {}).get("labels") or {}
    pairs = ((labels, wanted["metadata"]["labels"]), (current.get("subsets") or [], wanted["subsets"]))
    return all(has == wants for has, wants in pairs)


def _shown(service: Service, endpoint: Endpoint) -> bool:
    return service.spec.publish_not_ready_addresses or not endpoint.terminating


def _by_ports(members: Sequence[Member]) -> dict[Ports, list[Endpoint]]:
    grouped: dict[Ports, list[Endpoint]] = {}
    for member in members:
        if member.ports or not members[0].ports:
            grouped.setdefault(member.ports, []).append(member.endpoint)
    return grouped


def _subset(ports: Ports, found: Sequence[Endpoint]) -> dict[str, Any]:
    subset: dict[str, Any] = {}
    for key, ready in (("addresses", True), ("notReadyAddresses", False)):
        addresses = [_address(endpoint) for endpoint in found if endpoint.ready is ready]
        if addresses:
            subset[key] = addresses
    if ports:
        subset["ports"] = [_port(port) for port in ports]
    return subset


def _port(port: Any) -> dict[str, Any]:
    raw = {"port": port.port, "protocol": port.protocol}
    if port.name:
        raw["name"] = port.name
    if port.app_protocol:
        raw["appProtocol"] = port.app_protocol
    return raw


def _address(endpoint: Endpoint) -> dict[str, Any]:
    raw: dict[str, Any] = {"ip": endpoint.addresses[0]}
    if endpoint.hostname:
        raw["hostname"] = endpoint.hostname
    if endpoint.node_name:
        raw["nodeName"] = endpoint.node_name
    if endpoint.target_ref:
        raw["targetRef"] = encode(endpoint.target_ref)
    return raw
