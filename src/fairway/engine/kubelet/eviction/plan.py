"""Which thresholds are met, which pod goes first, and in which words.  Source: upstream's eviction manager."""

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from fairway.engine.kubelet.eviction.snapshot import Amount, PodUsage, Signals
from fairway.kube.api import quantities
from fairway.kube.api.pods import Container, Pod

Kind = Literal["memory", "disk", "pids"]
_SIGNALS: Mapping[str, tuple[str, Kind, str]] = {
    "memory.available": ("memory", "memory", "memory"),
    "nodefs.available": ("disk", "disk", "ephemeral-storage"),
    "nodefs.inodesFree": ("inodes", "disk", "inodes"),
    "imagefs.available": ("disk", "disk", "ephemeral-storage"),
    "pid.available": ("pids", "pids", "pids"),
}
_UNITS = ("", "Ki", "Mi", "Gi", "Ti", "Pi")
_CRITICAL_PRIORITY = 2_000_000_000


class Met(msgspec.Struct, frozen=True):
    """A threshold that the machine has fallen below."""

    signal: str
    kind: Kind
    resource: str
    threshold: int
    available: int


class Eviction(msgspec.Struct, frozen=True):
    """End a pod, saying why."""

    pod: Pod
    message: str


def met(thresholds: Mapping[str, str], signals: Signals) -> tuple[Met, ...]:
    """In upstream's order: memory first.  Signals that nobody knows count as never met."""
    found = []
    for name in sorted(thresholds, key=lambda name: (name != "memory.available", name)):
        if name not in _SIGNALS:
            continue
        field, kind, resource = _SIGNALS[name]
        amount: Amount = getattr(signals, field)
        threshold = _threshold(thresholds[name], amount.capacity)
        if amount.capacity and amount.available < threshold:
            found.append(Met(name, kind, resource, threshold, amount.available))
    return tuple(found)


def _threshold(text: str, capacity: int) -> int:
    """`100Mi` or `5%`."""
    return int(capacity * float(text[:-1]) / 100) if text.endswith("%") else quantities.whole(text)


def victim(short: Met, pods: Iterable[PodUsage]) -> Eviction | None:
    """Those above their request first, then low priority, then who is furthest above; critical pods never go."""
    ranked = sorted((each for each in pods if _may_go(each.pod)), key=lambda each: _rank(short, each))
    return Eviction(ranked[0].pod, _message(short, ranked[0])) if ranked else None


def _may_go(pod: Pod) -> bool:
    return (pod.spec.priority or 0) < _CRITICAL_PRIORITY


def _rank(short: Met, usage: PodUsage) -> tuple[bool, int, int]:
    priority = usage.pod.spec.priority or 0
    if short.kind == "pids":
        return False, priority, 0
    used = usage.memory_bytes if short.kind == "memory" else usage.disk_bytes
    above = used - sum(_requested(container, short.resource) for container in usage.pod.spec.containers)
    return above <= 0, priority, -above


def _requested(container: Container, resource: str) -> int:
    return quantities.whole(container.resources.requests.get(resource, 0))


def _message(short: Met, usage: PodUsage) -> str:
    text = f"The node was low on resource: {short.resource}. "
    text += f"Threshold quantity: {amount_text(short.threshold)}, available: {amount_text(short.available)}. "
    if short.kind == "pids":
        return text
    containers = {container.name: container for container in usage.pod.spec.containers}
    for each in usage.containers:
        used = each.memory_bytes if short.kind == "memory" else each.disk_bytes
        wanted = _requested(containers[each.name], short.resource) if each.name in containers else 0
        if used > wanted:
            text += (
                f"Container {each.name} was using {amount_text(used)}, request is {amount_text(wanted)}, "
                f"has larger consumption of {short.resource}. "
            )
    return text


def over_limit(usage: PodUsage) -> Eviction | None:
    """A pod that uses more disk than its volumes, its containers or all of them together may."""
    for volume in usage.pod.spec.volumes:
        size = volume.empty_dir.size_limit if volume.empty_dir is not None else None
        if size and usage.empty_dirs.get(volume.name, 0) > quantities.whole(size) > 0:
            return Eviction(usage.pod, f'Usage of EmptyDir volume "{volume.name}" exceeds the limit "{size}". ')
    limits = {each.name: _disk_limit(each) for each in usage.pod.spec.containers}
    if limits and all(limits.values()) and usage.disk_bytes > (total := sum(limits.values())):
        message = f"Pod ephemeral local storage usage exceeds the total limit of containers {amount_text(total)}. "
        return Eviction(usage.pod, message)
    for container in usage.containers:
        limit = limits.get(container.name, 0)
        if limit and container.disk_bytes > limit:
            message = f'Container {container.name} exceeded its local ephemeral storage limit "{amount_text(limit)}". '
            return Eviction(usage.pod, message)
    return None


def has_disk_limits(pod: Pod) -> bool:
    """Whether it is worth counting the bytes of a pod."""
    limited = any(volume.empty_dir is not None and volume.empty_dir.size_limit for volume in pod.spec.volumes)
    return limited or any(_disk_limit(container) for container in pod.spec.containers)


def _disk_limit(container: Container) -> int:
    return quantities.whole(container.resources.limits.get("ephemeral-storage", 0))


def amount_text(amount: int) -> str:
    """As Go writes a binary quantity: the largest unit without a remainder."""
    unit = 0
    while amount and amount % 1024 == 0 and unit < len(_UNITS) - 1:
        amount //= 1024
        unit += 1
    return f"{amount}{_UNITS[unit]}"
