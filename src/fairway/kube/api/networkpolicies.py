"""NetworkPolicy of networking.k8s.io/v1."""

import msgspec

from fairway.kube.api.meta import LabelSelector, ObjectMeta
from fairway.kube.api.noun import Noun


class IPBlock(Noun, frozen=True):
    """A range of addresses without some parts of it."""

    cidr: str
    holes: tuple[str, ...] = msgspec.field(name="except", default=())


class NetworkPolicyPeer(Noun, frozen=True):
    """Pods by label, in the policy's namespace unless namespaces are selected too; or a range of addresses."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    ip_block: IPBlock | None = None


class NetworkPolicyPort(Noun, frozen=True):
    """A protocol, and of it a port, a range, or the port that the receiving pod gave this name."""

    protocol: str = "TCP"
    port: int | str | None = None
    end_port: int | None = None


class NetworkPolicyIngressRule(Noun, frozen=True):
    """Who may come in, and where; no peers: everybody, no ports: everywhere."""

    peers: tuple[NetworkPolicyPeer, ...] = msgspec.field(name="from", default=())
    ports: tuple[NetworkPolicyPort, ...] = ()


class NetworkPolicyEgressRule(Noun, frozen=True):
    """Whom pods may reach, and where; no peers: everybody, no ports: everywhere."""

    peers: tuple[NetworkPolicyPeer, ...] = msgspec.field(name="to", default=())
    ports: tuple[NetworkPolicyPort, ...] = ()


class NetworkPolicySpec(Noun, frozen=True):
    pod_selector: LabelSelector = LabelSelector()
    policy_types: tuple[str, ...] = ()
    ingress: tuple[NetworkPolicyIngressRule, ...] = ()
    egress: tuple[NetworkPolicyEgressRule, ...] = ()


class NetworkPolicy(Noun, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: NetworkPolicySpec = NetworkPolicySpec()
