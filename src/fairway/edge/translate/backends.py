"""Services and EndpointSlices to the servers that answer now."""

from collections.abc import Iterable, Iterator

from fairway.edge.ir import Server
from fairway.edge.snapshot import Snapshot
from fairway.edge.translate.references import ServiceRef
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.services import Endpoint, EndpointSlice, Service, ServicePort


class Unresolved(Exception):
    """A reference that leads nowhere: a reason for machines and a message for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def servers(ref: ServiceRef, snapshot: Snapshot, *, virtual: bool = False) -> tuple[Server, ...]:
    """The ready endpoints; when there are none, those that still serve while they terminate.

    That second choice is KEP-1669: the last pods of a Service go on answering until they are gone.
    `virtual`: the address of the Service instead, which the service proxy spreads. Raises Unresolved.
    """
    service = snapshot.services.get(ObjectKey(ref.namespace, ref.name))
    if service is None:
        raise Unresolved("ServiceNotFound", f"Service {ref.namespace}/{ref.name} does not exist")
    if service.spec.type == "ExternalName":
        raise Unresolved(
            "ExternalNameService",
            f"Service {ref.namespace}/{ref.name} is of type ExternalName, which the edge cannot reach; "
            "use a Service without selector and an EndpointSlice with the addresses",
        )
    port = _port(ref, service)
    if virtual and service.spec.cluster_ip not in ("", "None"):
        return (Server(service.spec.cluster_ip, port.port),)
    found = tuple(_addresses(port, snapshot.slices.get(service.metadata.key, ())))
    ready = {server for server, endpoint in found if endpoint.ready and not endpoint.terminating}
    return tuple(sorted(ready or {server for server, endpoint in found if endpoint.serving and endpoint.terminating}))


def _port(ref: ServiceRef, service: Service) -> ServicePort:
    for port in service.spec.ports:
        if (ref.port in (port.port, port.name) or ref.port == 0) and port.protocol == "TCP":
            return port
    listed = ", ".join(f"{port.port}" + (f" ({port.name})" if port.name else "") for port in service.spec.ports)
    raise Unresolved(
        "ServicePortNotFound",
        f"Service {ref.namespace}/{ref.name} has no TCP port {ref.port}; it has {listed or 'none'}",
    )


def _addresses(port: ServicePort, slices: Iterable[EndpointSlice]) -> Iterator[tuple[Server, Endpoint]]:
    for item in slices:
        if item.address_type == "FQDN":
            continue
        number = next((entry.port for entry in item.ports if entry.name == port.name), None)
        for endpoint in item.endpoints if number else ():
            for address in endpoint.addresses[:1]:  # the API says that the first is the one to use
                yield Server(address, number or 0), endpoint
