"""What the edge reports back: the addresses of Ingresses and Events for what is wrong."""

from collections.abc import Iterable

import msgspec

from fairway.edge.ir import Problem
from fairway.edge.snapshot import Snapshot
from fairway.edge.translate import Translation
from fairway.kube.api.ingresses import IngressLoadBalancerIngress, IngressLoadBalancerStatus, IngressStatus
from fairway.kube.api.meta import ObjectKey, ObjectMeta, ObjectReference


class StatusChange(msgspec.Struct, frozen=True):
    """An Ingress whose status should become this."""

    ingress: ObjectKey
    status: IngressStatus


class Complaint(msgspec.Struct, frozen=True):
    """An Event to be written."""

    regarding: ObjectReference
    reason: str
    message: str


def changes(snapshot: Snapshot, translation: Translation, addresses: tuple[str, ...]) -> tuple[StatusChange, ...]:
    """The Ingresses that are served but do not say where."""
    wanted = IngressStatus(IngressLoadBalancerStatus(tuple(_address(text) for text in addresses)))
    served = set(translation.served)
    return tuple(
        StatusChange(ingress.metadata.key, wanted)
        for ingress in snapshot.ingresses
        if ingress.metadata.key in served and ingress.status != wanted
    )


def complaints(snapshot: Snapshot, before: Iterable[Problem], after: Iterable[Problem]) -> tuple[Complaint, ...]:
    """Events for the problems that are new; one that stays was told already."""
    known = set(before)
    ingresses = {ingress.metadata.key: ingress.metadata for ingress in snapshot.ingresses}
    found = []
    for problem in after:
        if problem in known:
            continue
        if meta := ingresses.get(problem.ingress):
            reference = _reference("networking.k8s.io/v1", "Ingress", meta)
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
