"""ConfigMap, Secret, Namespace, ServiceAccount, Node and Lease."""

import base64
from collections.abc import Mapping
from datetime import datetime

import msgspec

from fairway.kube.api.meta import Condition, LocalObjectReference, ObjectMeta
from fairway.kube.api.noun import Noun


class ConfigMap(Noun, frozen=True):
    """`binary_data` is base64, as on the wire."""

    metadata: ObjectMeta = ObjectMeta()
    data: Mapping[str, str] = {}
    binary_data: Mapping[str, str] = {}


class Secret(Noun, frozen=True):
    """`data` is base64, as on the wire."""

    metadata: ObjectMeta = ObjectMeta()
    type: str = "Opaque"
    data: Mapping[str, str] = {}

    def value(self, key: str) -> bytes:
        """What is behind a key; empty when there is none. Raises ValueError when it is not base64."""
        return base64.b64decode(self.data.get(key, ""), validate=True)

    def __repr__(self) -> str:
        return f"Secret({self.metadata.key}, type={self.type})"  # never the content: reprs end up in logs


class NamespaceSpec(Noun, frozen=True):
    finalizers: tuple[str, ...] = ()


class NamespaceStatus(Noun, frozen=True):
    phase: str = "Active"


class Namespace(Noun, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: NamespaceSpec = NamespaceSpec()
    status: NamespaceStatus = NamespaceStatus()


class ServiceAccount(Noun, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    automount_service_account_token: bool | None = None


class Taint(Noun, frozen=True):
    key: str
    effect: str
    value: str = ""


class NodeSpec(Noun, frozen=True):
    pod_cidr: str = msgspec.field(name="podCIDR", default="")
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class NodeAddress(Noun, frozen=True):
    type: str
    address: str


class NodeStatus(Noun, frozen=True):
    capacity: Mapping[str, str | int] = {}
    allocatable: Mapping[str, str | int] = {}
    conditions: tuple[Condition, ...] = ()
    addresses: tuple[NodeAddress, ...] = ()


class Node(Noun, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class LeaseSpec(Noun, frozen=True):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: datetime | None = None
    renew_time: datetime | None = None


class Lease(Noun, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: LeaseSpec = LeaseSpec()
