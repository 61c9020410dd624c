"""Pods from templates, in raw JSON."""

from collections.abc import Mapping
from typing import Any

from fairway.kube.api.meta import OwnerReference
from fairway.kube.api.noun import encode, without_nulls

_NAME_LENGTH_MAX = 63


def draft(template: Mapping[str, Any], namespace: str, name: str, owner: OwnerReference) -> dict[str, Any]:
    """A pod of that name; every part may be changed, nothing is shared with the template."""
    plain = without_nulls(template)
    given = plain.get("metadata", {})
    metadata = {
        "name": name,
        "namespace": namespace,
        "labels": given.get("labels", {}),
        "annotations": given.get("annotations", {}),
        "finalizers": given.get("finalizers", []),
        "ownerReferences": [encode(owner)],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": plain.get("spec", {})}


def unique_name(prefix: str, suffix: str) -> str:
    """`prefix` cut so that the whole is a name that a pod may have."""
    return prefix[: _NAME_LENGTH_MAX - len(suffix)] + suffix
