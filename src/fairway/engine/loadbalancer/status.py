"""What Services say about their load balancer."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fairway.engine.loadbalancer.ir import Wanted
from fairway.kube.api.services import Service


def changes(
    services: Iterable[Service], wanted: Wanted, published: Mapping[str, str]
) -> Iterator[tuple[Service, list[dict[str, Any]]]]:
    """The Services whose `status.loadBalancer.ingress` must become something else, and what."""
    for service in services:
        if service.spec.type == "LoadBalancer" and service.spec.load_balancer_class is not None:
            continue  # somebody else's
        now = [ingress.ip or ingress.hostname for ingress in service.status.load_balancer.ingress]
        address = wanted.addresses.get(service.metadata.key)
        shown = published.get(address, address) if address else ""
        if now != ([shown] if shown else []):
            yield service, [{"ip": shown, "ipMode": "VIP"}] if shown else []
