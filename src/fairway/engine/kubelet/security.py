"""securityContext -> who a container runs as and what it may do, or why not (pure)."""

from pathlib import PurePosixPath
from typing import Literal

import msgspec

from fairway.engine.kubelet.container_status import pod_name
from fairway.engine.kubelet.errors import SandboxProblem, StartRefused
from fairway.kube.api.pods import Container, Pod, SecurityContext

_REFUSED = "CreateContainerConfigError"
Seccomp = Literal["default", "unconfined", "custom"]


class Identity(msgspec.Struct, frozen=True):
    """User and groups; None leaves the choice to the image."""

    uid: int | None
    gid: int | None
    groups: tuple[int, ...]


class Confinement(msgspec.Struct, frozen=True):
    """What the container may do; `localhost_profile` is the path of a `custom` seccomp profile."""

    capabilities_add: tuple[str, ...]
    capabilities_drop: tuple[str, ...]
    read_only_root: bool
    no_new_privileges: bool
    seccomp: Seccomp
    localhost_profile: str = ""
    privileged: bool = False


_HOST_PROCESSES = "its containers never see processes of the host (shareProcessNamespace shares those of the pod)"
_HOST_MEMORY = "its containers never share memory and semaphores with the host"


def check_pod(pod: Pod) -> None:
    """Raises SandboxProblem for what this node cannot isolate."""
    for field, wanted, reason in (
        ("hostPID", pod.spec.host_pid, _HOST_PROCESSES),
        ("hostIPC", pod.spec.host_ipc, _HOST_MEMORY),
    ):
        if wanted:
            raise SandboxProblem(f"spec.{field} is true, which this node refuses: {reason}; remove the field")


def identity(pod: Pod, container: Container, image_user: str) -> Identity:
    """The container's settings, else the pod's, else the image's.  Raises StartRefused for a broken runAsNonRoot."""
    own, shared = container.security_context or SecurityContext(), pod.spec.security_context
    uid = own.run_as_user if own.run_as_user is not None else shared.run_as_user
    gid = own.run_as_group if own.run_as_group is not None else shared.run_as_group
    non_root = own.run_as_non_root if own.run_as_non_root is not None else shared.run_as_non_root
    if non_root:
        _check_non_root(pod, container, uid, image_user)
    groups = shared.supplemental_groups + (() if shared.fs_group is None else (shared.fs_group,))
    return Identity(uid, gid, groups)


def _check_non_root(pod: Pod, container: Container, uid: int | None, image_user: str) -> None:
    where = f'(pod: "{pod_name(pod)}", container: {container.name})'
    if uid == 0:
        raise StartRefused(_REFUSED, f"container's runAsUser breaks non-root policy {where}")
    if uid is not None:
        return
    user = image_user.partition(":")[0]
    if user in ("", "0", "root"):
        raise StartRefused(_REFUSED, f"container has runAsNonRoot and image will run as root {where}")
    if not user.isdigit():
        message = f"container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root"
        raise StartRefused(_REFUSED, f"{message} {where}")


def confinement(pod: Pod, container: Container, *, allow_privileged: bool = False) -> Confinement:
    """Raises StartRefused for privileged containers, unless the node allows them, and for broken seccomp profiles."""
    own = container.security_context or SecurityContext()
    if own.privileged and allow_privileged:
        return _PRIVILEGED
    if own.privileged:
        message = (
            f'container "{container.name}" asks for securityContext.privileged: true, which this node does not allow: '
            "remove it, or add single capabilities instead"
        )
        raise StartRefused(_REFUSED, message)
    capabilities = own.capabilities
    seccomp, profile = _seccomp(pod, container, own)
    return Confinement(
        capabilities_add=capabilities.add if capabilities else (),
        capabilities_drop=capabilities.drop if capabilities else (),
        read_only_root=own.read_only_root_filesystem,
        no_new_privileges=own.allow_privilege_escalation is False,
        seccomp=seccomp,
        localhost_profile=profile,
    )


_PRIVILEGED = Confinement(
    capabilities_add=("ALL",),
    capabilities_drop=(),
    read_only_root=False,
    no_new_privileges=False,
    seccomp="unconfined",
    privileged=True,
)


def _seccomp(pod: Pod, container: Container, own: SecurityContext) -> tuple[Seccomp, str]:
    """Without a profile the runtime's default is used, as a kubelet with seccompDefault does."""
    profile = own.seccomp_profile or pod.spec.security_context.seccomp_profile
    if profile is None or profile.type == "RuntimeDefault":
        return "default", ""
    if profile.type == "Unconfined":
        return "unconfined", ""
    path = PurePosixPath(profile.localhost_profile)
    if profile.type != "Localhost" or not path.parts or path.is_absolute() or ".." in path.parts:
        message = (
            f'container "{container.name}" asks for the seccomp profile {profile.localhost_profile or profile.type}: '
            "use RuntimeDefault, Unconfined, or Localhost with a relative path"
        )
        raise StartRefused(_REFUSED, message)
    return "custom", str(path)
