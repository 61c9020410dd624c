"""Which existing volume suits a claim best (upstream `findBestMatchForClaim`)."""

from collections.abc import Iterable
from decimal import Decimal

from fairway.kube.api import quantities, selectors
from fairway.kube.api.statefulsets import PersistentVolumeClaim
from fairway.kube.api.storage import ClaimSpec, PersistentVolume, asked, class_of


def best(claim: PersistentVolumeClaim, volumes: Iterable[PersistentVolume]) -> PersistentVolume | None:
    """One that was made for this claim, else the smallest free one that is large enough."""
    free = []
    for volume in volumes:
        if volume.metadata.deletion_timestamp is not None or problem(claim, volume):
            continue
        if is_reserved(claim, volume):
            return volume
        if volume.spec.claim_ref is None and volume.status.phase == "Available" and _selected(asked(claim), volume):
            free.append(volume)
    return min(free, key=lambda volume: (capacity(volume), volume.metadata.name), default=None)


def is_reserved(claim: PersistentVolumeClaim, volume: PersistentVolume) -> bool:
    """Whether a volume names this claim, by uid or, made by hand, without one."""
    reference = volume.spec.claim_ref
    if reference is None:
        return False
    metadata = claim.metadata
    same = (reference.namespace, reference.name) == (metadata.namespace, metadata.name)
    return same and reference.uid in ("", metadata.uid)


def problem(claim: PersistentVolumeClaim, volume: PersistentVolume) -> str:
    """Why a volume does not satisfy a claim, in upstream's words; "" when it does."""
    spec = asked(claim)
    if capacity(volume) < quantities.parse(spec.resources.requests.get("storage", 0)):
        return "requested PV is too small"
    if class_of(volume) != (spec.storage_class_name or ""):
        return "storageClassName does not match"
    if volume.spec.volume_mode != spec.volume_mode:
        return "incompatible volumeMode"
    if not set(spec.access_modes) <= set(volume.spec.access_modes):
        return "incompatible accessMode"
    return ""


def capacity(volume: PersistentVolume) -> Decimal:
    """Its size in bytes."""
    return quantities.parse(volume.spec.capacity.get("storage", 0))


def _selected(spec: ClaimSpec, volume: PersistentVolume) -> bool:
    return spec.selector is None or selectors.from_object(spec.selector).matches(volume.metadata.labels)
