"""The name server as plain Kubernetes objects: Service kube-system/kube-dns and the slice behind it."""

from collections.abc import Mapping
from typing import Any

from fairway.engine.dns.config import Config
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.noun import decode
from fairway.kube.api.resource import ENDPOINT_SLICES, NAMESPACES, SERVICES
from fairway.kube.api.services import EndpointSlice, Service
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import AlreadyExists, NotFound
from fairway.kube.reconcile.cache import Cache
from fairway.kube.reconcile.whole import Dirty
from fairway.toolkit import logs

NAMESPACE, NAME = "kube-system", "kube-dns"
KEY = ObjectKey(NAMESPACE, NAME)
FIELD_MANAGER = "fairway-dns"
log = logs.get("dns")

Raw = dict[str, Any]


def service(config: Config) -> Raw:
    """The Service that pods have as their name server; it has no selector, its slice is written here."""
    ports = [("dns", "UDP"), ("dns-tcp", "TCP")]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "labels": {
                "k8s-app": "kube-dns",
                "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS",
            },
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": config.service_ip,
            "clusterIPs": [config.service_ip],
            "ports": [{"name": name, "protocol": kind, "port": 53, "targetPort": config.port} for name, kind in ports],
        },
    }


def endpoint_slice(config: Config) -> Raw:
    """Where the name server really listens."""
    ports = [("dns", "UDP"), ("dns-tcp", "TCP")]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "labels": {
                "kubernetes.io/service-name": NAME,
                "endpointslice.kubernetes.io/managed-by": FIELD_MANAGER,
            },
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [config.address], "conditions": {"ready": True}}],
        "ports": [{"name": name, "protocol": kind, "port": config.port} for name, kind in ports],
    }


class Publisher:
    """Keeps the two objects as they should be, also after somebody changed or deleted them."""

    def __init__(
        self, client: ApiClient, config: Config, services: Cache[Service], slices: Cache[EndpointSlice]
    ) -> None:
        self.dirty = Dirty()
        self._client = client
        self._config = config
        self._services = services
        self._slices = slices
        services.subscribe(self._changed)
        slices.subscribe(self._changed)

    async def once(self) -> None:
        """Write what is missing or different."""
        wanted_service, wanted_slice = service(self._config), endpoint_slice(self._config)
        live_service, live_slice = self._services.get(KEY), self._slices.get(KEY)
        if live_service is None or not _serves(live_service, decode(Service, wanted_service)):
            await self._apply_in_namespace(wanted_service)
        if live_slice is None or not _leads(live_slice, decode(EndpointSlice, wanted_slice)):
            await self._client.apply(ENDPOINT_SLICES, wanted_slice, field_manager=FIELD_MANAGER)
            log.info("published", service=KEY, cluster_ip=self._config.service_ip, address=self._config.address)

    async def _apply_in_namespace(self, wanted: Mapping[str, Any]) -> None:
        try:
            await self._client.apply(SERVICES, wanted, field_manager=FIELD_MANAGER)
        except NotFound:
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
            try:
                await self._client.create(NAMESPACES, namespace)
            except AlreadyExists:
                pass
            await self._client.apply(SERVICES, wanted, field_manager=FIELD_MANAGER)

    def _changed(self, key: ObjectKey, *_: object) -> None:
        if key == KEY:
            self.dirty.mark()


def _serves(live: Service, wanted: Service) -> bool:
    return live.spec.cluster_ip == wanted.spec.cluster_ip and live.spec.ports == wanted.spec.ports


def _leads(live: EndpointSlice, wanted: EndpointSlice) -> bool:
    same = live.endpoints == wanted.endpoints and live.ports == wanted.ports
    return same and live.service_name == wanted.service_name
