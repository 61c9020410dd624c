"""How the API server itself writes roles: the way of everybody's writes."""

from fairway.engine.apiserver.registry import Body, DeleteOptions, Registry, WriteOptions
from fairway.engine.apiserver.resources import Kind
from fairway.engine.apiserver.store.entries import Object

_OPTIONS = WriteOptions(field_manager="kube-apiserver", field_validation="Strict")


class RolesWriter:
    """Cluster-wide objects of the RBAC group. All methods raise ApiError."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def create(self, resource: str, obj: Object) -> None:
        await self._registry.create(self._kind(resource), "", Body(obj), _OPTIONS)

    async def update(self, resource: str, obj: Object) -> None:
        await self._registry.update(self._kind(resource), "", obj["metadata"]["name"], Body(obj), _OPTIONS)

    async def delete(self, resource: str, name: str) -> None:
        await self._registry.delete(self._kind(resource), "", name, DeleteOptions())

    def _kind(self, resource: str) -> Kind:
        group, _, plural = resource.partition("/")
        kind = self._registry.kinds.find(group, "v1", plural)
        assert kind is not None, resource
        return kind
