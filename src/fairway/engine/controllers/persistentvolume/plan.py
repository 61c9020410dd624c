"""What to do about one claim or one volume (upstream's persistent volume controller, `syncClaim` and `syncVolume`)."""

import msgspec

from fairway.engine.controllers.persistentvolume.matching import best, capacity, is_reserved, problem
from fairway.engine.controllers.persistentvolume.snapshot import Seen, SeenVolume
from fairway.kube.api import quantities
from fairway.kube.api.storage import ClaimSpec, PersistentVolume, StorageClass, asked

PROVISIONER = "fairway.dev/local-path"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
BIND_COMPLETED, BY_CONTROLLER = "pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller"
CLAIM_FINALIZER, VOLUME_FINALIZER = "kubernetes.io/pvc-protection", "kubernetes.io/pv-protection"
_NO_PROVISIONER = "kubernetes.io/no-provisioner"


class Said(msgspec.Struct, frozen=True):
    """An event."""

    type: str
    reason: str
    message: str


class Provision(msgspec.Struct, frozen=True):
    """Make a volume of this class on this node."""

    storage_class: StorageClass
    node: str


class ClaimPlan(msgspec.Struct, frozen=True, kw_only=True):
    """At most one of `bind`, `expand` and `provision`; `phase` is what the status must say, "" leaves it.

    `finalizer` is whether the claim must have its finalizer, None leaves it.
    """

    phase: str = ""
    bind: PersistentVolume | None = None
    expand: PersistentVolume | None = None
    provision: Provision | None = None
    finalizer: bool | None = None
    said: Said | None = None


class VolumePlan(msgspec.Struct, frozen=True, kw_only=True):
    """`reclaim` ends the volume with its data; `unbind` takes away the claim that it was bound to by us."""

    phase: str = ""
    message: str = ""
    reclaim: bool = False
    unbind: bool = False
    finalizer: bool | None = None
    said: Said | None = None


def plan_claim(seen: Seen) -> ClaimPlan:
    """Bound claims keep their volume; others get one that exists, or a new one, or wait."""
    metadata = seen.claim.metadata
    if metadata.deletion_timestamp is not None:
        return ClaimPlan(finalizer=False if CLAIM_FINALIZER in metadata.finalizers and not seen.pods else None)
    plan = _bound(seen) if BIND_COMPLETED in metadata.annotations else _unbound(seen)
    return plan if CLAIM_FINALIZER in metadata.finalizers else msgspec.structs.replace(plan, finalizer=True)


def _bound(seen: Seen) -> ClaimPlan:
    name = asked(seen.claim).volume_name
    volume = seen.volume(name)
    if not name or volume is None:
        message = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
        return ClaimPlan(phase="Lost", said=_warning("ClaimLost", message))
    if volume.spec.claim_ref is None or is_reserved(seen.claim, volume):
        if _may_grow(seen, volume):
            return ClaimPlan(phase="Bound", expand=volume)
        return ClaimPlan(phase="Bound", bind=volume)
    message = "Two claims are bound to the same volume, this one is bound incorrectly"
    return ClaimPlan(phase="Lost", said=_warning("ClaimMisbound", message))


def _may_grow(seen: Seen, volume: PersistentVolume) -> bool:
    """Whether the claim asks for more than the volume has, and the class lets volumes of ours grow."""
    spec = asked(seen.claim)
    storage_class = seen.classes.get(spec.storage_class_name or "")
    ours = volume.metadata.annotations.get(PROVISIONED_BY) == PROVISIONER
    if storage_class is None or not (ours and storage_class.allow_volume_expansion):
        return False
    return quantities.parse(spec.resources.requests.get("storage", 0)) > capacity(volume)


def _unbound(seen: Seen) -> ClaimPlan:
    name = asked(seen.claim).volume_name
    if not name:
        return _search(seen)
    volume = seen.volume(name)
    if volume is None:
        return ClaimPlan(phase="Pending")
    if volume.spec.claim_ref is not None and not is_reserved(seen.claim, volume):
        message = f'volume "{name}" already bound to a different claim.'
        return ClaimPlan(phase="Pending", said=_warning("FailedBinding", message))
    if why := problem(seen.claim, volume):
        message = f'Cannot bind to requested volume "{name}": {why}'
        return ClaimPlan(phase="Pending", said=_warning("VolumeMismatch", message))
    return ClaimPlan(phase="Bound", bind=volume)


def _search(seen: Seen) -> ClaimPlan:
    spec = asked(seen.claim)
    storage_class = seen.classes.get(spec.storage_class_name or "")
    delayed = storage_class is not None and storage_class.volume_binding_mode == "WaitForFirstConsumer"
    node = _node(seen, delayed=delayed)
    reserved = tuple(volume for volume in seen.volumes if is_reserved(seen.claim, volume))
    volume = best(seen.claim, seen.volumes if node or not delayed else reserved)
    if volume is not None:
        return ClaimPlan(phase="Bound", bind=volume)
    if delayed and not node:
        return ClaimPlan(phase="Pending", said=_waiting(seen))
    return _provision(spec, storage_class, node)


def _node(seen: Seen, *, delayed: bool) -> str:
    """Where the volume is made: with its first consumer, or anywhere."""
    if not delayed:
        return seen.nodes[0] if seen.nodes else ""
    return next((pod.spec.node_name for pod in seen.pods if pod.spec.node_name), "")


def _waiting(seen: Seen) -> Said:
    if not seen.pods:
        return Said("Normal", "WaitForFirstConsumer", "waiting for first consumer to be created before binding")
    names = ",".join(sorted(pod.metadata.name for pod in seen.pods))
    return Said("Normal", "WaitForPodScheduled", f"waiting for pod {names} to be scheduled")


def _provision(spec: ClaimSpec, storage_class: StorageClass | None, node: str) -> ClaimPlan:
    if not spec.storage_class_name:
        message = "no persistent volumes available for this claim and no storage class is set"
        return ClaimPlan(phase="Pending", said=Said("Normal", "FailedBinding", message))
    if storage_class is None:
        message = f'storageclass.storage.k8s.io "{spec.storage_class_name}" not found'
        return ClaimPlan(phase="Pending", said=_warning("ProvisioningFailed", message))
    if storage_class.provisioner != PROVISIONER:
        return ClaimPlan(phase="Pending", said=_elsewhere(storage_class))
    if why := _unprovisionable(spec):
        message = f'failed to provision volume with StorageClass "{storage_class.metadata.name}": {why}'
        return ClaimPlan(phase="Pending", said=_warning("ProvisioningFailed", message))
    return ClaimPlan(phase="Pending", provision=Provision(storage_class, node) if node else None)


def _elsewhere(storage_class: StorageClass) -> Said:
    if storage_class.provisioner == _NO_PROVISIONER:
        message = "no persistent volumes available for this claim and its storage class makes none"
        return Said("Normal", "FailedBinding", message)
    message = (
        "Waiting for a volume to be created either by the external provisioner "
        f"'{storage_class.provisioner}' or manually by the system administrator. If volume creation is delayed, "
        "please verify that the provisioner is running and correctly registered."
    )
    return Said("Normal", "ExternalProvisioning", message)


def _unprovisionable(spec: ClaimSpec) -> str:
    if spec.volume_mode != "Filesystem":
        return f"volumeMode {spec.volume_mode} is not supported: use Filesystem"
    if spec.selector is not None:
        return "claim.Spec.Selector is not supported"
    return ""


def plan_volume(seen: SeenVolume) -> VolumePlan:
    """The phase of a volume by its claim, and what becomes of it once that is gone."""
    metadata, plan = seen.volume.metadata, _volume(seen)
    protected = VOLUME_FINALIZER in metadata.finalizers
    if plan.reclaim:
        return plan
    if metadata.deletion_timestamp is not None:
        in_use = seen.claim is not None and plan.phase == "Bound"
        return VolumePlan(finalizer=False if protected and not in_use else None)
    return plan if protected else msgspec.structs.replace(plan, finalizer=True)


def _volume(seen: SeenVolume) -> VolumePlan:
    volume, reference = seen.volume, seen.volume.spec.claim_ref
    if reference is None or not reference.uid:
        return VolumePlan(phase="Available")
    if seen.claim is None:
        return _released(volume)
    name = asked(seen.claim).volume_name
    if name == volume.metadata.name:
        return VolumePlan(phase="Bound")
    if not name:
        return VolumePlan()  # the claim will take it
    if PROVISIONED_BY in volume.metadata.annotations and volume.spec.persistent_volume_reclaim_policy == "Delete":
        return _released(volume)
    return VolumePlan(phase="Available", unbind=True)


def _released(volume: PersistentVolume) -> VolumePlan:
    """Keep it for somebody to look at, or end it with its data."""
    policy = volume.spec.persistent_volume_reclaim_policy
    if policy == "Retain" or volume.status.phase == "Failed":
        return VolumePlan(phase="Released" if policy == "Retain" else "")
    if policy == "Recycle":
        message = "No recycler plugin found for the volume!"
        return VolumePlan(phase="Failed", message=message, said=_warning("VolumeFailedRecycle", message))
    if volume.metadata.annotations.get(PROVISIONED_BY) == PROVISIONER:
        return VolumePlan(phase="Released", reclaim=True)
    name = volume.metadata.name
    message = f'error getting deleter volume plugin for volume "{name}": no deletable volume plugin matched'
    return VolumePlan(phase="Failed", message=message, said=_warning("VolumeFailedDelete", message))


def _warning(reason: str, message: str) -> Said:
    return Said("Warning", reason, message)
