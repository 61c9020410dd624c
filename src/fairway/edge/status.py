"""What the edge reports back: the addresses of Ingresses and Events for what is wrong."""

from collections.abc import Iterable

import msgspec

from fairway.edge.ir import Problem
from fairway.edge.snapshot import Snapshot
from fairway.edge.translate.translation import Translation
from fairway.kube.api.ingresses import IngressLoadBalancerIngress, IngressLoadBalancerStatus, IngressStatus
from fairway.kube.api.meta import ObjectKey, ObjectMeta, ObjectReference
from fairway.toolkit.persistent_map import differences


class StatusChange(msgspec.Struct, frozen=True):
    """An Ingress whose status should become this."""

    ingress: ObjectKey
    status: IngressStatus


class Complaint(msgspec.Struct, frozen=True):
    """An Event to be written."""

    regarding: ObjectReference
    reason: str
    message: str


def changes(
    snapshot: Snapshot, translation: Translation, addresses: tuple[str, ...], keys: Iterable[ObjectKey] | None = None
) -> tuple[StatusChange, ...]:
    """The Ingresses, of all or of `keys`, that are served but do not say where."""
    wanted = IngressStatus(IngressLoadBalancerStatus(tuple(_address(text) for text in addresses)))
    served = translation.readings.served
    found = ((key, snapshot.ingresses.get(key)) for key in (served if keys is None else keys) if key in served)
    return tuple(StatusChange(key, wanted) for key, ingress in found if ingress and ingress.status != wanted)


def touched(before: Snapshot, after: Snapshot, old: Translation, new: Translation) -> set[ObjectKey]:
    """The Ingresses whose status may have to be another."""
    objects = differences(before.ingresses, after.ingresses)
    return {*objects, *differences(old.readings.served, new.readings.served)}


def complaints(snapshot: Snapshot, before: Iterable[Problem], after: Iterable[Problem]) -> tuple[Complaint, ...]:
    """Events for the problems that are new; one that stays was told already."""
    known = set(before)
    found = []
    for problem in after:
        if problem in known:
            continue
        if ingress := snapshot.ingresses.get(problem.ingress):
            reference = _reference("networking.k8s.io/v1", "Ingress", ingress.metadata)
        elif config := snapshot.config_maps.get(problem.ingress):
            reference = _reference("v1", "ConfigMap", config.metadata)  # one of the controller's own
        else:
            continue
        found.append(Complaint(reference, problem.reason, problem.message))
    return tuple(found)


def _reference(api_version: str, kind: str, meta: ObjectMeta) -> ObjectReference:
    return ObjectReference(
        api_version=api_version,
        kind=kind,
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        resource_version=meta.resource_version,
    )


def _address(text: str) -> IngressLoadBalancerIngress:
    is_ip = ":" in text or text.replace(".", "").isdigit()
    return IngressLoadBalancerIngress(ip=text) if is_ip else IngressLoadBalancerIngress(hostname=text)
