"""Where a cluster is: the networks that no user may have anything fetched from, read from the cluster itself."""

import asyncio
import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fairway.delivery.git.errors import SourceError
from fairway.kube.api.resource import NODES, PODS, SERVICES, Resource
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import ApiError, Forbidden, NotFound, Unreachable
from fairway.toolkit.clock import Clock

_SERVICE_CIDRS = Resource("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", namespaced=False)
_KEPT_SECONDS = 60.0
Raw = Mapping[str, Any]


class ClusterNetworks:
    """Pods, Services and nodes. What was read is kept for a minute, and longer while the API is silent."""

    def __init__(self, client: ApiClient, clock: Clock, known: Sequence[str] = ()) -> None:
        """`known` are networks that count whatever the cluster says."""
        self._client = client
        self._clock = clock
        self._known = tuple(known)
        self._found: tuple[str, ...] | None = None
        self._until = 0.0
        self._reading = asyncio.Lock()

    async def __call__(self) -> tuple[str, ...]:
        """Raises SourceError when nothing was ever read: without knowing, nothing is fetched."""
        async with self._reading:
            if self._found is None or self._clock.monotonic() >= self._until:
                try:
                    self._found = await self._read()
                except (ApiError, Unreachable) as error:
                    if self._found is None:
                        raise SourceError(f"where the cluster's own networks are cannot be told: {error}") from error
                self._until = self._clock.monotonic() + _KEPT_SECONDS
            return (*self._known, *self._found)

    async def _read(self) -> tuple[str, ...]:
        nodes = (await self._client.list(NODES)).items
        services = (await self._client.list(SERVICES)).items
        found = {*of_nodes(nodes), *of_services(services)}
        try:
            found |= set(of_service_cidrs((await self._client.list(_SERVICE_CIDRS)).items))
        except (NotFound, Forbidden):
            pass  # older than the kind, or not ours to see: the addresses of the Services that there are must do
        if not all(node.get("spec", {}).get("podCIDRs") for node in nodes):
            found |= set(of_pods((await self._client.list(PODS)).items))
        return tuple(sorted(found))


def of_nodes(nodes: Sequence[Raw]) -> Iterator[str]:
    """Their pods' networks and their own addresses."""
    for node in nodes:
        spec = node.get("spec") or {}
        yield from _networks((*(spec.get("podCIDRs") or ()), spec.get("podCIDR")))
        addresses = (node.get("status") or {}).get("addresses") or ()
        yield from _networks(one.get("address") for one in addresses if one.get("type") != "Hostname")


def of_services(services: Sequence[Raw]) -> Iterator[str]:
    """Cluster addresses; those of load balancers are for everybody, so a forge may have one."""
    for service in services:
        spec = service.get("spec") or {}
        yield from _networks((*(spec.get("clusterIPs") or ()), spec.get("clusterIP")))


def of_service_cidrs(found: Sequence[Raw]) -> Iterator[str]:
    for one in found:
        yield from _networks((one.get("spec") or {}).get("cidrs") or ())


def of_pods(pods: Sequence[Raw]) -> Iterator[str]:
    """Where nodes do not say their pods' networks: the addresses that pods have."""
    for pod in pods:
        status = pod.get("status") or {}
        yield from _networks((status.get("podIP"), *(one.get("ip") for one in status.get("podIPs") or ())))


def _networks(texts: Any) -> Iterator[str]:
    for text in texts:
        try:
            yield str(ipaddress.ip_network(text))
        except (TypeError, ValueError):
            continue  # "None", host names, nothing
