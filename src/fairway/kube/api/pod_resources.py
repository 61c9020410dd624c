"""What a whole pod asks for and may use."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from fairway.kube.api import quantities
from fairway.kube.api.pods import Container, Pod, PodSpec

Amounts = Mapping[str, Decimal]
ZERO = Decimal(0)


def requests(pod: Pod) -> Amounts:
    """Containers and sidecars together, or the greediest init container if that is more (KEP-753), plus overhead."""
    return plus(_effective(pod.spec, limits=False), pod_overhead(pod.spec))


def limits(pod: Pod) -> Amounts:
    """As `requests`, of what is limited; overhead counts where there is a limit."""
    found = _effective(pod.spec, limits=True)
    overhead = pod_overhead(pod.spec)
    return {name: amount + overhead.get(name, ZERO) for name, amount in found.items()}


def pod_overhead(spec: PodSpec) -> Amounts:
    """What the sandbox itself takes."""
    return {name: quantities.parse(amount) for name, amount in spec.overhead.items()}


def plus(*parts: Amounts) -> dict[str, Decimal]:
    """The sum, resource by resource."""
    return total(parts)


def total(parts: Iterable[Amounts]) -> dict[str, Decimal]:
    """The sum, resource by resource."""
    found: dict[str, Decimal] = {}
    for part in parts:
        for name, amount in part.items():
            found[name] = found.get(name, ZERO) + amount
    return found


def largest(one: Amounts, other: Amounts) -> dict[str, Decimal]:
    """The larger one, resource by resource."""
    return {name: max(one.get(name, ZERO), other.get(name, ZERO)) for name in {*one, *other}}


def _effective(spec: PodSpec, *, limits: bool) -> Amounts:
    sidecars: list[Amounts] = []
    greediest: Amounts = {}
    for container in spec.init_containers:
        own = _of(container, limits=limits)
        if container.restart_policy == "Always":
            sidecars.append(own)
            own = {}
        greediest = largest(greediest, total((*sidecars, own)))
    running = total((*sidecars, *(_of(container, limits=limits) for container in spec.containers)))
    return largest(running, greediest)


def _of(container: Container, *, limits: bool) -> Amounts:
    resources = container.resources.limits if limits else container.resources.requests
    return {name: quantities.parse(amount) for name, amount in resources.items()}
