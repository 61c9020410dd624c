"""A container of a pod, its image, variables and mounts -> what the runtime is asked for (pure)."""

import hashlib
from collections.abc import Mapping

import msgspec

from fairway.engine.kubelet import resources
from fairway.engine.kubelet.config import Config
from fairway.engine.kubelet.environment import command_line, expand
from fairway.engine.kubelet.etc_files import hostname
from fairway.engine.kubelet.images import Image, User
from fairway.engine.kubelet.runtime.model import ContainerSpec, Mount
from fairway.engine.kubelet.security import Identity, confinement
from fairway.kube.api.pods import Container, Pod

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Ingredients(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one run of a container that was found out before it starts."""

    id: str
    attempt: int
    sandbox: str
    image: Image
    user: User
    identity: Identity
    variables: Mapping[str, str]
    mounts: tuple[Mount, ...]
    seccomp_profile: str = ""
    seccomp_program: str = ""
    node_memory_bytes: int = 0


def container_id(uid: str, name: str, attempt: int) -> str:
    """The same run always has the same id, so that a start which was cut short cannot happen twice."""
    return hashlib.sha256(f"{uid}/{name}/{attempt}".encode()).hexdigest()


def sandbox_id(uid: str, count: int) -> str:
    """The id of the pod's n-th sandbox."""
    return hashlib.sha256(f"{uid}/{count}".encode()).hexdigest()[:32]


def container_spec(pod: Pod, container: Container, made: Ingredients, config: Config) -> ContainerSpec:
    """Raises StartRefused for a security context that this node does not allow, or when there is nothing to run."""
    image, folder = made.image.config, config.container_dir(made.id)
    limits, shared = resources.limits(container), resources.pod_limits(pod)
    may = confinement(pod, container, allow_privileged=config.allow_privileged)
    variables = _variables(pod, container, made)
    user = made.user
    groups = sorted({*user.groups, *made.identity.groups})
    return ContainerSpec(
        id=made.id,
        rootfs_layers=made.image.layers,
        upper_dir=str(folder / "upper"),
        work_dir=str(folder / "work"),
        merged_dir=str(folder / "merged"),
        args=command_line(container, made.variables, image.entrypoint, image.cmd),
        env=tuple(variables.items()),
        cwd=expand(container.working_dir, made.variables) or image.working_dir or "/",
        uid=user.uid,
        gid=user.gid if made.identity.gid is None else made.identity.gid,
        groups=tuple(groups),
        mounts=made.mounts,
        hostname=hostname(pod),
        log_path=str(log_path(pod, container.name, made.attempt, config)),
        state_path=str(config.run_dir / "states" / f"{made.id}.json"),
        sandbox=made.sandbox,
        cgroup=resources.cgroup(pod, made.id),
        memory_limit_bytes=limits.memory_bytes,
        cpu_quota_us=limits.cpu_quota_us,
        cpu_shares=limits.cpu_shares,
        pod_limits=(shared.memory_bytes, shared.cpu_quota_us, shared.cpu_shares, config.pod_pids_limit),
        oom_score_adj=resources.oom_score_adj(pod, container, made.node_memory_bytes),
        privileged=may.privileged,
        capabilities_add=may.capabilities_add,
        capabilities_drop=may.capabilities_drop,
        read_only_root=may.read_only_root,
        no_new_privileges=may.no_new_privileges,
        seccomp=may.seccomp,
        seccomp_profile=made.seccomp_profile,
        seccomp_program=made.seccomp_program,
        tty=container.tty,
        stdin=container.stdin,
        stdin_once=container.stdin_once,
    )


def log_path(pod: Pod, container: str, attempt: int, config: Config) -> str:
    """Where one run writes its output, in the CRI's line format."""
    metadata = pod.metadata
    return str(config.log_dir(metadata.namespace, metadata.name, metadata.uid) / container / f"{attempt}.log")


def _variables(pod: Pod, container: Container, made: Ingredients) -> dict[str, str]:
    """What a container runtime adds, then the image's own, then the pod's."""
    variables = {"PATH": _PATH, "HOSTNAME": hostname(pod), "HOME": made.user.home}
    if container.tty:
        variables["TERM"] = "xterm"
    for pair in made.image.config.env:
        name, _, value = pair.partition("=")
        variables[name] = value
    return {**variables, **made.variables}
