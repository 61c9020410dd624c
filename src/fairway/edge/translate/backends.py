"""Services and EndpointSlices to the servers that answer now."""

import ipaddress
from collections.abc import Iterable, Iterator

from fairway.edge.ir import Server
from fairway.edge.snapshot import Snapshot
from fairway.edge.translate import checks
from fairway.edge.translate.checks import Refused
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
        target = _external(ref, service)
        return (Server(*target),) if _is_address(target[0]) else ()
    port = _port(ref, service)
    if virtual and service.spec.cluster_ip not in ("", "None"):
        return (Server(service.spec.cluster_ip, port.port),)
    found = tuple(_addresses(port, snapshot.slices.get(service.metadata.key, ())))
    ready = {server for server, endpoint in found if endpoint.ready and not endpoint.terminating}
    return tuple(sorted(ready or {server for server, endpoint in found if endpoint.serving and endpoint.terminating}))


def external(ref: ServiceRef, snapshot: Snapshot) -> tuple[str, int] | None:
    """The name and port that an ExternalName Service stands for; HAProxy finds its addresses. Raises Unresolved."""
    service = snapshot.services.get(ObjectKey(ref.namespace, ref.name))
    if service is None or service.spec.type != "ExternalName":
        return None
    found = _external(ref, service)
    return None if _is_address(found[0]) else found


def _external(ref: ServiceRef, service: Service) -> tuple[str, int]:
    """As ingress-nginx: a port that the Service does not list is the number in the Ingress."""
    where = f"Service {ref.namespace}/{ref.name} of type ExternalName"
    try:
        name = service.spec.external_name
        name = name if _is_address(name) else checks.exact_host(name)
    except Refused as error:
        raise Unresolved("ExternalNameService", f"{where}: {error}") from None
    if name == "localhost" or name.endswith(".localhost"):
        raise Unresolved("ExternalNameService", f"{where}: {name} is this machine, whose own servers are not for sites")
    for port in service.spec.ports:
        if ref.port in (port.port, port.name) or ref.port == 0:
            return name, port.target_port if isinstance(port.target_port, int) and port.target_port else port.port
    if isinstance(ref.port, int) and ref.port:
        return name, ref.port
    raise Unresolved("ServicePortNotFound", f"{where} has no port {ref.port}; give the number in the Ingress")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


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
