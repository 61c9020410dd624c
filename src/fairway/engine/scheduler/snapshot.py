"""What one decision about a pod is made from: the nodes, and what is taken on them."""

from collections.abc import Iterable, Mapping

import msgspec

from fairway.kube.api import quantities
from fairway.kube.api.config import Node
from fairway.kube.api.pod_resources import Amounts, total
from fairway.kube.api.pod_resources import requests as requests
from fairway.kube.api.pods import Pod

Labels = Mapping[str, str]
HostPort = tuple[str, str, int]
"""Address ("" for all), protocol and number."""


class Place(msgspec.Struct, frozen=True):
    """A node and the pods that are on it, or will be."""

    node: Node
    pods: tuple[Pod, ...] = ()

    @property
    def allocatable(self) -> Amounts:
        return {name: quantities.parse(amount) for name, amount in self.node.status.allocatable.items()}

    @property
    def used(self) -> Amounts:
        return total(requests(pod) for pod in self.pods)


def take(nodes: Iterable[Node], pods: Iterable[Pod], assumed: Mapping[str, str]) -> tuple[Place, ...]:
    """Nodes by name, with the pods that have not ended. `assumed` is where a pod (by uid) was sent a moment ago."""
    placed: dict[str, list[Pod]] = {}
    for pod in pods:
        name = pod.spec.node_name or assumed.get(pod.metadata.uid, "")
        if name and not pod.finished:
            placed.setdefault(name, []).append(pod)
    ordered = sorted(nodes, key=lambda node: node.metadata.name)
    return tuple(Place(node, tuple(placed.get(node.metadata.name, ()))) for node in ordered)


def host_ports(pod: Pod) -> frozenset[HostPort]:
    """The ports of the node that a pod takes."""
    ports = (port for container in pod.spec.containers for port in container.ports if port.host_port)
    return frozenset((_any(port.host_ip), port.protocol, port.host_port) for port in ports)


def _any(address: str) -> str:
    return "" if address == "0.0.0.0" else address
