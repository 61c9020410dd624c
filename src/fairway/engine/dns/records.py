"""The caches as the records that answers are made from."""

from collections.abc import Mapping

from fairway.kube.api.meta import ObjectKey, ObjectMeta
from fairway.kube.api.noun import Noun
from fairway.kube.api.services import EndpointSlice, Service
from fairway.kube.reconcile.cache import Cache, Index


class Namespace(Noun, frozen=True):
    """A namespace; only that it is there matters."""

    metadata: ObjectMeta = ObjectMeta()


def _cluster_ips(service: Service) -> tuple[str, ...]:
    addresses = {service.spec.cluster_ip, *service.spec.cluster_ips}
    return tuple(address for address in addresses if address not in ("", "None"))


def _owner(part: EndpointSlice) -> tuple[str, ...]:
    return (f"{part.metadata.namespace}/{part.service_name}",) if part.service_name else ()


def _endpoint_addresses(part: EndpointSlice) -> tuple[str, ...]:
    return tuple(address for endpoint in part.endpoints for address in endpoint.addresses)


SERVICE_INDEXES: Mapping[str, Index[Service]] = {"address": _cluster_ips}
SLICE_INDEXES: Mapping[str, Index[EndpointSlice]] = {"service": _owner, "address": _endpoint_addresses}


class CacheRecords:
    """Reads the caches at the moment of the question, so an answer is as new as the last watch event."""

    def __init__(self, services: Cache[Service], slices: Cache[EndpointSlice], namespaces: Cache[Namespace]) -> None:
        self._services = services
        self._slices = slices
        self._namespaces = namespaces

    def service(self, key: ObjectKey) -> Service | None:
        return self._services.get(key)

    def slices(self, key: ObjectKey) -> tuple[EndpointSlice, ...]:
        return self._slices.by_index("service", str(key))

    def has_namespace(self, name: str) -> bool:
        return self._namespaces.get(ObjectKey("", name)) is not None

    def services_at(self, address: str) -> tuple[Service, ...]:
        return self._services.by_index("address", address)

    def slices_at(self, address: str) -> tuple[EndpointSlice, ...]:
        return self._slices.by_index("address", address)
