"""What one decision about a claim is made from."""

from collections.abc import Mapping

import msgspec

from fairway.kube.api.pods import Pod
from fairway.kube.api.statefulsets import PersistentVolumeClaim
from fairway.kube.api.storage import PersistentVolume, StorageClass


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One claim, every volume and class, the pods that use the claim and have not ended, the names of the nodes."""

    claim: PersistentVolumeClaim
    volumes: tuple[PersistentVolume, ...] = ()
    classes: Mapping[str, StorageClass] = {}
    pods: tuple[Pod, ...] = ()
    nodes: tuple[str, ...] = ()

    def volume(self, name: str) -> PersistentVolume | None:
        """The volume of that name."""
        return next((volume for volume in self.volumes if volume.metadata.name == name), None)


class SeenVolume(msgspec.Struct, frozen=True, kw_only=True):
    """One volume, and the claim that it names if that exists with the same uid."""

    volume: PersistentVolume
    claim: PersistentVolumeClaim | None = None
