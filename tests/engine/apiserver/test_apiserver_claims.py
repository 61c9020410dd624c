"""What a claim may ask for once it exists (PersistentVolumeClaimResize and the validation of claims)."""

from typing import Any

import pytest

_CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
_CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
_FROZEN = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
_RIGID = (
    'persistentvolumeclaims "data" is forbidden: only dynamically provisioned pvc can be resized and the storageclass '
    "that provisions the pvc must support resize"
)


def size(storage: str) -> dict[str, Any]:
    return {"spec": {"resources": {"requests": {"storage": storage}}}}


async def claim(api: Any, *, grows: bool | None, phase: str = "Bound") -> None:
    """A claim `data` of 2Mi, of a class that may grow, may not, or (None) is not there."""
    if grows is not None:
        metadata = {"name": "disk"}
        await api.create(_CLASSES, {"metadata": metadata, "provisioner": "x/y", "allowVolumeExpansion": grows})
    spec = {"storageClassName": "disk", "accessModes": ["ReadWriteOnce"], **size("2Mi")["spec"]}
    await api.create(_CLAIMS, {"metadata": {"name": "data"}, "spec": spec})
    await api.patch(f"{_CLAIMS}/data/status", {"status": {"phase": phase, "capacity": {"storage": "2Mi"}}})


@pytest.mark.parametrize(
    ("grows", "phase", "patch", "status", "says"),
    [
        (True, "Bound", size("4Mi"), 200, "None"),
        (True, "Bound", size("2048Ki"), 200, "None"),  # the same size in other words
        (False, "Bound", size("4Mi"), 403, _RIGID),
        (None, "Bound", size("4Mi"), 403, _RIGID),
        (True, "Pending", size("4Mi"), 422, _FROZEN),
        (True, "Bound", size("1Mi"), 422, "field can not be less than status.capacity"),
        (True, "Bound", {"spec": {"volumeMode": "Block"}}, 422, _FROZEN),
        (True, "Bound", {"spec": {"accessModes": ["ReadOnlyMany"]}}, 422, _FROZEN),
        (False, "Bound", {"metadata": {"labels": {"a": "b"}}}, 200, "None"),
        (True, "Pending", {"spec": {"volumeName": "by-the-binder"}}, 200, "None"),
    ],
)
async def test_a_claim_changes_only_as_it_may(
    api: Any, grows: bool | None, phase: str, patch: dict[str, Any], status: int, says: str
) -> None:
    await claim(api, grows=grows, phase=phase)
    answer = await api.call("PATCH", f"{_CLAIMS}/data", patch, "application/merge-patch+json")
    assert (answer.status, says in answer.message) == (status, True), answer.body
