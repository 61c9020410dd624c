"""The collections that several controllers read, each watched once."""

from collections.abc import Iterable
from typing import Any

from fairway.kube.api.config import Namespace, Node
from fairway.kube.api.meta import ObjectKey, ObjectMeta
from fairway.kube.api.noun import Noun
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    Resource,
)
from fairway.kube.api.services import EndpointSlice, Service
from fairway.kube.api.workloads import Deployment, ReplicaSet
from fairway.kube.client.client import ApiClient
from fairway.kube.reconcile.cache import Cache
from fairway.kube.reconcile.reflector import Reflector
from fairway.toolkit.clock import Clock

BY_OWNER, BY_NAMESPACE, BY_SERVICE = "owner", "namespace", "service"
SERVICE_NAME = "kubernetes.io/service-name"


class Named(Noun, frozen=True):
    """An object of any kind: its metadata alone."""

    metadata: ObjectMeta = ObjectMeta()


class Caches:
    """Shared reflectors: deployments, replica sets, pods, services, slices, namespaces and nodes."""

    def __init__(self, client: ApiClient, clock: Clock) -> None:
        owned: dict[str, Any] = {BY_OWNER: _owner, BY_NAMESPACE: _namespace}
        self.deployments = Reflector(client, DEPLOYMENTS, Deployment, clock, indexes={BY_NAMESPACE: _namespace})
        self.replica_sets = Reflector(client, REPLICA_SETS, ReplicaSet, clock, indexes=owned)
        self.pods = Reflector(client, PODS, Pod, clock, indexes=owned)
        self.services = Reflector(client, SERVICES, Service, clock, indexes={BY_NAMESPACE: _namespace})
        self.slices = Reflector(client, ENDPOINT_SLICES, EndpointSlice, clock, indexes={BY_SERVICE: _service})
        self.namespaces = Reflector(client, NAMESPACES, Namespace, clock)
        self.nodes = Reflector(client, NODES, Node, clock)

    @property
    def all(self) -> tuple[Reflector[Any], ...]:
        return tuple(self._reflectors().values())

    @property
    def by_kind(self) -> dict[Resource, Cache[Any]]:
        return {kind: reflector.cache for kind, reflector in self._reflectors().items()}

    def _reflectors(self) -> dict[Resource, Reflector[Any]]:
        return {
            DEPLOYMENTS: self.deployments,
            REPLICA_SETS: self.replica_sets,
            PODS: self.pods,
            SERVICES: self.services,
            ENDPOINT_SLICES: self.slices,
            NAMESPACES: self.namespaces,
            NODES: self.nodes,
        }


def _owner(obj: Any) -> Iterable[str]:
    owner = obj.metadata.controller
    return (owner.uid,) if owner else ()


def _namespace(obj: Any) -> Iterable[str]:
    return (obj.metadata.namespace,)


def _service(part: EndpointSlice) -> Iterable[str]:
    name = part.metadata.labels.get(SERVICE_NAME)
    return (str(ObjectKey(part.metadata.namespace, name)),) if name else ()
