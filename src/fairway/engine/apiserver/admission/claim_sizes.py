"""A claim grows only where its storage class says that volumes may (PersistentVolumeClaimResize)."""

from typing import Any

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.admission.review import UPDATE, Review
from fairway.engine.apiserver.store import Key
from fairway.kube.api import quantities

_CLAIMS = "persistentvolumeclaims"
_CLASSES = "storage.k8s.io/storageclasses"
_LEGACY = "volume.beta.kubernetes.io/storage-class"
_RIGID = (
    "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
)


def admit(review: Review) -> None:
    """Refuse more storage for a claim whose class does not allow it. Raises ApiError 403."""
    if review.operation != UPDATE or review.key.resource != _CLAIMS or review.subresource:
        return
    if review.obj is None or review.old is None or not _grows(review.obj, review.old):
        return
    if (review.old.get("status") or {}).get("phase") != "Bound":
        return  # the validation, which comes after this, refuses every change of a claim that is not bound
    if not _may_grow(review, _class(review.obj), _class(review.old)):
        raise errors.forbidden(review.subject, _RIGID)


def _grows(new: dict[str, Any], old: dict[str, Any]) -> bool:
    wanted, before = _size(new), _size(old)
    return wanted is not None and before is not None and quantities.parse(wanted) > quantities.parse(before)


def _size(claim: dict[str, Any]) -> str | None:
    size: str | None = ((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage")
    return size


def _class(claim: dict[str, Any]) -> str:
    annotations = claim["metadata"].get("annotations") or {}
    return str(annotations.get(_LEGACY) or claim["spec"].get("storageClassName") or "")


def _may_grow(review: Review, new: str, old: str) -> bool:
    entry = review.store.latest(Key(_CLASSES, "", new)) if new and new == old else None
    return entry is not None and bool(entry.object().get("allowVolumeExpansion"))
