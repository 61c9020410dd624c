"""The claims of a StatefulSet's pods: what they are called, what they ask for, who owns them."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from fairway.engine.controllers.references import owner_reference
from fairway.engine.controllers.statefulset.snapshot import Snapshot, ordinal_of
from fairway.kube.api.meta import OwnerReference
from fairway.kube.api.noun import without_nulls
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import PODS, STATEFUL_SETS
from fairway.kube.api.statefulsets import PersistentVolumeClaim, StatefulSet


class CreateClaim(msgspec.Struct, frozen=True):
    """Make this claim (raw JSON) for a pod."""

    claim: Mapping[str, Any]
    pod_name: str

    @property
    def name(self) -> str:
        return str(self.claim["metadata"]["name"])


class OwnClaim(msgspec.Struct, frozen=True):
    """Give a claim these owners: whose end is its end."""

    claim: PersistentVolumeClaim
    owners: tuple[OwnerReference, ...]


def claim_name(template: Mapping[str, Any], stateful_set: StatefulSet, ordinal: int) -> str:
    """`data-web-0`."""
    return f"{template['metadata']['name']}-{stateful_set.metadata.name}-{ordinal}"


def missing(seen: Snapshot, ordinal: int) -> tuple[CreateClaim, ...]:
    """The claims that a pod needs and that are not there."""
    known = {claim.metadata.name for claim in seen.claims}
    pod_name = f"{seen.stateful_set.metadata.name}-{ordinal}"
    drafts = (_draft(seen.stateful_set, template, ordinal) for template in seen.spec.volume_claim_templates)
    return tuple(CreateClaim(draft, pod_name) for draft in drafts if draft["metadata"]["name"] not in known)


def any_leaving(seen: Snapshot, ordinal: int) -> bool:
    """Whether a claim that the pod needs is on its way out: a pod that uses it would never start."""
    return any(claim.metadata.deletion_timestamp is not None for claim in _claims(seen, ordinal))


def to_own(seen: Snapshot) -> tuple[OwnClaim, ...]:
    """Claims whose owners are not what the retention policy says (KEP-1847)."""
    pods: Iterable[Pod] = (*(pod for pod in seen.wanted.values() if pod is not None), *seen.condemned)
    found: list[OwnClaim] = []
    for pod in pods:
        ordinal = ordinal_of(seen.stateful_set, pod)
        for claim in _claims(seen, ordinal) if ordinal is not None else ():
            owners = _owners(seen, claim, pod, condemned=ordinal not in seen.ordinals)
            if owners != claim.metadata.owner_references and claim.metadata.deletion_timestamp is None:
                found.append(OwnClaim(claim, owners))
    return tuple(found)


def volumes(stateful_set: StatefulSet, ordinal: int, given: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The pod's volumes: its claims replace volumes of the same name."""
    own = {
        template["metadata"]["name"]: claim_name(template, stateful_set, ordinal)
        for template in stateful_set.spec.volume_claim_templates
    }
    claimed = [{"name": name, "persistentVolumeClaim": {"claimName": claim}} for name, claim in own.items()]
    return [*claimed, *(volume for volume in given if volume["name"] not in own)]


def _claims(seen: Snapshot, ordinal: int) -> tuple[PersistentVolumeClaim, ...]:
    names = {claim_name(template, seen.stateful_set, ordinal) for template in seen.spec.volume_claim_templates}
    return tuple(claim for claim in seen.claims if claim.metadata.name in names)


def _owners(seen: Snapshot, claim: PersistentVolumeClaim, pod: Pod, *, condemned: bool) -> tuple[OwnerReference, ...]:
    """A foreign controller keeps what it has; otherwise the set, or the pod that is about to go, or nobody."""
    policy, metadata = seen.spec.persistent_volume_claim_retention_policy, seen.stateful_set.metadata
    current = claim.metadata.owner_references
    ours = {metadata.uid, pod.metadata.uid}
    if any(owner.controller and owner.uid not in ours and owner.kind != "Pod" for owner in current):
        return current
    foreign = tuple(owner for owner in current if owner.kind not in ("StatefulSet", "Pod") or not owner.controller)
    wanted: tuple[OwnerReference, ...] = ()
    if condemned and policy.when_scaled == "Delete":
        wanted = (owner_reference(PODS, pod.metadata),)
    elif policy.when_deleted == "Delete":
        wanted = (owner_reference(STATEFUL_SETS, metadata),)
    return (*foreign, *wanted)


def _draft(stateful_set: StatefulSet, template: Mapping[str, Any], ordinal: int) -> dict[str, Any]:
    plain = without_nulls(template)
    given = plain["metadata"]
    metadata = {key: given[key] for key in ("annotations", "finalizers") if given.get(key)}
    labels = {**given.get("labels", {}), **stateful_set.spec.selector.match_labels}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": claim_name(template, stateful_set, ordinal),
            "namespace": stateful_set.metadata.namespace,
            "labels": labels,
            **metadata,
        },
        "spec": plain.get("spec", {}),
    }
