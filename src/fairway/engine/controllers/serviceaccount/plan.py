"""What a namespace lacks of the objects that every namespace has."""

from collections.abc import Mapping
from typing import Any

from fairway.kube.api.config import ConfigMap, Namespace, ServiceAccount

ACCOUNT = "default"
ROOT_CA = "kube-root-ca.crt"
_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


def missing_account(namespace: Namespace, account: ServiceAccount | None) -> Mapping[str, Any] | None:
    """The ServiceAccount to make, if there is none."""
    if account is not None or not is_active(namespace):
        return None
    metadata = {"name": ACCOUNT, "namespace": namespace.metadata.name}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def root_ca(namespace: Namespace, current: ConfigMap | None, pem: str) -> Mapping[str, Any] | None:
    """The ConfigMap with the CA as it should be, if it is not."""
    if not pem or not is_active(namespace) or (current is not None and dict(current.data) == {"ca.crt": pem}):
        return None
    metadata: dict[str, Any] = {
        "name": ROOT_CA,
        "namespace": namespace.metadata.name,
        "annotations": {"kubernetes.io/description": _DESCRIPTION},
    }
    if current is not None:
        metadata["resourceVersion"] = current.metadata.resource_version
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.crt": pem}}


def is_active(namespace: Namespace) -> bool:
    """Whether anything may still be made in a namespace."""
    return namespace.metadata.deletion_timestamp is None
