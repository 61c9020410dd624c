"""A new claim that says nothing of a storage class gets the default one (DefaultStorageClass)."""

from fairway.engine.apiserver.admission.review import CREATE, Review
from fairway.engine.apiserver.store import Entry

_CLAIMS = "persistentvolumeclaims"
_CLASSES = "storage.k8s.io/storageclasses"
_DEFAULT = "storageclass.kubernetes.io/is-default-class"
_LEGACY = "volume.beta.kubernetes.io/storage-class"


def admit(review: Review) -> None:
    """Name the default class where none is named; an empty name asks for no class."""
    if review.operation != CREATE or review.key.resource != _CLAIMS or review.subresource or review.obj is None:
        return
    spec = review.obj.setdefault("spec", {})
    if spec.get("storageClassName") is not None or _LEGACY in (review.obj["metadata"].get("annotations") or {}):
        return
    defaults = [entry for entry in review.store.select(_CLASSES) if _is_default(entry)]
    if defaults:
        spec["storageClassName"] = _newest(defaults).key.name


def _is_default(entry: Entry) -> bool:
    annotations = entry.object()["metadata"].get("annotations") or {}
    return bool(annotations.get(_DEFAULT) == "true")


def _newest(entries: list[Entry]) -> Entry:
    """Of several defaults the one created last; of those created together the first by name."""
    by_name = sorted(entries, key=lambda entry: entry.key.name)
    return max(by_name, key=lambda entry: str(entry.object()["metadata"].get("creationTimestamp") or ""))
