"""Whether people get a version through the front door: ready pods alone are not enough to say that it is live.

Between pods that are ready and answers from them are the Service's endpoints and the edge that takes them. The edge is
asked for what it has taken, not by a request of our own: an answer would not tell which version gave it.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from fairway.delivery.kinds.releases import Release
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import INGRESSES, PODS, SERVICES
from fairway.kube.api.services import Service
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound

_OVER = ("Succeeded", "Failed")


class FrontDoor(Protocol):
    """What the edge has taken so far. The edge room's `Served` is one."""

    def leaves(self, ingress: ObjectKey) -> bool:
        """Whether an Ingress is for another controller."""
        ...

    def certified(self, host: str) -> bool:
        """Whether a host is answered with a certificate of its own."""
        ...

    def addresses(self, host: str, ingress: ObjectKey, service: ObjectKey) -> frozenset[str] | None:
        """Where requests go; none while they get nowhere, None where they are answered without the Service."""
        ...


class Way(msgspec.Struct, frozen=True):
    """Requests for a host that an Ingress of a Release sends to a Service; `tls` when it wants a certificate."""

    host: str
    ingress: ObjectKey
    service: ObjectKey
    tls: bool


class Behind(msgspec.Struct, frozen=True):
    """A Service's own address, and those of the pods that it chooses and that are to stay."""

    address: str
    pods: frozenset[str]


class Opening:
    """Looks at the front door; without one there is nothing to look at."""

    def __init__(self, client: ApiClient, door: FrontDoor | None) -> None:
        self._client = client
        self._door = door

    async def problem(self, release: Release) -> str:
        """Why not every host of a Release, whose pods are all ready, is answered by these pods; "" when each is.

        Raises ApiError, Unreachable.
        """
        door = self._door
        if door is None:
            return ""
        seen: dict[ObjectKey, Behind | None] = {}
        for way in ways(release):
            if door.leaves(way.ingress):
                continue
            # The door is looked at before the pods: a pod that comes between would else look like somebody else's.
            taken = door.addresses(way.host, way.ingress, way.service)
            if way.service not in seen:
                seen[way.service] = await self._behind(way.service)
            if taken is not None and (wrong := _wrong(taken, seen[way.service])):
                return f"{way.host} {wrong}"
            if way.tls and not door.certified(way.host):
                return f"{way.host} has no certificate"
        return ""

    async def _behind(self, key: ObjectKey) -> Behind | None:
        """None for a Service that does not exist."""
        try:
            service = decode(Service, await self._client.get(SERVICES, key.name, key.namespace))
        except NotFound:
            return None
        if not service.spec.selector:
            return Behind("", frozenset())
        labels = ",".join(f"{name}={value}" for name, value in sorted(service.spec.selector.items()))
        pods = (decode(Pod, raw) for raw in (await self._client.list(PODS, key.namespace, labels=labels)).items)
        stay = (one for one in pods if one.metadata.deletion_timestamp is None and one.status.phase not in _OVER)
        return Behind(service.spec.cluster_ip, frozenset(one.status.pod_ip for one in stay))


def _wrong(taken: frozenset[str], behind: Behind | None) -> str:
    """What is wrong with where requests go; nothing where no pod is to answer them."""
    if behind is None:
        return "leads to a Service that does not exist"
    if not behind.pods:
        return ""
    if not taken:
        return "leads nowhere"
    # An Ingress may ask for the Service's own address, behind which the cluster chooses.
    return "" if taken <= {*behind.pods, behind.address} else "leads to other pods"


def ways(release: Release) -> Iterator[Way]:
    """Every host and Service of the Ingresses among a Release's objects, each pair once."""
    namespace = release.metadata.namespace
    found: dict[Way, None] = {}
    for manifest in release.spec.manifests:
        if manifest["kind"] != INGRESSES.kind:
            continue
        spec: Any = manifest.get("spec") or {}
        ingress = ObjectKey(namespace, manifest["metadata"]["name"])
        secured = {host for one in spec.get("tls") or () for host in one.get("hosts") or ()}
        for rule in spec.get("rules") or ():
            host = rule.get("host") or ""
            for path in (rule.get("http") or {}).get("paths") or ():
                name = ((path.get("backend") or {}).get("service") or {}).get("name")
                if host and name:
                    way = Way(host, ingress, ObjectKey(namespace, name), host in secured)
                    found[way] = None
    yield from found
