"""What a pod wants for its containers, and what this node grants -> resources changed in place (KEP-1287; pure).

A pod is worked on with what was granted. A wish that the node can never fulfil is Infeasible, one that it cannot fulfil
beside its other pods is Deferred; until then the pod keeps what it has.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

from fairway.engine.kubelet.snapshot import Pending
from fairway.kube.api import quantities
from fairway.kube.api.pod_resources import ZERO, Amounts, requests, total
from fairway.kube.api.pods import Container, Pod, ResourceRequirements

Granted = Mapping[str, ResourceRequirements]

_RESIZABLE = ("cpu", "memory")


class Grant(msgspec.Struct, frozen=True):
    """The pod with the resources that its containers may use now, and why these are not the ones it wants."""

    pod: Pod
    pending: Pending | None = None


def resources_of(pod: Pod) -> dict[str, ResourceRequirements]:
    """By container."""
    return {container.name: container.resources for container in (*pod.spec.init_containers, *pod.spec.containers)}


def grant(pod: Pod, granted: Granted, allocatable: Mapping[str, str], neighbours: Iterable[Pod]) -> Grant:
    """Nothing `granted` yet means that the pod was just admitted; `neighbours` are the node's other pods."""
    wanted = resources_of(pod)
    if not granted or wanted == granted:
        return Grant(pod)
    pending = _fits(requests(pod), allocatable, neighbours)
    return Grant(pod) if pending is None else Grant(with_resources(pod, granted), pending)


def with_resources(pod: Pod, granted: Granted) -> Pod:
    """The same pod with other resources."""
    replace = msgspec.structs.replace

    def given(containers: tuple[Container, ...]) -> tuple[Container, ...]:
        return tuple(replace(each, resources=granted.get(each.name, each.resources)) for each in containers)

    spec = replace(pod.spec, containers=given(pod.spec.containers), init_containers=given(pod.spec.init_containers))
    return replace(pod, spec=spec)


def needs_restart(container: Container, running: ResourceRequirements) -> bool:
    """Whether the container says of a resource that changes that it must start anew."""
    restarting = {each.resource_name for each in container.resize_policy if each.restart_policy == "RestartContainer"}
    return bool(restarting & set(_changed(container.resources, running)))


def _changed(wanted: ResourceRequirements, running: ResourceRequirements) -> Iterable[str]:
    for name in _RESIZABLE:
        pairs = ((wanted.requests, running.requests), (wanted.limits, running.limits))
        if any(_amount(after, name) != _amount(before, name) for after, before in pairs):
            yield name


def _amount(amounts: Mapping[str, str | int | float], name: str) -> Decimal | None:
    return quantities.parse(amounts[name]) if name in amounts else None


def _fits(wanted: Amounts, allocatable: Mapping[str, str], neighbours: Iterable[Pod]) -> Pending | None:
    capacity = {name: quantities.parse(allocatable[name]) for name in _RESIZABLE if name in allocatable}
    for name, most in capacity.items():
        if wanted.get(name, ZERO) > most:
            shown = f"{name}, requested: {_shown(name, wanted[name])}, capacity: {_shown(name, most)}"
            return Pending("Infeasible", f"Node didn't have enough capacity: {shown}")
    used = total(requests(pod) for pod in neighbours)
    for name, most in capacity.items():
        asked, taken = wanted.get(name, ZERO), used.get(name, ZERO)
        if asked and asked + taken > most:
            shown = f"requested: {_shown(name, asked)}, used: {_shown(name, taken)}, capacity: {_shown(name, most)}"
            return Pending("Deferred", f"Node didn't have enough resource: {name}, {shown}")
    return None


def _shown(name: str, amount: Decimal) -> int:
    """Thousandths of a processor, bytes of memory."""
    return int(amount * 1000) if name == "cpu" else int(amount)
