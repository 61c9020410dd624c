"""A new Ingress without a class gets the default one (DefaultIngressClass)."""

from fairway.engine.apiserver.admission.review import CREATE, Review
from fairway.engine.apiserver.store import Entry

_INGRESSES = "networking.k8s.io/ingresses"
_CLASSES = "networking.k8s.io/ingressclasses"
_DEFAULT = "ingressclass.kubernetes.io/is-default-class"
_LEGACY = "kubernetes.io/ingress.class"


def admit(review: Review) -> None:
    """Name the default class where none is named."""
    if review.operation != CREATE or review.key.resource != _INGRESSES or review.subresource or review.obj is None:
        return
    spec = review.obj.setdefault("spec", {})
    annotations = review.obj["metadata"].get("annotations") or {}
    if spec.get("ingressClassName") is not None or _LEGACY in annotations:
        return
    defaults = [entry for entry in review.store.select(_CLASSES) if _is_default(entry)]
    if defaults:
        spec["ingressClassName"] = _newest(defaults).key.name


def _is_default(entry: Entry) -> bool:
    annotations = entry.object()["metadata"].get("annotations") or {}
    return bool(annotations.get(_DEFAULT) == "true")


def _newest(entries: list[Entry]) -> Entry:
    """Of several defaults the one created last; of those created together the first by name."""
    by_name = sorted(entries, key=lambda entry: entry.key.name)
    return max(by_name, key=lambda entry: str(entry.object()["metadata"].get("creationTimestamp") or ""))
