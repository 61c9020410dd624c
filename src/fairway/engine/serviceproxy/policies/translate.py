"""Policies, pods and namespaces to the ruleset they ask for.

A pod is isolated in a direction as soon as one policy with that policyType selects it; then it may do what any of them
allows (https://kubernetes.io/docs/concepts/services-networking/network-policies/).
"""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import AddressValueError, IPv4Network, NetmaskValueError, collapse_addresses

import msgspec

from fairway.engine.serviceproxy.ir import PROTOCOLS
from fairway.engine.serviceproxy.policies import ir
from fairway.engine.serviceproxy.policies.ir import (
    Allow,
    Block,
    Direction,
    Either,
    Group,
    Isolation,
    Named,
    NameServer,
    Numbers,
    Rules,
    Ruleset,
)
from fairway.engine.serviceproxy.policies.members import Members, Peers
from fairway.engine.serviceproxy.policies.snapshot import Snapshot
from fairway.kube.api import selectors
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.networkpolicies import (
    IPBlock,
    NetworkPolicy,
    NetworkPolicyEgressRule,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicyPort,
)

NAME_SERVER_NAMESPACE = "kube-system"
NAME_SERVER_LABELS: Mapping[str, str] = {"k8s-app": "kube-dns"}
"""The name server is no pod here; policies select it as the pod that it is elsewhere."""
_NAME_SERVER_PORTS = {("dns", "UDP"): "udp", ("dns-tcp", "TCP"): "tcp"}

_Rule = NetworkPolicyIngressRule | NetworkPolicyEgressRule


class Compiled(msgspec.Struct, frozen=True):
    """One policy without its pods: its rules by name, and the groups that these name."""

    policy: NetworkPolicy
    selected: Peers
    rules: Mapping[Direction, str] = {}
    chains: Mapping[str, Rules] = {}
    peers: Mapping[str, Peers] = {}
    ports: Mapping[str, tuple[str, str]] = {}


class Translation(msgspec.Struct, frozen=True):
    """The ruleset; also the memory for the next translation."""

    name_server: Mapping[str, str] | None = None
    compiled: Mapping[ObjectKey, Compiled] = {}
    ruleset: Ruleset = Ruleset()


def translate(snapshot: Snapshot, before: Translation | None = None) -> Translation:
    """The ruleset for a picture; `before` only saves work: policies that are the same are not looked at again."""
    before = before or Translation()
    space = snapshot.namespaces.get(NAME_SERVER_NAMESPACE)
    known = before.compiled if before.name_server == space else {}
    compiled = {
        key: _known(known.get(key), policy) or compiled_policy(policy, space)
        for key, policy in snapshot.policies.items()
    }
    if not compiled:
        return Translation(space)  # as in most clusters: then a pod more or less is no work at all
    return Translation(space, compiled, _ruleset(tuple(compiled.values()), Members(snapshot)))


def _known(before: Compiled | None, policy: NetworkPolicy) -> Compiled | None:
    return before if before and before.policy is policy else None


def _ruleset(compiled: Iterable[Compiled], members: Members) -> Ruleset:
    chains: dict[str, Rules | Either] = {}
    groups: dict[str, frozenset[str]] = {}
    applying: dict[Direction, dict[str, list[str]]] = {direction: {} for direction in Direction}
    for each in compiled:
        chains.update(each.chains)
        for name, peers in each.peers.items():
            if name not in groups:
                groups[name] = members.addresses(peers)
        for name, port in each.ports.items():
            if name not in groups:
                groups[name] = members.named(*port)
        selected = members.addresses(each.selected)
        for direction, rules in each.rules.items():
            found = applying[direction]
            for address in selected:
                found.setdefault(address, []).append(rules)
    isolated = dict(_isolated(applying, chains))
    return ir.ruleset(chains, groups, isolated)


def _isolated(
    applying: Mapping[Direction, Mapping[str, list[str]]], chains: dict[str, Rules | Either]
) -> Iterator[tuple[Isolation, str]]:
    """Every isolated address with its chain, which is made for the first that has it."""
    names: dict[tuple[Direction, tuple[str, ...]], str] = {}
    for direction, found in applying.items():
        for address, several in found.items():
            key = direction, tuple(several)  # policies come in one order, so equal pods have equal lists
            if key not in names:
                either = Either(direction, tuple(sorted(set(several))))
                names[key] = ir.either_name(either)
                chains[names[key]] = either
            yield Isolation(direction, address), names[key]


def _selected(policy: NetworkPolicy) -> Peers:
    return Peers(policy.metadata.namespace, None, selectors.from_object(policy.spec.pod_selector))


def compiled_policy(policy: NetworkPolicy, name_server: Mapping[str, str] | None) -> Compiled:
    """One policy's rules; `name_server` are the labels of the namespace in which the name server counts."""
    peers: dict[str, Peers] = {}
    ports: dict[str, tuple[str, str]] = {}
    chains: dict[str, Rules] = {}
    names: dict[Direction, str] = {}
    namespace, spec = policy.metadata.namespace, policy.spec
    sides: dict[Direction, tuple[_Rule, ...]] = {Direction.INGRESS: spec.ingress, Direction.EGRESS: spec.egress}
    for direction in directions(policy):
        allows = []
        for rule in sides[direction]:
            where = tuple(_ports(rule.ports, ports))
            for peer in _peers(rule, namespace, peers, name_server if direction is Direction.EGRESS else None):
                allows += [allow for port in where for allow in _allow(peer, port, ports)]
        rules = Rules(direction, tuple(dict.fromkeys(allows)))
        names[direction] = ir.rules_name(rules)
        chains[names[direction]] = rules
    return Compiled(policy, _selected(policy), names, chains, peers, ports)


def directions(policy: NetworkPolicy) -> tuple[Direction, ...]:
    """What a policy isolates: its policyTypes, by default Ingress, and Egress when it has such rules."""
    default = ("Ingress", "Egress") if policy.spec.egress else ("Ingress",)
    types = policy.spec.policy_types or default
    return tuple(each for each in Direction if each.capitalize() in types)


def _ports(ports: Iterable[NetworkPolicyPort], named: dict[str, tuple[str, str]]) -> Iterator[Numbers | Named | None]:
    """The places of a rule: one for each protocol, one for each name; None alone when it has no ports."""
    numbers: dict[str, list[tuple[int, int]]] = {}
    whole: set[str] = set()
    empty = True
    for port in ports:
        empty = False
        protocol = PROTOCOLS.get(port.protocol)
        if protocol is None:
            continue
        if isinstance(port.port, str):
            name = ir.port_name(port.port, port.protocol)
            named[name] = (port.port, port.protocol)
            yield Named(name)
        elif port.port is None:
            whole.add(protocol)
        else:
            numbers.setdefault(protocol, []).append((port.port, port.end_port or port.port))
    if empty:
        yield None
    for protocol in sorted(whole | numbers.keys()):
        yield Numbers(protocol, () if protocol in whole else ir.merged(numbers[protocol]))


def _peers(
    rule: _Rule, namespace: str, groups: dict[str, Peers], name_server: Mapping[str, str] | None
) -> Iterator[Group | Block | NameServer | None]:
    if not rule.peers:
        yield None
    for peer in rule.peers:
        if peer.ip_block:
            yield from _block(peer.ip_block)
            continue
        selected = _selection(peer, namespace)
        name = ir.peers_name(selected.namespace, selected.spaces, selected.pods)
        groups[name] = selected
        yield Group(name)
        if name_server is not None and selected.holds(NAME_SERVER_NAMESPACE, name_server, NAME_SERVER_LABELS):
            yield NameServer(("tcp", "udp"))


def _allow(
    peer: Group | Block | NameServer | None, port: Numbers | Named | None, named: Mapping[str, tuple[str, str]]
) -> Iterator[Allow]:
    """A peer at a place; the name server has one port, with two protocols and their names."""
    if not isinstance(peer, NameServer) or port is None:
        yield Allow(peer, port)
    elif isinstance(port, Named):
        if protocol := _NAME_SERVER_PORTS.get(named[port.group]):
            yield Allow(NameServer((protocol,)))
    elif port.protocol in peer.protocols and (not port.ranges or any(a <= 53 <= b for a, b in port.ranges)):
        yield Allow(NameServer((port.protocol,)))


def _selection(peer: NetworkPolicyPeer, namespace: str) -> Peers:
    pods = selectors.from_object(peer.pod_selector) if peer.pod_selector else selectors.Selector()
    if peer.namespace_selector is None:
        return Peers(namespace, None, pods)
    return Peers("", selectors.from_object(peer.namespace_selector), pods)


def _block(block: IPBlock) -> Iterator[Block]:
    """The IPv4 part of a block; pods have no IPv6 addresses, so a block of those matches nothing."""
    network = _network(block.cidr)
    holes = [hole for hole in map(_network, block.holes) if hole]
    if network and network not in (whole := list(collapse_addresses(holes))):
        yield Block(str(network), tuple(str(hole) for hole in whole))


def _network(text: str) -> IPv4Network | None:
    try:
        return IPv4Network(text, strict=False)
    except (AddressValueError, NetmaskValueError):
        return None
