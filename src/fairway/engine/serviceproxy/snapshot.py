"""One consistent picture of every Service and its EndpointSlices."""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.services import EndpointSlice, Service


class Facts(msgspec.Struct, frozen=True):
    """A Service and the slices that name it."""

    service: Service
    slices: tuple[EndpointSlice, ...] = ()


Snapshot = Mapping[ObjectKey, Facts]
"""Services by key; a Service that did not change keeps the identical Facts from one snapshot to the next."""


def take(
    before: Snapshot,
    changed: Iterable[ObjectKey],
    service_of: Callable[[ObjectKey], Service | None],
    slices_of: Callable[[ObjectKey], tuple[EndpointSlice, ...]],
) -> Snapshot:
    """The picture before, with the Services named in `changed` looked at again."""
    picture = dict(before)
    for key in changed:
        service = service_of(key)
        if service is None:
            picture.pop(key, None)
        else:
            picture[key] = Facts(service, slices_of(key))
    return picture


def owner(part: EndpointSlice) -> ObjectKey | None:
    """The Service that a slice belongs to, by its label."""
    return ObjectKey(part.metadata.namespace, part.service_name) if part.service_name else None
