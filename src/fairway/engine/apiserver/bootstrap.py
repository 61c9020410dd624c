"""What every cluster has from its first second: namespaces, classes of priority, and the API's own Service."""

from typing import Any

import msgspec

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.registry import Body, Registry, WriteOptions
from fairway.engine.apiserver.resources import Kind
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

log = logs.get("apiserver")

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
PRIORITY_CLASSES = {
    "system-cluster-critical": (
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    "system-node-critical": (
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
}
_OPTIONS = WriteOptions(field_manager="kube-apiserver", field_validation="Strict")
_NAME = "kubernetes"
_EVERY_SECONDS = 2.0
_LABELS = {"component": "apiserver", "provider": "kubernetes"}


class Address(msgspec.Struct, frozen=True):
    """The Service's cluster address, and where the API really listens inside the cluster."""

    service: str
    host: str
    port: int


async def bootstrap(registry: Registry, address: Address) -> None:
    """Create what is absent; nothing that exists is changed, except where the API listens now."""
    for name in NAMESPACES:
        await _ensure(registry, "", "namespaces", "", _namespace(name))
    for name, (value, says) in PRIORITY_CLASSES.items():
        await _ensure(registry, "scheduling.k8s.io", "priorityclasses", "", _priority_class(name, value, says))
    await _ensure(registry, "", "services", "default", _service(address))
    await _ensure(registry, "discovery.k8s.io", "endpointslices", "default", _slice(address), renew=True)


async def keep(registry: Registry, address: Address, clock: Clock) -> None:
    """Make it again when somebody deleted it (`kubectl delete service --all`), until cancelled.

    Source: upstream's kubernetesservice controller, which looks every ten seconds.
    """
    while True:
        await clock.sleep(_EVERY_SECONDS)
        try:
            await bootstrap(registry, address)
        except errors.ApiError as error:
            log.warning("bootstrap", error=error, retry_seconds=_EVERY_SECONDS)


async def _ensure(
    registry: Registry, group: str, plural: str, namespace: str, obj: dict[str, Any], *, renew: bool = False
) -> None:
    kind = registry.kinds.find(group, "v1", plural)
    if kind is None:
        return
    name = str(obj["metadata"]["name"])
    if not _exists(registry, kind, namespace, name):
        await registry.create(kind, namespace, Body(obj), _OPTIONS)
    elif renew:
        await registry.update(kind, namespace, name, Body(obj), _OPTIONS)


def _exists(registry: Registry, kind: Kind, namespace: str, name: str) -> bool:
    try:
        registry.get(kind, namespace, name)
    except errors.ApiError:
        return False
    return True


def _namespace(name: str) -> dict[str, Any]:
    return {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}


def _priority_class(name: str, value: int, says: str) -> dict[str, Any]:
    head = {"kind": "PriorityClass", "apiVersion": "scheduling.k8s.io/v1", "metadata": {"name": name}}
    return {**head, "value": value, "description": says}


def _service(address: Address) -> dict[str, Any]:
    return {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {"name": _NAME, "namespace": "default", "labels": _LABELS},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": address.service,
            "sessionAffinity": "None",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": address.port}],
        },
    }


def _slice(address: Address) -> dict[str, Any]:
    return {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"name": _NAME, "namespace": "default", "labels": {"kubernetes.io/service-name": _NAME}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address.host], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": address.port, "protocol": "TCP"}],
    }
