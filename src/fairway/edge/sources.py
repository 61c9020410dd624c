"""The caches that the edge looks at, kept in the order in which a snapshot wants them."""

from bisect import bisect_left, insort
from collections.abc import Callable
from typing import Any

from fairway.edge.snapshot import Precedence, Snapshot, precedence
from fairway.kube.api.config import ConfigMap, Secret
from fairway.kube.api.ingresses import Ingress, IngressClass
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.resource import CONFIG_MAPS, ENDPOINT_SLICES, INGRESS_CLASSES, INGRESSES, SECRETS, SERVICES
from fairway.kube.api.services import EndpointSlice, Service
from fairway.kube.client.client import ApiClient
from fairway.kube.reconcile.cache import Cache
from fairway.kube.reconcile.reflector import Reflector
from fairway.toolkit.clock import Clock


class Sources:
    """Everything from the API; a snapshot costs the same however small the change was, and little."""

    def __init__(self, client: ApiClient, clock: Clock) -> None:
        self._ingresses = Reflector(client, INGRESSES, Ingress, clock)
        self._classes = Reflector(client, INGRESS_CLASSES, IngressClass, clock)
        self._services = Reflector(client, SERVICES, Service, clock)
        self._slices = Reflector(client, ENDPOINT_SLICES, EndpointSlice, clock)
        # Passwords and authorities are in Secrets of any type; those of Helm are many, large and never asked for.
        self._secrets = Reflector(client, SECRETS, Secret, clock, fields="type!=helm.sh/release.v1")
        self._config_maps = Reflector(client, CONFIG_MAPS, ConfigMap, clock)
        self.all: tuple[Reflector[Any], ...] = (
            *(self._ingresses, self._classes, self._services, self._slices, self._secrets, self._config_maps),
        )
        self._ordered = Ordered(self._ingresses.cache)
        self._by_service = ByService(self._slices.cache)

    def subscribe(self, subscriber: Callable[..., None]) -> None:
        """Call `subscriber` for every change from now on, after the order is right again."""
        for source in self.all:
            source.cache.subscribe(subscriber)

    def take(self) -> Snapshot:
        """What they hold now."""
        return Snapshot(
            ingresses=self._ordered.values(),
            classes={item.metadata.name: item for item in self._classes.cache.values()},
            services=_keyed(self._services.cache),
            slices=dict(self._by_service.found),
            secrets=_keyed(self._secrets.cache),
            config_maps=_keyed(self._config_maps.cache),
        )


class Ordered:
    """The Ingresses of a cache by precedence."""

    def __init__(self, cache: Cache[Ingress]) -> None:
        self._keys: list[Precedence] = []
        self._ingresses: dict[Precedence, Ingress] = {}
        cache.subscribe(self._change)

    def values(self) -> tuple[Ingress, ...]:
        return tuple(map(self._ingresses.__getitem__, self._keys))

    def _change(self, _: ObjectKey, old: Ingress | None, new: Ingress | None) -> None:
        before, after = (None if item is None else precedence(item) for item in (old, new))
        if before is not None and before != after:
            del self._ingresses[before]
            del self._keys[bisect_left(self._keys, before)]
        if new is not None and after is not None:
            if before != after:
                insort(self._keys, after)
            self._ingresses[after] = new


class ByService:
    """The slices of a cache by the Service they belong to, each in order of names."""

    def __init__(self, cache: Cache[EndpointSlice]) -> None:
        self.found: dict[ObjectKey, tuple[EndpointSlice, ...]] = {}
        cache.subscribe(self._change)

    def _change(self, _: ObjectKey, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        for item in (old, new):
            if item is None:
                continue
            key = ObjectKey(item.metadata.namespace, item.service_name)
            others = [one for one in self.found.get(key, ()) if one.metadata.name != item.metadata.name]
            if item is new:
                others.append(item)
            if others:
                self.found[key] = tuple(sorted(others, key=lambda one: one.metadata.name))
            else:
                self.found.pop(key, None)


def _keyed(cache: Cache[Any]) -> dict[ObjectKey, Any]:
    return dict(zip(cache.keys(), cache.values(), strict=True))
