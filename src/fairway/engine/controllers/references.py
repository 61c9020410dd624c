"""An object as its dependents and its events name it."""

from fairway.kube.api.meta import ObjectMeta, ObjectReference, OwnerReference
from fairway.kube.api.resource import Resource


def owner_reference(kind: Resource, metadata: ObjectMeta) -> OwnerReference:
    """The object as the controller of what it makes."""
    return OwnerReference(
        api_version=kind.api_version,
        kind=kind.kind,
        name=metadata.name,
        uid=metadata.uid,
        controller=True,
        block_owner_deletion=True,
    )


def object_reference(kind: Resource, metadata: ObjectMeta) -> ObjectReference:
    """The object as events name it."""
    return ObjectReference(
        api_version=kind.api_version,
        kind=kind.kind,
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        resource_version=metadata.resource_version,
    )
