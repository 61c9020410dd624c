"""PersistentVolume, StorageClass, and what a claim asks for (documentation "Persistent Volumes")."""

from collections.abc import Mapping
from typing import Any

import msgspec

from fairway.kube.api.meta import LabelSelector, ObjectMeta, ObjectReference
from fairway.kube.api.noun import Noun, decode
from fairway.kube.api.pods import Pod, ResourceRequirements
from fairway.kube.api.statefulsets import PersistentVolumeClaim

CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
HOSTNAME = "kubernetes.io/hostname"


class ClaimSpec(Noun, frozen=True):
    """`spec` of a PersistentVolumeClaim; no `storage_class_name` means the default class, "" none at all."""

    access_modes: tuple[str, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    selector: LabelSelector | None = None
    storage_class_name: str | None = None
    volume_mode: str = "Filesystem"
    volume_name: str = ""


class PathSource(Noun, frozen=True):
    """A folder of the node; `type` is hostPath's."""

    path: str
    type: str = ""


class PersistentVolumeSpec(Noun, frozen=True):
    """Sources other than hostPath and local are not mounted by this engine."""

    access_modes: tuple[str, ...] = ()
    capacity: Mapping[str, str | int] = {}
    claim_ref: ObjectReference | None = None
    persistent_volume_reclaim_policy: str = "Retain"
    storage_class_name: str = ""
    volume_mode: str = "Filesystem"
    host_path: PathSource | None = None
    local: PathSource | None = None
    node_affinity: Mapping[str, Any] | None = None


class PersistentVolumeStatus(Noun, frozen=True):
    phase: str = ""
    message: str = ""


class PersistentVolume(Noun, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: PersistentVolumeSpec = PersistentVolumeSpec()
    status: PersistentVolumeStatus = PersistentVolumeStatus()


class StorageClass(Noun, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    provisioner: str = ""
    reclaim_policy: str = "Delete"
    volume_binding_mode: str = "Immediate"
    allow_volume_expansion: bool = False
    parameters: Mapping[str, str] = {}


def asked(claim: PersistentVolumeClaim) -> ClaimSpec:
    """What a claim asks for; the old annotation names the class where it is there."""
    spec = decode(ClaimSpec, claim.spec)
    named = claim.metadata.annotations.get(CLASS_ANNOTATION)
    return spec if named is None else msgspec.structs.replace(spec, storage_class_name=named)


def class_of(volume: PersistentVolume) -> str:
    """The class that a volume belongs to, "" for none."""
    return volume.metadata.annotations.get(CLASS_ANNOTATION, volume.spec.storage_class_name)


def claims_of(pod: Pod) -> frozenset[str]:
    """The names of the claims that a pod mounts."""
    sources = (volume.persistent_volume_claim for volume in pod.spec.volumes)
    return frozenset(str(source.get("claimName", "")) for source in sources if source is not None)
