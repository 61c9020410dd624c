"""One consistent picture of the policies, and of what they can select."""

from collections.abc import Iterable, Mapping

import msgspec

from fairway.kube.api.config import Namespace
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.networkpolicies import NetworkPolicy
from fairway.kube.api.pods import Pod

Labels = Mapping[str, str]


class NamedPort(msgspec.Struct, frozen=True):
    """A port that a container of a pod gave a name."""

    name: str
    protocol: str
    number: int


class Member(msgspec.Struct, frozen=True):
    """A pod with an address of its own, as far as policies can see it."""

    namespace: str
    address: str
    labels: Labels
    ports: tuple[NamedPort, ...] = ()


class Snapshot(msgspec.Struct, frozen=True):
    """Everything that decides; pods of the node's own network are not in it, policies do not concern them."""

    policies: Mapping[ObjectKey, NetworkPolicy] = {}
    members: Mapping[ObjectKey, Member] = {}
    namespaces: Mapping[str, Labels] = {}


def take(
    policies: Iterable[NetworkPolicy], members: Mapping[ObjectKey, Member], spaces: Iterable[Namespace]
) -> Snapshot:
    """The picture; the same whatever order things came in."""
    return Snapshot(
        {policy.metadata.key: policy for policy in sorted(policies, key=lambda each: each.metadata.key)},
        members,
        {space.metadata.name: space.metadata.labels for space in spaces},
    )


def member(pod: Pod | None, address: str = "") -> Member | None:
    """A pod as policies see it, with its address in the API or the given one; None when they cannot concern it."""
    if pod is None or pod.spec.host_network or pod.finished:
        return None
    address = address or pod.status.pod_ip
    return Member(pod.metadata.namespace, address, pod.metadata.labels, _ports(pod)) if address else None


def _ports(pod: Pod) -> tuple[NamedPort, ...]:
    """Named ports, those of sidecars too."""
    containers = (*pod.spec.containers, *(each for each in pod.spec.init_containers if each.restart_policy == "Always"))
    return tuple(
        NamedPort(port.name, port.protocol, port.container_port)
        for container in containers
        for port in container.ports
        if port.name
    )
