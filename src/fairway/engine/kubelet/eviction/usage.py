"""What one pod uses of memory and disk."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from fairway.engine.kubelet.config import Config
from fairway.engine.kubelet.eviction.measure import folder_bytes
from fairway.engine.kubelet.eviction.snapshot import ContainerUsage, PodUsage
from fairway.engine.kubelet.metrics import Target
from fairway.engine.kubelet.runtime import usage
from fairway.kube.api.pods import Pod


class Running(msgspec.Struct, frozen=True):
    """A pod and its running containers."""

    pod: Pod
    targets: tuple[Target, ...]


def measure(config: Config, pods: Iterable[Running]) -> tuple[PodUsage, ...]:
    """Blocks: it reads control groups and walks through folders."""
    return tuple(_measure(config, each) for each in pods)


def _measure(config: Config, running: Running) -> PodUsage:
    pod, metadata = running.pod, running.pod.metadata
    memory = usage.measure({target.id: target.group for target in running.targets})
    logs = config.log_dir(metadata.namespace, metadata.name, metadata.uid)
    volumes = config.pod_dir(metadata.uid) / "volumes"
    return PodUsage(
        pod=pod,
        containers=tuple(
            ContainerUsage(
                target.name,
                memory[target.id].memory_bytes if target.id in memory else 0,
                _bytes(config.container_dir(target.id) / "upper", logs / target.name),
            )
            for target in running.targets
        ),
        empty_dirs={
            volume.name: folder_bytes(volumes / volume.name)
            for volume in pod.spec.volumes
            if volume.empty_dir is not None and not volume.empty_dir.medium
        },
    )


def _bytes(*folders: Path) -> int:
    return sum(folder_bytes(folder) for folder in folders)
