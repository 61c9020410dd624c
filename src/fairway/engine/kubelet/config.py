"""The settings of the kubelet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from fairway.kube.api.release import KUBERNETES

_EVICTION_HARD = {
    "memory.available": "100Mi",
    "nodefs.available": "5%",
    "nodefs.inodesFree": "5%",
    "pid.available": "5%",
}


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Where this node keeps its state and how its pods see the cluster.

    `state_dir` outlives a reboot (volumes, logs, restart counts), `run_dir` holds sockets and what a reboot may lose.
    `termination_drain_seconds` is how long a pod goes on serving after the API shows it out of rotation.
    `volumes_dir` is where the folders of PersistentVolumes are that this cluster made itself: they need no allow-list.
    `runtime` makes the containers: our own code (native), a program, or the first program that passes a probe (auto).
    `eviction_hard` are thresholds in the kubelet's words; below them pods are ended.
    `pods_max` is how many pods the scheduler may put here; None is what the machine's memory suggests.
    `pod_pids_limit` stops fork bombs: upstream has the setting, without a default.
    """

    state_dir: Path
    run_dir: Path
    zygote_socket: Path
    server_socket: Path
    node_name: str = "fairway"
    node_ip: str = "10.42.0.1"
    pod_cidr: str = "10.42.0.0/16"
    cluster_dns: str = "10.96.0.10"
    cluster_domain: str = "cluster.local"
    termination_drain_seconds: float = 0.5
    host_path_allow_list: tuple[str, ...] = ()
    volumes_dir: Path | None = None
    allow_privileged: bool = False
    eviction_hard: Mapping[str, str] = msgspec.field(default_factory=lambda: dict(_EVICTION_HARD))
    eviction_period_seconds: float = 10.0
    runtime: Literal["auto", "native", "crun", "runc"] = "native"
    pod_pids_limit: int | None = 4096
    own_registry: frozenset[str] = frozenset()
    """The names of the cluster's own registry, where images belong to namespaces (see image_access)."""
    pods_max: int | None = None
    version: str = KUBERNETES

    def pod_dir(self, uid: str) -> Path:
        """The record, generated files and disk volumes of one pod."""
        return self.state_dir / "pods" / uid

    def log_dir(self, namespace: str, pod: str, uid: str) -> Path:
        """The logs of one pod, a folder for each container; the layout is Kubernetes' /var/log/pods."""
        return self.state_dir / "logs" / f"{namespace}_{pod}_{uid}"

    @property
    def seccomp_dir(self) -> Path:
        """Where seccomp profiles of the type Localhost are, as JSON; the layout is the kubelet's."""
        return self.state_dir / "seccomp"

    def container_dir(self, id: str) -> Path:
        """The writable layer of one container."""
        return self.state_dir / "containers" / id
