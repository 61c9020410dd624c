"""The registry as plain Kubernetes objects: Service kube-system/registry and the slice behind it."""

from typing import Any

from fairway.kube.api.resource import ENDPOINT_SLICES, SERVICES, Resource
from fairway.registry import config

FIELD_MANAGER = "fairway-registry"
Raw = dict[str, Any]


def service(wanted: config.Service) -> Raw:
    """A Service without a selector: its slice is written here."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": wanted.name,
            "namespace": wanted.namespace,
            "labels": {"app.kubernetes.io/name": "fairway-registry", "kubernetes.io/cluster-service": "true"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": wanted.cluster_ip,
            "clusterIPs": [wanted.cluster_ip],
            "ports": [{"name": "https", "protocol": "TCP", "port": wanted.port, "targetPort": wanted.target_port}],
        },
    }


def endpoint_slice(wanted: config.Service) -> Raw:
    """Where the registry really listens."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": wanted.name,
            "namespace": wanted.namespace,
            "labels": {
                "kubernetes.io/service-name": wanted.name,
                "endpointslice.kubernetes.io/managed-by": FIELD_MANAGER,
            },
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [wanted.address], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "protocol": "TCP", "port": wanted.target_port}],
    }


def objects(wanted: config.Service) -> tuple[tuple[Resource, Raw], ...]:
    """What `Kept` keeps."""
    return ((SERVICES, service(wanted)), (ENDPOINT_SLICES, endpoint_slice(wanted)))
