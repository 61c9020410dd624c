"""A few objects that are always as they were given: what a room needs around itself."""

from collections.abc import Mapping, Sequence
from typing import Any

from fairway.kube.api.meta import ObjectMeta
from fairway.kube.api.noun import Noun
from fairway.kube.api.resource import NAMESPACES, Resource
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import AlreadyExists, NotFound
from fairway.kube.reconcile.reflector import Reflector
from fairway.kube.reconcile.whole import Dirty
from fairway.toolkit.clock import Clock

Raw = Mapping[str, Any]


class _Any(Noun, frozen=True):
    """Only that something changed is of interest."""

    metadata: ObjectMeta = ObjectMeta()


class Kept:
    """Applies its objects whenever one of them changed; applying what is there already changes nothing.

    Give `reflectors` to `run_reflectors`, and `once` to `run_whole` with `dirty`.
    """

    def __init__(
        self, client: ApiClient, objects: Sequence[tuple[Resource, Raw]], clock: Clock, *, field_manager: str
    ) -> None:
        self.dirty = Dirty()
        self._client = client
        self._objects = tuple(objects)
        self._field_manager = field_manager
        self.reflectors = tuple(self._reflector(resource, raw, clock) for resource, raw in self._objects)
        for reflector in self.reflectors:
            reflector.cache.subscribe(self.dirty.mark)

    def _reflector(self, resource: Resource, raw: Raw, clock: Clock) -> Reflector[_Any]:
        metadata = raw["metadata"]
        fields = f"metadata.name={metadata['name']}"
        namespace = metadata.get("namespace", "")
        return Reflector(self._client, resource, _Any, clock, namespace=namespace, fields=fields)

    async def once(self) -> None:
        """Write what is missing or different. Raises ApiError, Unreachable."""
        for resource, raw in self._objects:
            try:
                await self._client.apply(resource, raw, field_manager=self._field_manager)
            except NotFound:
                await self._make_namespace(raw["metadata"]["namespace"])
                await self._client.apply(resource, raw, field_manager=self._field_manager)

    async def _make_namespace(self, name: str) -> None:
        try:
            await self._client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        except AlreadyExists:
            return
