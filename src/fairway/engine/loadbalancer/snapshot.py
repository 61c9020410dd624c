"""One consistent picture of what asks for ports of the host."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec

from fairway.engine.loadbalancer.ir import Place
from fairway.kube.api.meta import ObjectMeta
from fairway.kube.api.pods import Pod
from fairway.kube.api.services import Service

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Snapshot(msgspec.Struct, frozen=True):
    """Services that reach beyond the cluster and pods with host ports, oldest first; `unavailable` says why a place
    could not be had."""

    services: tuple[Service, ...] = ()
    pods: tuple[Pod, ...] = ()
    unavailable: Mapping[Place, str] = {}


def take(services: Iterable[Service], pods: Iterable[Pod], unavailable: Mapping[Place, str]) -> Snapshot:
    """The picture; what does not concern this room is left out."""
    outside = [service for service in services if is_outside(service)]
    hosted = [pod for pod in pods if has_host_ports(pod) and pod.status.pod_ip and not pod.finished]
    return Snapshot(
        tuple(sorted(outside, key=lambda service: _age(service.metadata))),
        tuple(sorted(hosted, key=lambda pod: _age(pod.metadata))),
        dict(unavailable),
    )


def is_outside(service: Service) -> bool:
    """Whether a Service has, or had, anything outside the cluster."""
    spec = service.spec
    return spec.type in ("NodePort", "LoadBalancer") or bool(spec.external_ips or service.status.load_balancer.ingress)


def has_host_ports(pod: Pod) -> bool:
    """Whether any container asks for a port of the host."""
    if pod.spec.host_network:
        return False
    return any(port.host_port for container in pod.spec.containers for port in container.ports)


def _age(metadata: ObjectMeta) -> tuple[datetime, str, str]:
    return metadata.creation_timestamp or _EPOCH, metadata.namespace, metadata.name
