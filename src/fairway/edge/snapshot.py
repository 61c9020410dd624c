"""Everything the edge looks at, at one moment."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from fairway.kube.api import noun
from fairway.kube.api.config import ConfigMap, Secret
from fairway.kube.api.ingresses import Ingress, IngressClass
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.noun import Noun
from fairway.kube.api.services import EndpointSlice, Service

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS: Mapping[str, type[Noun]] = {
    kind.__name__: kind for kind in (Ingress, IngressClass, Service, EndpointSlice, Secret, ConfigMap)
}

Precedence = tuple[datetime, str, str]


class Snapshot(msgspec.Struct, frozen=True):
    """Objects by what they are looked up by."""

    ingresses: Mapping[ObjectKey, Ingress] = {}
    classes: Mapping[str, IngressClass] = {}
    services: Mapping[ObjectKey, Service] = {}
    slices: Mapping[ObjectKey, tuple[EndpointSlice, ...]] = {}
    secrets: Mapping[ObjectKey, Secret] = {}
    config_maps: Mapping[ObjectKey, ConfigMap] = {}


def take(
    *,
    ingresses: Iterable[Ingress] = (),
    classes: Iterable[IngressClass] = (),
    services: Iterable[Service] = (),
    slices: Iterable[EndpointSlice] = (),
    secrets: Iterable[Secret] = (),
    config_maps: Iterable[ConfigMap] = (),
) -> Snapshot:
    """Put objects in order, the oldest Ingress first; `slices` are found by the Service they belong to."""
    return Snapshot(
        ingresses={item.metadata.key: item for item in sorted(ingresses, key=precedence)},
        classes={item.metadata.name: item for item in classes},
        services={item.metadata.key: item for item in services},
        slices=_by_service(slices),
        secrets={item.metadata.key: item for item in secrets},
        config_maps={item.metadata.key: item for item in config_maps},
    )


def of_manifests(objects: Iterable[Mapping[str, Any]]) -> Snapshot:
    """The snapshot of a cluster that holds just these raw objects; kinds that the edge does not read are passed over.

    Raises msgspec.ValidationError for a field of the wrong type.
    """
    found: dict[str, list[Any]] = {kind: [] for kind in _KINDS}
    for raw in objects:
        if kind := _KINDS.get(raw.get("kind", "")):
            found[kind.__name__].append(noun.decode(kind, raw))
    return take(
        ingresses=found["Ingress"],
        classes=found["IngressClass"],
        services=found["Service"],
        slices=found["EndpointSlice"],
        secrets=found["Secret"],
        config_maps=found["ConfigMap"],
    )


def precedence(ingress: Ingress) -> Precedence:
    """The older Ingress wins a host and path, as in ingress-nginx; then the name decides."""
    meta = ingress.metadata
    return meta.creation_timestamp or _EPOCH, meta.namespace, meta.name


def _by_service(slices: Iterable[EndpointSlice]) -> dict[ObjectKey, tuple[EndpointSlice, ...]]:
    found: dict[ObjectKey, list[EndpointSlice]] = {}
    for item in slices:
        found.setdefault(ObjectKey(item.metadata.namespace, item.service_name), []).append(item)
    return {key: tuple(sorted(items, key=lambda item: item.metadata.name)) for key, items in found.items()}
