"""ConfigMap, Secret, Namespace, ServiceAccount, Node and Lease."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from fairway.kube.api.meta import Condition, LocalObjectReference, ObjectMeta
from fairway.kube.api.noun import Noun


class ConfigMap(Noun):
    """`binary_data` is base64, as on the wire."""

    metadata: ObjectMeta = ObjectMeta()
    data: Mapping[str, str] = {}
    binary_data: Mapping[str, str] = {}


class Secret(Noun):
    """`data` is base64, as on the wire."""

    metadata: ObjectMeta = ObjectMeta()
    type: str = "Opaque"
    data: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"Secret({self.metadata.key}, type={self.type})"  # never the content: reprs end up in logs


class NamespaceSpec(Noun):
    finalizers: tuple[str, ...] = ()


class NamespaceStatus(Noun):
    phase: str = "Active"


class Namespace(Noun):
    metadata: ObjectMeta = ObjectMeta()
    spec: NamespaceSpec = NamespaceSpec()
    status: NamespaceStatus = NamespaceStatus()


class ServiceAccount(Noun):
    metadata: ObjectMeta = ObjectMeta()
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    automount_service_account_token: bool | None = None


class Taint(Noun):
    key: str
    effect: str
    value: str = ""


class NodeSpec(Noun):
    pod_cidr: str = msgspec.field(name="podCIDR", default="")
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class NodeAddress(Noun):
    type: str
    address: str


class NodeStatus(Noun):
    capacity: Mapping[str, str | int] = {}
    allocatable: Mapping[str, str | int] = {}
    conditions: tuple[Condition, ...] = ()
    addresses: tuple[NodeAddress, ...] = ()


class Node(Noun):
    metadata: ObjectMeta = ObjectMeta()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class LeaseSpec(Noun):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: datetime | None = None
    renew_time: datetime | None = None


class Lease(Noun):
    metadata: ObjectMeta = ObjectMeta()
    spec: LeaseSpec = LeaseSpec()
