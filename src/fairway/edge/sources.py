"""The caches that the edge looks at, as maps that know what changed since the last look."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from fairway.edge.snapshot import Snapshot
from fairway.kube.api.config import ConfigMap, Secret
from fairway.kube.api.ingresses import Ingress, IngressClass
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.resource import CONFIG_MAPS, ENDPOINT_SLICES, INGRESS_CLASSES, INGRESSES, SECRETS, SERVICES
from fairway.kube.api.services import EndpointSlice, Service
from fairway.kube.client.client import ApiClient
from fairway.kube.reconcile.cache import Cache
from fairway.kube.reconcile.reflector import Reflector
from fairway.toolkit.clock import Clock
from fairway.toolkit.persistent_map import PersistentMap

T = TypeVar("T")


class Sources:
    """Everything from the API; a snapshot costs what changed since the one before."""

    def __init__(self, client: ApiClient, clock: Clock) -> None:
        ingresses = Reflector(client, INGRESSES, Ingress, clock)
        classes = Reflector(client, INGRESS_CLASSES, IngressClass, clock)
        services = Reflector(client, SERVICES, Service, clock)
        slices = Reflector(client, ENDPOINT_SLICES, EndpointSlice, clock)
        # Passwords and authorities are in Secrets of any type; those of Helm are many, large and never asked for.
        secrets = Reflector(client, SECRETS, Secret, clock, fields="type!=helm.sh/release.v1")
        config_maps = Reflector(client, CONFIG_MAPS, ConfigMap, clock)
        self.all: tuple[Reflector[Any], ...] = (ingresses, classes, services, slices, secrets, config_maps)
        self._classes = classes.cache
        self._ingresses = Followed(ingresses.cache)
        self._services = Followed(services.cache)
        self._secrets = Followed(secrets.cache)
        self._config_maps = Followed(config_maps.cache)
        self._slices = ByService(slices.cache)

    def subscribe(self, subscriber: Callable[..., None]) -> None:
        """Call `subscriber` for every change from now on, after a snapshot would hold it."""
        for source in self.all:
            source.cache.subscribe(subscriber)

    def take(self) -> Snapshot:
        """What they hold now."""
        return Snapshot(
            ingresses=self._ingresses.take(),
            classes={item.metadata.name: item for item in self._classes.values()},
            services=self._services.take(),
            slices=self._slices.take(),
            secrets=self._secrets.take(),
            config_maps=self._config_maps.take(),
        )


class Followed(Generic[T]):
    """A cache as one map after the other."""

    def __init__(self, cache: Cache[T]) -> None:
        self._taken: PersistentMap[ObjectKey, T] = PersistentMap()
        self._new: dict[ObjectKey, T] = {}
        self._gone: set[ObjectKey] = set()
        cache.subscribe(self._change)

    def take(self) -> PersistentMap[ObjectKey, T]:
        """What it holds now."""
        if self._new or self._gone:
            self._taken = self._taken.change(self._new, self._gone)
            self._new, self._gone = {}, set()
        return self._taken

    def _change(self, key: ObjectKey, _: T | None, new: T | None) -> None:
        if new is None:
            self._new.pop(key, None)
            self._gone.add(key)
        else:
            self._new[key] = new


class ByService:
    """The slices of a cache by the Service they belong to, each in order of names."""

    def __init__(self, cache: Cache[EndpointSlice]) -> None:
        self._taken: PersistentMap[ObjectKey, tuple[EndpointSlice, ...]] = PersistentMap()
        self._found: dict[ObjectKey, dict[str, EndpointSlice]] = {}
        self._touched: set[ObjectKey] = set()
        cache.subscribe(self._change)

    def take(self) -> PersistentMap[ObjectKey, tuple[EndpointSlice, ...]]:
        """What it holds now."""
        if self._touched:
            new = {key: _ordered(self._found[key]) for key in self._touched if key in self._found}
            self._taken = self._taken.change(new, self._touched)
            self._touched = set()
        return self._taken

    def _change(self, _: ObjectKey, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        for item in (old, new):
            if item is None:
                continue
            key = ObjectKey(item.metadata.namespace, item.service_name)
            self._touched.add(key)
            slices = self._found.setdefault(key, {})
            slices.pop(item.metadata.name, None)
            if item is new:
                slices[item.metadata.name] = item
            if not slices:
                del self._found[key]


def _ordered(slices: dict[str, EndpointSlice]) -> tuple[EndpointSlice, ...]:
    return tuple(slices[name] for name in sorted(slices))
