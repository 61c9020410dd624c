"""Which pods a selection holds, found through their labels rather than by asking each pod."""

from collections.abc import Iterable, Mapping

import msgspec

from fairway.engine.serviceproxy.ir import PROTOCOLS
from fairway.engine.serviceproxy.policies.snapshot import Member, Snapshot
from fairway.kube.api.selectors import Requirement, Selector

_Labels = Mapping[str, str]


class Peers(msgspec.Struct, frozen=True):
    """Pods by label in one namespace, or, with `spaces`, in the namespaces selected by it."""

    namespace: str
    spaces: Selector | None
    pods: Selector

    def holds(self, namespace: str, space: _Labels, labels: _Labels) -> bool:
        """Whether a pod with these labels in a namespace with those is one of them."""
        inside = self.spaces.matches(space) if self.spaces else namespace == self.namespace
        return inside and self.pods.matches(labels)


class Members:
    """The pods of one snapshot, by namespace and label."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._spaces = snapshot.namespaces
        self._inside: dict[str, list[Member]] = {}
        self._labelled: dict[tuple[str, str, str], list[Member]] = {}
        self._ports: dict[tuple[str, str], set[str]] = {}
        self._found: dict[Peers, frozenset[str]] = {}
        for member in snapshot.members.values():
            self._add(member)

    def addresses(self, peers: Peers) -> frozenset[str]:
        """The addresses of the selected pods."""
        found = self._found.get(peers)
        if found is None:
            spaces = self._selected_spaces(peers.spaces) if peers.spaces else (peers.namespace,)
            found = frozenset(address for space in spaces for address in self._select(space, peers.pods))
            self._found[peers] = found
        return found

    def named(self, name: str, protocol: str) -> frozenset[str]:
        """Address, protocol and port wherever a pod has a port of that name."""
        return frozenset(self._ports.get((name, protocol), ()))

    def _add(self, member: Member) -> None:
        self._inside.setdefault(member.namespace, []).append(member)
        for key, value in member.labels.items():
            self._labelled.setdefault((member.namespace, key, value), []).append(member)
        for port in member.ports:
            if protocol := PROTOCOLS.get(port.protocol):
                text = f"{member.address} . {protocol} . {port.number}"
                self._ports.setdefault((port.name, port.protocol), set()).add(text)

    def _selected_spaces(self, selector: Selector) -> list[str]:
        return [name for name, labels in self._spaces.items() if selector.matches(labels)]

    def _select(self, space: str, selector: Selector) -> Iterable[str]:
        pods = self._inside.get(space, [])
        for requirement in selector.requirements:
            if _exact(requirement):
                fewer = self._labelled.get((space, requirement.key, requirement.values[0]), [])
                pods = min(pods, fewer, key=len)
        return (pod.address for pod in pods if selector.matches(pod.labels))


def _exact(requirement: Requirement) -> bool:
    return requirement.operator == "In" and len(requirement.values) == 1
