"""Which pods are endpoints of a Service, with which ports and conditions."""

from collections.abc import Iterable

import msgspec

from fairway.kube.api.meta import ObjectReference
from fairway.kube.api.pods import Container, Pod
from fairway.kube.api.services import Endpoint, EndpointConditions, EndpointPort, Service, ServicePort

Ports = tuple[EndpointPort, ...]


class Member(msgspec.Struct, frozen=True):
    """A pod as an endpoint, with the ports that the Service has on it."""

    ports: Ports
    endpoint: Endpoint


def members(service: Service, pods: Iterable[Pod]) -> list[Member]:
    """The endpoints of a Service with a selector, by pod name."""
    chosen = [pod for pod in pods if _matches(service, pod) and pod.status.pod_ip and not pod.finished]
    ordered = sorted(chosen, key=lambda pod: pod.metadata.name)
    return [Member(_ports(service, pod), _endpoint(service, pod)) for pod in ordered]


def _matches(service: Service, pod: Pod) -> bool:
    return service.spec.selector.items() <= dict(pod.metadata.labels).items()


def _endpoint(service: Service, pod: Pod) -> Endpoint:
    """Serving is what the readiness probe says; ready is serving and not on the way out (KEP-1672)."""
    terminating = pod.metadata.deletion_timestamp is not None
    ready = service.spec.publish_not_ready_addresses or (pod.ready and not terminating)
    return Endpoint(
        addresses=(pod.status.pod_ip,),
        conditions=EndpointConditions(ready=ready, serving=pod.ready, terminating=terminating),
        hostname=pod.spec.hostname if pod.spec.subdomain == service.metadata.name else "",
        target_ref=ObjectReference(
            kind="Pod", namespace=pod.metadata.namespace, name=pod.metadata.name, uid=pod.metadata.uid
        ),
        node_name=pod.spec.node_name,
    )


def _ports(service: Service, pod: Pod) -> Ports:
    """A port that the pod does not have by that name is left out."""
    found = ((port, _number(port, pod)) for port in service.spec.ports)
    return tuple(
        EndpointPort(name=port.name, port=number, protocol=port.protocol, app_protocol=port.app_protocol)
        for port, number in found
        if number
    )


def _number(port: ServicePort, pod: Pod) -> int | None:
    target = port.target_port
    if isinstance(target, int):
        return target
    if not target:
        return port.port
    return _named(target, port.protocol, (*pod.spec.containers, *_sidecars(pod)))


def _sidecars(pod: Pod) -> tuple[Container, ...]:
    return tuple(container for container in pod.spec.init_containers if container.restart_policy == "Always")


def _named(name: str, protocol: str, containers: Iterable[Container]) -> int | None:
    ports = (port for container in containers for port in container.ports)
    return next((port.container_port for port in ports if (port.name, port.protocol) == (name, protocol)), None)
