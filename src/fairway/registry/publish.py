"""The registry as plain Kubernetes objects: Service kube-system/registry and the slice behind it."""

from typing import Any

from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.noun import decode
from fairway.kube.api.resource import ENDPOINT_SLICES, NAMESPACES, SERVICES
from fairway.kube.api.services import EndpointSlice, Service
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import AlreadyExists, NotFound
from fairway.kube.reconcile.reflector import Reflector
from fairway.kube.reconcile.whole import Dirty
from fairway.registry import config
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

FIELD_MANAGER = "fairway-registry"
log = logs.get("registry")
Raw = dict[str, Any]


def service(wanted: config.Service) -> Raw:
    """A Service without a selector: its slice is written here."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": wanted.name,
            "namespace": wanted.namespace,
            "labels": {"app.kubernetes.io/name": "fairway-registry", "kubernetes.io/cluster-service": "true"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": wanted.cluster_ip,
            "clusterIPs": [wanted.cluster_ip],
            "ports": [{"name": "https", "protocol": "TCP", "port": wanted.port, "targetPort": wanted.target_port}],
        },
    }


def endpoint_slice(wanted: config.Service) -> Raw:
    """Where the registry really listens."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": wanted.name,
            "namespace": wanted.namespace,
            "labels": {
                "kubernetes.io/service-name": wanted.name,
                "endpointslice.kubernetes.io/managed-by": FIELD_MANAGER,
            },
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [wanted.address], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "protocol": "TCP", "port": wanted.target_port}],
    }


class Publisher:
    """Keeps the two objects as they should be, also after somebody changed or deleted them."""

    def __init__(self, client: ApiClient, wanted: config.Service, clock: Clock) -> None:
        self.dirty = Dirty()
        namespace, fields = wanted.namespace, f"metadata.name={wanted.name}"
        self._services = Reflector(client, SERVICES, Service, clock, namespace=namespace, fields=fields)
        self._slices = Reflector(client, ENDPOINT_SLICES, EndpointSlice, clock, namespace=namespace, fields=fields)
        self.reflectors = (self._services, self._slices)
        self._client = client
        self._key = ObjectKey(wanted.namespace, wanted.name)
        self._service, self._slice = service(wanted), endpoint_slice(wanted)
        for reflector in self.reflectors:
            reflector.cache.subscribe(lambda *_: self.dirty.mark())

    async def once(self) -> None:
        """Write what is missing or different."""
        live, wanted = self._services.cache.get(self._key), decode(Service, self._service)
        if live is None or (live.spec.cluster_ip, live.spec.ports) != (wanted.spec.cluster_ip, wanted.spec.ports):
            await self._apply_service()
        found, leads = self._slices.cache.get(self._key), decode(EndpointSlice, self._slice)
        if found is None or (found.endpoints, found.ports) != (leads.endpoints, leads.ports):
            await self._client.apply(ENDPOINT_SLICES, self._slice, field_manager=FIELD_MANAGER)
            log.info("published", service=self._key, cluster_ip=wanted.spec.cluster_ip)

    async def _apply_service(self) -> None:
        try:
            await self._client.apply(SERVICES, self._service, field_manager=FIELD_MANAGER)
        except NotFound:
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self._key.namespace}}
            try:
                await self._client.create(NAMESPACES, namespace)
            except AlreadyExists:
                pass
            await self._client.apply(SERVICES, self._service, field_manager=FIELD_MANAGER)
