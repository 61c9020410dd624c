"""PersistentVolumeClaims of pods -> the folders of this node behind them."""

from pathlib import Path

from fairway.engine.kubelet.config import Config
from fairway.engine.kubelet.errors import VolumePending, VolumeProblem
from fairway.engine.kubelet.volumes.host_path import host_path
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import HostPathVolume, Pod, Volume
from fairway.kube.api.resource import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from fairway.kube.api.statefulsets import PersistentVolumeClaim
from fairway.kube.api.storage import PersistentVolume, asked
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound


class Claims:
    """Looks a claim up in the API when a pod is set up; what it found holds as long as the pod."""

    def __init__(self, client: ApiClient, config: Config) -> None:
        self._client = client
        self._config = config

    async def folder(self, pod: Pod, volume: Volume) -> tuple[Path, bool]:
        """The folder, and whether fsGroup applies to it (as upstream: to local volumes, not to hostPath ones).

        Raises VolumePending while the claim is not bound, VolumeProblem, ApiError, Unreachable.
        """
        name = str((volume.persistent_volume_claim or {}).get("claimName", ""))
        claim = await self._claim(pod, volume, name)
        bound = asked(claim).volume_name
        if not bound or claim.status.phase != "Bound":
            raise VolumePending(volume.name, f'PersistentVolumeClaim "{name}" is not bound')
        try:
            found = decode(PersistentVolume, await self._client.get(PERSISTENT_VOLUMES, bound))
        except NotFound:
            raise VolumeProblem(volume.name, f'persistentvolume "{bound}" not found') from None
        reference = found.spec.claim_ref
        if reference is None or reference.uid != claim.metadata.uid:
            raise VolumeProblem(volume.name, f'volume "{bound}" is not bound to claim "{name}"')
        return self._path(volume, found), found.spec.local is not None

    async def _claim(self, pod: Pod, volume: Volume, name: str) -> PersistentVolumeClaim:
        try:
            raw = await self._client.get(PERSISTENT_VOLUME_CLAIMS, name, pod.metadata.namespace)
        except NotFound:
            raise VolumeProblem(volume.name, f'persistentvolumeclaim "{name}" not found') from None
        claim = decode(PersistentVolumeClaim, raw)
        if claim.metadata.deletion_timestamp is not None:
            raise VolumeProblem(volume.name, f'persistentvolumeclaim "{name}" is being deleted')
        return claim

    def _path(self, volume: Volume, found: PersistentVolume) -> Path:
        spec = found.spec
        if spec.volume_mode != "Filesystem":
            raise VolumeProblem(volume.name, f"volumeMode {spec.volume_mode} is not supported on this node")
        source = spec.host_path or spec.local
        if source is None:
            message = f'persistentvolume "{found.metadata.name}" has a source that this node cannot mount: use hostPath'
            raise VolumeProblem(volume.name, message)
        made_here = (str(self._config.volumes_dir),) if self._config.volumes_dir is not None else ()
        allowed = (*self._config.host_path_allow_list, *made_here)
        return host_path(volume.name, HostPathVolume(path=source.path, type=source.type), allowed)
