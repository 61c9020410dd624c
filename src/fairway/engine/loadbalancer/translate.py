"""Services and pods to the places they ask for.

A place belongs to one: host ports before node ports before load balancers before external addresses, and the older
object first. A load balancer gets the first address of the pool on which all its ports are free, and keeps it.
"""

from collections.abc import Iterable, Iterator

import msgspec

from fairway.engine.loadbalancer import ir
from fairway.engine.loadbalancer.ir import Place, Problem, Route, Target, Wanted
from fairway.engine.loadbalancer.snapshot import Snapshot
from fairway.kube.api.meta import ObjectKey, ObjectMeta, ObjectReference
from fairway.kube.api.pods import ContainerPort, Pod
from fairway.kube.api.services import Service, ServicePort


class Options(msgspec.Struct, frozen=True):
    """Where node ports listen, and which addresses load balancers may have."""

    node_address: str = "0.0.0.0"
    pool: tuple[str, ...] = ()
    internal: tuple[str, ...] = ("10.42.0.1",)
    """Addresses of the cluster itself: traffic to them never leaves it, nothing is to be opened."""


def translate(snapshot: Snapshot, options: Options) -> Wanted:
    """What should be open; the result depends on the arguments alone."""
    board = _Board(snapshot, options)
    for pod in snapshot.pods:
        board.host_ports(pod)
    for service in snapshot.services:
        if service.spec.type in ("NodePort", "LoadBalancer"):
            board.node_ports(service)
    for service in snapshot.services:
        if service.spec.type == "LoadBalancer" and service.spec.load_balancer_class is None:
            board.load_balancer(service)
    for service in snapshot.services:
        board.external_addresses(service)
    return Wanted(board.routes, board.owners, board.addresses, tuple(board.problems))


class _Board:
    """The places as they are given away."""

    def __init__(self, snapshot: Snapshot, options: Options) -> None:
        self.routes: dict[Place, Route] = {}
        self.owners: dict[Place, ObjectReference] = {}
        self.addresses: dict[ObjectKey, str] = {}
        self.problems: list[Problem] = []
        self._by_port: dict[int, list[Place]] = {}
        self._unavailable = snapshot.unavailable
        self._options = options

    def host_ports(self, pod: Pod) -> None:
        regarding = reference("Pod", pod.metadata)
        for port in _host_ports(pod):
            place = Place(port.host_ip or self._options.node_address, port.host_port, port.protocol)
            if port.protocol not in _PROTOCOLS:
                self._problem(regarding, "HostPortNotOpened", f"hostPort {place.number} {_REFUSED}")
            elif not ir.usable_host(place.host):
                self._problem(regarding, "HostPortNotOpened", f"hostIP {place.host!r} is not an IP address: correct it")
            else:
                self._claim(place, Route(Target(pod.status.pod_ip, port.container_port)), regarding, "HostPort")

    def node_ports(self, service: Service) -> None:
        regarding = reference("Service", service.metadata)
        for port in _ports(service):
            if not port.node_port:
                continue
            place = Place(self._options.node_address, port.node_port, port.protocol)
            if port.protocol not in _PROTOCOLS:
                self._problem(regarding, "NodePortNotOpened", f"nodePort {place.number} {_REFUSED}")
                continue
            self._claim(place, _route(service, port), regarding, "NodePort")
        if field := _needs_client_address(service):
            message = f"spec.{field} has no effect on connections from outside: they come from the node's own address"
            self._problem(regarding, "ClientAddressHidden", message)

    def load_balancer(self, service: Service) -> None:
        regarding = reference("Service", service.metadata)
        ports = tuple(port for port in _ports(service) if port.protocol in _PROTOCOLS)
        if not self._options.pool:
            message = "there are no addresses for load balancers: `fairway up --load-balancer-addresses ADDR,…`"
            self._problem(regarding, "SyncLoadBalancerFailed", message)
            return
        if len(ports) < len(service.spec.ports):
            refused = ", ".join(f"{each.port}/{each.protocol}" for each in service.spec.ports if each not in ports)
            self._problem(regarding, "PortNotOpened", f"port {refused} {_REFUSED}")
        sources, no_networks = _sources(service)
        if no_networks:
            message = (
                f"spec.loadBalancerSourceRanges: {', '.join(no_networks)} is not an IPv4 network; nobody is let in"
            )
            self._problem(regarding, "InvalidSourceRanges", message)
        reasons = []
        for address in self._candidates(service):
            places = [Place(address, port.port, port.protocol) for port in ports]
            against = [reason for place in places if (reason := self._against(place, regarding))]
            if not against and ports:
                self._give(service, ports, sources, regarding, address)
                return
            reasons += against
        message = "; ".join(reasons) or f"spec.loadBalancerIP {service.spec.load_balancer_ip} is not in the pool"
        self._problem(regarding, "SyncLoadBalancerFailed", f"Error syncing load balancer: {message}")

    def external_addresses(self, service: Service) -> None:
        regarding = reference("Service", service.metadata)
        for address in service.spec.external_ips:
            if not ir.usable_host(address) or address in self._options.internal:
                continue
            for port in _ports(service):
                place = Place(address, port.port, port.protocol)
                if port.protocol in _PROTOCOLS:
                    self._claim(place, _route(service, port), regarding, "ExternalIP")

    def _candidates(self, service: Service) -> tuple[str, ...]:
        """The pool, the address asked for or held before first."""
        asked = service.spec.load_balancer_ip
        if asked:
            return tuple(address for address in self._options.pool if address == asked)
        held = [ingress.ip for ingress in service.status.load_balancer.ingress]
        return tuple(sorted(self._options.pool, key=lambda address: address not in held))

    def _give(
        self,
        service: Service,
        ports: Iterable[ServicePort],
        sources: tuple[str, ...],
        regarding: ObjectReference,
        address: str,
    ) -> None:
        self.addresses[service.metadata.key] = address
        for port in ports:
            self._take(Place(address, port.port, port.protocol), _route(service, port, sources), regarding)

    def _claim(self, place: Place, route: Route, regarding: ObjectReference, kind: str) -> None:
        if reason := self._against(place, regarding):
            self._problem(regarding, f"{kind}NotOpened", reason)
            return
        self._take(place, route, regarding)

    def _take(self, place: Place, route: Route, regarding: ObjectReference) -> None:
        self.routes[place] = route
        self.owners[place] = regarding
        self._by_port.setdefault(place.port, []).append(place)

    def _against(self, place: Place, regarding: ObjectReference) -> str:
        """Why somebody cannot have a place; nothing when it is free."""
        if reason := self._unavailable.get(place):
            return reason
        for taken in self._by_port.get(place.port, ()):
            if ir.overlap(place, taken):
                owner = self.owners[taken]
                who = "this object itself" if owner == regarding else f"{owner.kind} {owner.namespace}/{owner.name}"
                return f"port {place.number} on {place.host} already belongs to {who}; choose another port"
        return ""

    def _problem(self, regarding: ObjectReference, reason: str, message: str) -> None:
        self.problems.append(Problem(regarding, reason, message))


_PROTOCOLS = ("TCP", "UDP")
_REFUSED = "cannot be reached from outside: ports of the host are handed into the cluster for TCP and UDP only"


def reference(kind: str, metadata: ObjectMeta) -> ObjectReference:
    """The object as events name it."""
    return ObjectReference(
        api_version="v1", kind=kind, namespace=metadata.namespace, name=metadata.name, uid=metadata.uid
    )


def _host_ports(pod: Pod) -> Iterator[ContainerPort]:
    for container in pod.spec.containers:
        yield from (port for port in container.ports if port.host_port)


def _needs_client_address(service: Service) -> str:
    """The field by which a Service wants to see its clients' own addresses, which the way into the cluster hides."""
    if service.spec.session_affinity == "ClientIP":
        return "sessionAffinity ClientIP"
    return "externalTrafficPolicy Local" if service.spec.external_traffic_policy == "Local" else ""


def _ports(service: Service) -> tuple[ServicePort, ...]:
    return service.spec.ports if ir.usable_target(service.spec.cluster_ip) else ()


def _route(service: Service, port: ServicePort, sources: tuple[str, ...] = ()) -> Route:
    return Route(Target(service.spec.cluster_ip, port.port), sources)


def _sources(service: Service) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The networks that may connect, and the entries that are none; with only such entries nobody may."""
    ranges = service.spec.load_balancer_source_ranges
    good = tuple(sorted({found for text in ranges if (found := ir.network(text))}))
    refused = tuple(text for text in ranges if not ir.network(text))
    if "0.0.0.0/0" in good:
        return (), refused
    return (good or ("255.255.255.255/32",) if ranges else ()), refused
