"""Pods get the usual requests and limits of their namespace, and stay within its bounds (LimitRanger)."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.admission.review import CREATE, UPDATE, Review
from fairway.engine.apiserver.store.entries import Object
from fairway.kube.api import quantities
from fairway.kube.api.noun import decode
from fairway.kube.api.pod_resources import limits, requests
from fairway.kube.api.pods import Pod

_LIMIT_RANGES = "limitranges"
_ANNOTATION = "kubernetes.io/limit-ranger"

Quantities = Mapping[str, Any]


def admit(review: Review) -> None:
    """Fill and check. Raises ApiError."""
    if review.obj is None:
        return
    if review.key.resource == "pods" and review.subresource == "resize":
        _check_pod(review, review.obj, tuple(_items(review)))
    if review.subresource:
        return
    if review.key.resource == "pods" and review.operation == CREATE:
        _admit_pod(review, review.obj)
    elif review.key.resource == "persistentvolumeclaims" and review.operation in (CREATE, UPDATE):
        resources = (review.obj.get("spec") or {}).get("resources") or {}
        items = (item for item in _items(review) if item.get("type") == "PersistentVolumeClaim")
        _refuse(review, [text for item in items for text in _claim(item, resources.get("requests") or {})])


def _admit_pod(review: Review, pod: Object) -> None:
    items = tuple(_items(review))
    for item in items:
        if item.get("type") == "Container":
            _fill(pod, item)
    _check_pod(review, pod, items)


def _check_pod(review: Review, pod: Object, items: Iterable[Object]) -> None:
    try:
        _refuse(review, [text for item in items for text in _pod(item, pod)])
    except (ValueError, msgspec.ValidationError):
        return  # amounts that cannot be read are refused by the pod's validation, in better words


def _items(review: Review) -> Iterable[Object]:
    for entry in review.store.select_latest(_LIMIT_RANGES, review.key.namespace):
        yield from (entry.object().get("spec") or {}).get("limits") or ()


def _containers(pod: Object) -> list[Object]:
    spec = pod.get("spec") or {}
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]


def _fill(pod: Object, item: Object) -> None:
    """Usual requests and limits, where a container says nothing; an annotation tells which."""
    told: list[str] = []
    for word, containers in (
        ("container", (pod.get("spec") or {}).get("containers") or ()),
        ("init container", (pod.get("spec") or {}).get("initContainers") or ()),
    ):
        for container in containers:
            for field, source, short in (("requests", "defaultRequest", "request"), ("limits", "default", "limit")):
                added = _add(container, field, item.get(source) or {})
                if added:
                    told.append(f"{', '.join(added)} {short} for {word} {container.get('name')}")
    if told:
        annotations = pod["metadata"].get("annotations") or {}
        pod["metadata"]["annotations"] = {**annotations, _ANNOTATION: f"LimitRanger plugin set: {'; '.join(told)}"}


def _add(container: Object, field: str, usual: Quantities) -> list[str]:
    if not usual:
        return []
    resources = container.get("resources") or {}
    given = resources.get(field) or {}
    added = sorted(name for name in usual if name not in given)
    if added:
        container["resources"] = {**resources, field: {**given, **{name: usual[name] for name in added}}}
    return added


def _pod(item: Object, pod: Object) -> list[str]:
    """What is wrong with a pod by one item, in upstream's words."""
    found: list[str] = []
    if item.get("type") == "Container":
        for container in _containers(pod):
            resources = container.get("resources") or {}
            asked, most = resources.get("requests") or {}, resources.get("limits") or {}
            found += _bounds(item, "Container", asked, {**most})
    elif item.get("type") == "Pod":
        whole = decode(Pod, pod)
        found += _bounds(item, "Pod", requests(whole), limits(whole))
    return found


def _bounds(item: Object, type: str, asked: Quantities, most: Quantities) -> list[str]:
    found: list[str] = []
    for name, bound in sorted((item.get("min") or {}).items()):
        found += _least(f"minimum {name} usage per {type} is {bound}", bound, asked.get(name), most.get(name))
    for name, bound in sorted((item.get("max") or {}).items()):
        found += _greatest(f"maximum {name} usage per {type} is {bound}", bound, asked.get(name), most.get(name))
    for name, bound in sorted((item.get("maxLimitRequestRatio") or {}).items()):
        says = f"{name} max limit to request ratio per {type} is {bound}"
        found += _ratio(says, bound, asked.get(name), most.get(name))
    return found


def _least(says: str, bound: Any, asked: Any, most: Any) -> list[str]:
    if asked is None:
        return [f"{says}.  No request is specified"]
    if _number(asked) < _number(bound):
        return [f"{says}, but request is {_shown(asked)}"]
    if most is not None and _number(most) < _number(bound):
        return [f"{says}, but limit is {_shown(most)}"]
    return []


def _greatest(says: str, bound: Any, asked: Any, most: Any) -> list[str]:
    if most is None:
        return [f"{says}.  No limit is specified"]
    if _number(most) > _number(bound):
        return [f"{says}, but limit is {_shown(most)}"]
    if asked is not None and _number(asked) > _number(bound):
        return [f"{says}, but request is {_shown(asked)}"]
    return []


def _ratio(says: str, bound: Any, asked: Any, most: Any) -> list[str]:
    if asked is None or not _number(asked):
        return [f"{says}, but no request is specified or request is 0"]
    if most is None or not _number(most):
        return [f"{says}, but no limit is specified or limit is 0"]
    ratio = _number(most) / _number(asked)
    return [f"{says}, but provided ratio is {ratio:.6f}"] if ratio > _number(bound) else []


def _claim(item: Object, asked: Quantities) -> list[str]:
    found: list[str] = []
    for name, bound in sorted((item.get("min") or {}).items()):
        says = f"minimum {name} usage per PersistentVolumeClaim is {bound}"
        found += _least(says, bound, asked.get(name), None)
    for name, bound in sorted((item.get("max") or {}).items()):
        if name in asked and _number(asked[name]) > _number(bound):
            says = f"maximum {name} usage per PersistentVolumeClaim is {bound}"
            found.append(f"{says}, but request is {_shown(asked[name])}")
    return found


def _refuse(review: Review, texts: list[str]) -> None:
    if texts:
        raise errors.forbidden(review.subject, texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")


def _number(amount: Any) -> Decimal:
    return amount if isinstance(amount, Decimal) else quantities.parse(amount)


def _shown(amount: Any) -> str:
    """Sums of a whole pod are numbers by now."""
    if not isinstance(amount, Decimal):
        return str(amount)
    return str(int(amount)) if amount == amount.to_integral_value() else f"{int(amount * 1000)}m"
