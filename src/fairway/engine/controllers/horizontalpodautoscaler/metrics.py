"""Where the use of pods is read from: the resource metrics API."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

import msgspec

from fairway.engine.controllers.horizontalpodautoscaler.snapshot import Usage
from fairway.kube.api import quantities
from fairway.kube.api.meta import ObjectMeta
from fairway.kube.api.noun import Noun, decode
from fairway.kube.api.resource import POD_METRICS
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import ApiError, NotFound, Unreachable

_PREFIX = "unable to fetch metrics from resource metrics API: "
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class PodMetrics(Protocol):
    """What pods use now; another source may be handed in."""

    async def usage(self, namespace: str, selector: str) -> Mapping[str, Usage] | str:
        """By pod name; a text says why it could not be had."""
        ...


class _Container(Noun, frozen=True):
    name: str
    usage: Mapping[str, str | int | float] = {}


class _PodMetrics(Noun, frozen=True):
    timestamp: datetime
    window: str = "30s"
    metadata: ObjectMeta = ObjectMeta()
    containers: tuple[_Container, ...] = ()


class ApiMetrics:
    """Reads `metrics.k8s.io`."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def usage(self, namespace: str, selector: str) -> Mapping[str, Usage] | str:
        """By pod name; a text says why it could not be had."""
        try:
            found = await self._client.list(POD_METRICS, namespace, labels=selector)
        except NotFound:
            return f"{_PREFIX}the server could not find the requested resource (get pods.metrics.k8s.io)"
        except (ApiError, Unreachable) as error:
            return f"{_PREFIX}{error}"
        try:
            return {item["metadata"]["name"]: _usage(item) for item in found.items}
        except (msgspec.ValidationError, ValueError) as error:
            return f"{_PREFIX}{error}"


def _usage(raw: Mapping[str, Any]) -> Usage:
    pod = decode(_PodMetrics, raw)
    containers = {
        item.name: {name: quantities.parse(amount) for name, amount in item.usage.items()} for item in pod.containers
    }
    return Usage(containers, pod.timestamp, _seconds(pod.window))


def _seconds(text: str) -> float:
    """A duration such as `15.021s` or `1m30s`."""
    total, number, unit = 0.0, "", ""
    for letter in f"{text}0":
        if letter.isdigit() or letter == ".":
            if unit:
                total += float(number) * _UNITS.get(unit, 0.0)
                number, unit = "", ""
            number += letter
        else:
            unit += letter
    return total
