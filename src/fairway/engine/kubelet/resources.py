"""Requests and limits -> quality of service, control group and its numbers (pure)."""

from collections.abc import Iterator, Mapping

import msgspec

from fairway.kube.api import quantities
from fairway.kube.api.pods import Container, Pod

_COUNTED = ("cpu", "memory")
_PERIOD_US = 100_000
_QUOTA_US_MIN = 1_000
_GUARANTEED_SCORE = -997
_SHARES_MIN, _SHARES_MAX = 2, 262_144


class Limits(msgspec.Struct, frozen=True):
    """What a control group enforces; None is unlimited."""

    cpu_shares: int
    cpu_quota_us: int | None = None
    memory_bytes: int | None = None


def qos_class(pod: Pod) -> str:
    """Guaranteed, Burstable or BestEffort.  Source: upstream `GetPodQOS`."""
    containers = tuple(_containers(pod))
    if not any(_given(each.resources.limits) or _given(each.resources.requests) for each in containers):
        return "BestEffort"
    return "Guaranteed" if all(_is_guaranteed(each) for each in containers) else "Burstable"


def _containers(pod: Pod) -> Iterator[Container]:
    yield from pod.spec.init_containers
    yield from pod.spec.containers


def _given(values: Mapping[str, str | int | float]) -> bool:
    return any(name in _COUNTED and quantities.parse(value) > 0 for name, value in values.items())


def _is_guaranteed(container: Container) -> bool:
    limits, requests = container.resources.limits, container.resources.requests
    for name in _COUNTED:
        if name not in limits or quantities.parse(limits[name]) <= 0:
            return False
        if quantities.parse(requests.get(name, limits[name])) != quantities.parse(limits[name]):
            return False
    return True


def cgroup(pod: Pod, container_id: str) -> str:
    """The control group of a container, in upstream's tree."""
    parent = {"Guaranteed": "", "Burstable": "burstable/", "BestEffort": "besteffort/"}[qos_class(pod)]
    return f"kubepods/{parent}pod{pod.metadata.uid}/{container_id}"


def pod_limits(pod: Pod) -> Limits:
    """What the containers of a pod share: sums, where each of them has a limit.  Source: `ResourceConfigForPod`."""
    sidecars = [each for each in pod.spec.init_containers if each.restart_policy == "Always"]
    steps = [limits(each) for each in pod.spec.init_containers if each.restart_policy != "Always"]
    together = [limits(each) for each in (*pod.spec.containers, *sidecars)]
    quotas, step_quotas = [each.cpu_quota_us for each in together], [each.cpu_quota_us for each in steps]
    memories, step_memories = [each.memory_bytes for each in together], [each.memory_bytes for each in steps]
    shares = sum(each.cpu_shares for each in together)
    return Limits(
        min(max(shares, _SHARES_MIN), _SHARES_MAX), _shared(quotas, step_quotas), _shared(memories, step_memories)
    )


def _shared(together: list[int | None], steps: list[int | None]) -> int | None:
    """What containers need at once, or one step alone if that is more; None when one of them has no limit."""
    if any(each is None for each in (*together, *steps)):
        return None
    return max(sum(each or 0 for each in together), *(each or 0 for each in steps), 0) or None


def oom_score_adj(pod: Pod, container: Container, node_memory_bytes: int) -> int:
    """Who the kernel kills first for want of memory.  Source: upstream `GetContainerOOMScoreAdjust`."""
    kind = qos_class(pod)
    if kind != "Burstable" or not node_memory_bytes:
        return {"Guaranteed": _GUARANTEED_SCORE, "BestEffort": 1000}.get(kind, 999)
    ceilings, requests = container.resources.limits, container.resources.requests
    wanted = quantities.whole(requests.get("memory", ceilings.get("memory", 0)))
    return min(max(1000 - 1000 * wanted // node_memory_bytes, 1000 + _GUARANTEED_SCORE), 999)


def limits(container: Container) -> Limits:
    """Shares from the CPU request (else its limit), quota from the CPU limit, bytes from the memory limit."""
    ceilings, requests = container.resources.limits, container.resources.requests
    wanted = requests.get("cpu", ceilings.get("cpu", 0))
    shares = quantities.millis(wanted) * 1024 // 1000
    memory = quantities.whole(ceilings["memory"]) if "memory" in ceilings else 0
    cpu = quantities.millis(ceilings["cpu"]) if "cpu" in ceilings else 0
    return Limits(
        cpu_shares=min(max(shares, _SHARES_MIN), _SHARES_MAX),
        cpu_quota_us=max(cpu * _PERIOD_US // 1000, _QUOTA_US_MIN) if cpu else None,
        memory_bytes=memory or None,
    )
