"""Set up the volumes of a pod, keep them up to date, say how containers mount them, take them down."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from fairway.engine.kubelet.config import Config
from fairway.engine.kubelet.environment import expand
from fairway.engine.kubelet.errors import StartRefused, VolumeProblem
from fairway.engine.kubelet.lookup import Lookup
from fairway.engine.kubelet.runtime.model import Mount
from fairway.engine.kubelet.volumes import atomic_folder, payload
from fairway.engine.kubelet.volumes.claims import Claims
from fairway.engine.kubelet.volumes.host_path import host_path, root
from fairway.engine.kubelet.volumes.mounts import Mounts
from fairway.engine.kubelet.volumes.ownership import give_to_group
from fairway.engine.kubelet.volumes.tokens import Tokens
from fairway.kube.api import quantities
from fairway.kube.api.pods import Container, EmptyDirVolume, HostPathVolume, Pod, Volume, VolumeMount
from fairway.kube.client.errors import ApiError
from fairway.toolkit.clock import Clock


class Volumes:
    """The volumes of every pod of this node, each a folder below the pod's own."""

    def __init__(
        self,
        config: Config,
        lookup: Lookup,
        mounts: Mounts,
        clock: Clock,
        allocatable: Mapping[str, str],
        tokens: Tokens,
        claims: Claims,
    ) -> None:
        self._config = config
        self._lookup = lookup
        self._mounts = mounts
        self._clock = clock
        self._allocatable = allocatable
        self._tokens = tokens
        self._claims = claims

    async def prepare(self, pod: Pod) -> None:
        """Set up everything; what is there already is left alone.  Raises VolumeProblem, ApiError, Unreachable."""
        for volume in pod.spec.volumes:
            try:
                await self._prepare(pod, volume)
            except (OSError, ValueError) as error:
                raise VolumeProblem(volume.name, str(error)) from error

    async def refresh(self, pod: Pod) -> bool:
        """Bring generated files up to date; whether any changed.

        A source that has gone meanwhile leaves the last files in place, as upstream does: running programs keep them.
        So does a token that the API refuses.  Raises OSError, Unreachable.
        """
        changed = False
        for volume in pod.spec.volumes:
            if payload.is_generated(volume):
                try:
                    changed |= await self._generate(pod, volume)
                except (VolumeProblem, ApiError):
                    continue
        return changed

    def stale_in(self, pod: Pod) -> float | None:
        """Seconds until `refresh` has something to renew by itself: a token; None when there is none."""
        return self._tokens.stale_in(pod)

    def mounts_of(self, pod: Pod, container: Container, variables: Mapping[str, str]) -> tuple[Mount, ...]:
        """How a container mounts its volumes, parents first.  Raises StartRefused for a path that does not work."""
        volumes = {volume.name: volume for volume in pod.spec.volumes}
        made = []
        for index, mount in enumerate(container.volume_mounts):
            if mount.name not in volumes:
                message = f'container "{container.name}" mounts volume "{mount.name}", which spec.volumes does not have'
                raise StartRefused("CreateContainerConfigError", message)
            made.append(self._mount(pod, container, volumes[mount.name], mount, index, variables))
        return tuple(sorted(made, key=lambda each: each.target.count("/")))

    def discard(self, uid: str) -> None:
        """Unmount everything of a pod and delete its folder.  Blocks; raises OSError."""
        folder = self._config.pod_dir(uid)
        for place in sorted((*folder.glob("subpaths/*/*"), *folder.glob("volumes/*"))):
            if not place.is_symlink():  # a claim's folder: not ours to take down
                self._mounts.release(place)
        shutil.rmtree(folder, ignore_errors=True)

    def _folder(self, pod: Pod, volume: Volume) -> Path:
        return self._config.pod_dir(pod.metadata.uid) / "volumes" / volume.name

    def _sub_path_target(self, pod: Pod, container: Container, index: int) -> Path:
        return self._config.pod_dir(pod.metadata.uid) / "subpaths" / container.name / str(index)

    async def _prepare(self, pod: Pod, volume: Volume) -> None:
        if volume.empty_dir is not None:
            self._empty_dir(pod, volume, volume.empty_dir)
        elif payload.is_generated(volume):
            await self._generate(pod, volume)
        elif volume.host_path is not None:
            host_path(volume.name, volume.host_path, self._config.host_path_allow_list)
        elif volume.persistent_volume_claim is not None:
            await self._claimed(pod, volume)
        else:
            message = "this kind of volume is not supported on this node: use emptyDir, configMap, secret or projected"
            raise VolumeProblem(volume.name, message)

    async def _claimed(self, pod: Pod, volume: Volume) -> None:
        """Point a link at the claim's folder: it tells later starts, and a restarted kubelet, where that is."""
        link = self._folder(pod, volume)
        if link.is_symlink():
            return
        folder, owned = await self._claims.folder(pod, volume)
        if owned:
            self._give(pod, folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(folder)

    def _empty_dir(self, pod: Pod, volume: Volume, source: EmptyDirVolume) -> None:
        folder = self._folder(pod, volume)
        fresh = not folder.exists()
        if source.medium == "Memory":
            size_bytes = quantities.whole(source.size_limit) if source.size_limit else None
            self._mounts.memory(folder, size_bytes or None)
        elif source.medium:
            message = f'emptyDir.medium "{source.medium}" is not supported on this node: use "" or "Memory"'
            raise VolumeProblem(volume.name, message)
        if fresh:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o777)
            self._give(pod, folder)

    def _give(self, pod: Pod, folder: Path) -> None:
        group = pod.spec.security_context.fs_group
        if group is not None:
            give_to_group(folder, group, read_only=False)

    async def _generate(self, pod: Pod, volume: Volume) -> bool:
        folder = self._folder(pod, volume)
        files = payload.files(pod, volume, await self._objects(pod, volume))
        if payload.has_secrets(volume):
            self._mounts.memory(folder, None)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        group = pod.spec.security_context.fs_group
        return atomic_folder.write(folder, files, self._clock.now(), group=group)

    async def _objects(self, pod: Pod, volume: Volume) -> payload.Objects:
        namespace = pod.metadata.namespace
        return payload.Objects(
            config_maps=await self._lookup.config_maps(namespace, payload.config_map_names(volume)),
            secrets=await self._lookup.secrets(namespace, payload.secret_names(volume)),
            tokens=await self._tokens.of(pod, volume),
            allocatable=self._allocatable,
            ip=pod.status.pod_ip,
            host_ip=self._config.node_ip,
        )

    def _mount(
        self,
        pod: Pod,
        container: Container,
        volume: Volume,
        mount: VolumeMount,
        index: int,
        variables: Mapping[str, str],
    ) -> Mount:
        source = self._folder(pod, volume)
        if volume.host_path is not None:
            source = self._pin(pod, container, volume, volume.host_path, index)
        claim = volume.persistent_volume_claim
        if claim is not None:
            source = source.resolve()
        path = mount.sub_path or expand(mount.sub_path_expr, variables)
        if path:
            source = self._sub_path(pod, container, volume, source, path, index)
        read_only = mount.read_only or payload.is_generated(volume) or bool(claim and claim.get("readOnly"))
        return Mount(source=str(source), target=mount.mount_path, read_only=read_only)

    def _pin(self, pod: Pod, container: Container, volume: Volume, source: HostPathVolume, index: int) -> Path:
        """Mount a folder of the node by file descriptor, beneath the allowed one: another pod that may write there
        could put a link in its place meanwhile.  Raises StartRefused."""
        allowed = self._config.host_path_allow_list
        try:
            found = host_path(volume.name, source, allowed)
            top = root(found, allowed) or found
            target = self._sub_path_target(pod, container, index).with_suffix(".host")
            self._mounts.beneath(top, str(found.relative_to(top)), target, create=False, recursive=True)
        except (VolumeProblem, OSError) as error:
            raise StartRefused("CreateContainerConfigError", f'hostPath "{source.path}": {error}') from error
        return target

    def _sub_path(self, pod: Pod, container: Container, volume: Volume, source: Path, path: str, index: int) -> Path:
        """Mount the part of the volume by file descriptor, so that no link in it can be swapped in between."""
        target = self._sub_path_target(pod, container, index)
        if path.startswith("/") or ".." in path.split("/"):
            raise StartRefused("CreateContainerConfigError", f'subPath "{path}" must be relative and without ".."')
        try:
            self._mounts.beneath(source, path, target, create=not payload.is_generated(volume))
        except OSError as error:
            message = (
                f'failed to prepare subPath for volumeMount "{volume.name}" of container "{container.name}": {error}'
            )
            raise StartRefused("CreateContainerConfigError", message) from error
        return target
