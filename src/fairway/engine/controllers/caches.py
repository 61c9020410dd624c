"""The collections that several controllers read, each watched once."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from typing import Any

from fairway.kube.api.autoscaling import HorizontalPodAutoscaler
from fairway.kube.api.config import Namespace, Node
from fairway.kube.api.daemonsets import DaemonSet
from fairway.kube.api.jobs import CronJob, Job
from fairway.kube.api.meta import ObjectKey, ObjectMeta
from fairway.kube.api.noun import Noun
from fairway.kube.api.pods import Pod
from fairway.kube.api.policies import PodDisruptionBudget, ResourceQuota
from fairway.kube.api.resource import (
    CONTROLLER_REVISIONS,
    CRON_JOBS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    HORIZONTAL_POD_AUTOSCALERS,
    JOBS,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    RESOURCE_QUOTAS,
    SERVICES,
    STATEFUL_SETS,
    Resource,
)
from fairway.kube.api.services import EndpointSlice, Service
from fairway.kube.api.statefulsets import ControllerRevision, PersistentVolumeClaim, StatefulSet
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
    """Shared reflectors, one for each collection that controllers read."""

    def __init__(self, client: ApiClient, clock: Clock) -> None:
        owned: dict[str, Any] = {BY_OWNER: _owner, BY_NAMESPACE: _namespace}
        self.deployments = Reflector(client, DEPLOYMENTS, Deployment, clock, indexes={BY_NAMESPACE: _namespace})
        self.replica_sets = Reflector(client, REPLICA_SETS, ReplicaSet, clock, indexes=owned)
        self.pods = Reflector(client, PODS, Pod, clock, indexes=owned)
        self.services = Reflector(client, SERVICES, Service, clock, indexes={BY_NAMESPACE: _namespace})
        self.slices = Reflector(client, ENDPOINT_SLICES, EndpointSlice, clock, indexes={BY_SERVICE: _service})
        self.namespaces = Reflector(client, NAMESPACES, Namespace, clock)
        self.nodes = Reflector(client, NODES, Node, clock)
        self.stateful_sets = Reflector(client, STATEFUL_SETS, StatefulSet, clock, indexes={BY_NAMESPACE: _namespace})
        self.daemon_sets = Reflector(client, DAEMON_SETS, DaemonSet, clock, indexes={BY_NAMESPACE: _namespace})
        self.revisions = Reflector(client, CONTROLLER_REVISIONS, ControllerRevision, clock, indexes=owned)
        self.claims = Reflector(
            client, PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim, clock, indexes={BY_NAMESPACE: _namespace}
        )
        self.jobs = Reflector(client, JOBS, Job, clock, indexes=owned)
        self.cron_jobs = Reflector(client, CRON_JOBS, CronJob, clock)
        self.autoscalers = Reflector(client, HORIZONTAL_POD_AUTOSCALERS, HorizontalPodAutoscaler, clock)
        self.budgets = Reflector(
            client, POD_DISRUPTION_BUDGETS, PodDisruptionBudget, clock, indexes={BY_NAMESPACE: _namespace}
        )
        self.quotas = Reflector(client, RESOURCE_QUOTAS, ResourceQuota, clock, indexes={BY_NAMESPACE: _namespace})
        self.definitions = Reflector(client, CUSTOM_RESOURCE_DEFINITIONS, Named, clock, metadata_only=True)

    @contextmanager
    def borrow(self) -> Iterator["Caches"]:
        """The same caches for one run of one controller: its subscriptions end with the block."""
        lent = copy(self)
        with ExitStack() as stack:
            for name, reflector in vars(self).items():
                setattr(lent, name, stack.enter_context(reflector.borrow()))
            yield lent

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
            STATEFUL_SETS: self.stateful_sets,
            DAEMON_SETS: self.daemon_sets,
            CONTROLLER_REVISIONS: self.revisions,
            PERSISTENT_VOLUME_CLAIMS: self.claims,
            JOBS: self.jobs,
            CRON_JOBS: self.cron_jobs,
            HORIZONTAL_POD_AUTOSCALERS: self.autoscalers,
            POD_DISRUPTION_BUDGETS: self.budgets,
            RESOURCE_QUOTAS: self.quotas,
            CUSTOM_RESOURCE_DEFINITIONS: self.definitions,
        }


def _owner(obj: Any) -> Iterable[str]:
    owner = obj.metadata.controller
    return (owner.uid,) if owner else ()


def _namespace(obj: Any) -> Iterable[str]:
    return (obj.metadata.namespace,)


def _service(part: EndpointSlice) -> Iterable[str]:
    name = part.metadata.labels.get(SERVICE_NAME)
    return (str(ObjectKey(part.metadata.namespace, name)),) if name else ()
