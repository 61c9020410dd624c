"""How much processor time and memory pods and the node use, as rates over the last seconds: for metrics.k8s.io."""

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime
from itertools import groupby
from typing import Any

import msgspec

from fairway.engine.kubelet.network import traffic
from fairway.engine.kubelet.network.traffic import Traffic
from fairway.engine.kubelet.runtime import usage
from fairway.engine.kubelet.runtime.usage import Usage
from fairway.kube.api.meta import timestamp
from fairway.toolkit.clock import Clock

_SAMPLE_SECONDS = 15.0
_FRESH_SECONDS = 2.0
_MOST_SAMPLES = 3

Json = dict[str, Any]


class Target(msgspec.Struct, frozen=True):
    """A running container."""

    namespace: str
    pod: str
    name: str
    id: str
    group: usage.Group
    started_at: datetime
    uid: str = ""
    image: str = ""
    sandbox: str = ""


class Sample(msgspec.Struct, frozen=True):
    """One look at everything."""

    at: datetime
    seconds: float
    node: Usage
    containers: dict[str, Usage]
    links: dict[str, Traffic] = {}
    """By the pod's sandbox."""


class Metrics:
    """Looks every 15 s, and when asked for something newer than 2 s."""

    def __init__(self, clock: Clock, targets: Callable[[], tuple[Target, ...]]) -> None:
        self._clock = clock
        self._targets = targets
        self._samples: deque[Sample] = deque(maxlen=_MOST_SAMPLES)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._samples.append(await self._sample())
            await self._clock.sleep(_SAMPLE_SECONDS)

    async def report(self) -> Json:
        """`{timestamp, window, node: usage, pods: [{namespace, name, containers: [{name, usage}]}]}`."""
        newest = await self._newest()
        before = self._samples[0] if self._samples else None
        window = newest.seconds - before.seconds if before is not None else _SAMPLE_SECONDS
        targets = sorted(
            (target for target in self._targets() if target.id in newest.containers),
            key=lambda target: (target.namespace, target.pod, target.name),
        )
        pods = [
            {"namespace": namespace, "name": pod, "containers": [_container(each, newest, before) for each in group]}
            for (namespace, pod), group in groupby(targets, key=lambda target: (target.namespace, target.pod))
        ]
        node = _usage(newest.node, before.node if before is not None else newest.node, window)
        return {"timestamp": timestamp(newest.at), "window": f"{max(window, 1):.0f}s", "node": node, "pods": pods}

    async def look(self) -> tuple[Sample, tuple[Target, ...]]:
        """The newest sample and what was running then, in order."""
        sample = await self._newest()
        targets = (target for target in self._targets() if target.id in sample.containers)
        return sample, tuple(sorted(targets, key=lambda target: (target.namespace, target.pod, target.name)))

    def nanocores(self, sample: Sample, target: Target | None) -> float:
        """What a container, or the node, used lately; in billionths of a processor."""
        before = next((each for each in self._samples if each.seconds < sample.seconds), None)
        now = sample.containers[target.id] if target else sample.node
        old = (before.containers.get(target.id) if target else before.node) if before else None
        if before is None or old is None:
            return 0.0
        return max(0.0, now.cpu_seconds - old.cpu_seconds) / max(sample.seconds - before.seconds, 0.001) * 1e9

    async def _newest(self) -> Sample:
        last = self._samples[-1] if self._samples else None
        if last is not None and len(self._samples) > 1 and self._clock.monotonic() - last.seconds < _FRESH_SECONDS:
            return last
        return await self._sample()

    async def _sample(self) -> Sample:
        targets = self._targets()
        containers = await asyncio.to_thread(usage.measure, {target.id: target.group for target in targets})
        links = traffic.measure({target.sandbox for target in targets})
        return Sample(self._clock.now(), self._clock.monotonic(), usage.node(), containers, links)


def _container(target: Target, newest: Sample, before: Sample | None) -> Json:
    """Since the older sample, or since its start for a container that is younger."""
    now = newest.containers[target.id]
    old = before.containers.get(target.id) if before is not None else None
    if before is None or old is None:
        seconds = (newest.at - target.started_at).total_seconds()
        return {"name": target.name, "usage": _usage(now, Usage(0, 0), seconds)}
    return {"name": target.name, "usage": _usage(now, old, newest.seconds - before.seconds)}


def _usage(now: Usage, before: Usage, seconds: float) -> Json:
    nanocores = max(0.0, now.cpu_seconds - before.cpu_seconds) / max(seconds, 0.001) * 1e9
    return {"cpu": f"{nanocores:.0f}n", "memory": f"{now.memory_bytes // 1024}Ki"}
