"""The endpoint as plain Kubernetes objects: a Service, the slice behind it, and an Ingress on the platform's domain."""

from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from fairway.delivery.config import Config
from fairway.delivery.kinds.resources import FIELD_MANAGER, MANAGED_BY, MANAGED_BY_LABEL
from fairway.kube.api.resource import ENDPOINT_SLICES, INGRESSES, SERVICES, Resource

Raw = dict[str, Any]
PUBLIC_URL_ANNOTATION = "fairway.dev/public-url"
"""On the Service: the address by which people and forges reach the endpoint."""

_LABELS = {MANAGED_BY_LABEL: MANAGED_BY, "app.kubernetes.io/name": "fairway-delivery"}
_ANNOTATIONS = {
    # A push is as large as it is (git has a limit of its own) and its answer lasts as long as the build.
    "nginx.ingress.kubernetes.io/proxy-body-size": "0",
    "nginx.ingress.kubernetes.io/proxy-request-buffering": "off",
    "nginx.ingress.kubernetes.io/proxy-buffering": "off",
    "nginx.ingress.kubernetes.io/proxy-read-timeout": "7200",
    "nginx.ingress.kubernetes.io/proxy-send-timeout": "7200",
}


def host(config: Config) -> str:
    """The name by which people and forges find it; empty when they use an address, which no Ingress can serve."""
    name = urlsplit(config.public_url).hostname or ""
    try:
        ip_address(name)
    except ValueError:
        return name
    return ""


def objects(config: Config) -> tuple[tuple[Resource, Raw], ...]:
    """What `Kept` keeps."""
    metadata = {"name": config.service, "namespace": config.namespace, "labels": _LABELS}
    ingress = ((INGRESSES, _ingress(metadata, config)),) if host(config) else ()
    return (
        (SERVICES, _service({**metadata, "annotations": {PUBLIC_URL_ANNOTATION: config.public_url}})),
        (ENDPOINT_SLICES, _slice(metadata, config)),
        *ingress,
    )


def _service(metadata: Raw) -> Raw:
    ports = [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 80}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"type": "ClusterIP", "ports": ports}}


def _slice(metadata: Raw, config: Config) -> Raw:
    labels = {
        **_LABELS,
        "kubernetes.io/service-name": config.service,
        "endpointslice.kubernetes.io/managed-by": FIELD_MANAGER,
    }
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {**metadata, "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [config.endpoint_address], "conditions": {"ready": True}}],
        "ports": [{"name": "http", "protocol": "TCP", "port": config.endpoint_port}],
    }


def _ingress(metadata: Raw, config: Config) -> Raw:
    name = host(config)
    backend = {"service": {"name": config.service, "port": {"name": "http"}}}
    rule = {"host": name, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    tls = [{"hosts": [name], "secretName": f"{config.service}-tls"}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {**metadata, "annotations": _ANNOTATIONS},
        "spec": {"rules": [rule]} | ({"tls": tls} if config.public_url.startswith("https:") else {}),
    }
