"""Start one container: image, variables, mounts, then the runtime."""

from datetime import datetime
from pathlib import Path

from fairway.engine.kubelet import environment, etc_files, security
from fairway.engine.kubelet.containers import Ingredients, container_id, container_spec
from fairway.engine.kubelet.errors import StartRefused
from fairway.engine.kubelet.images import Image, UnknownUser, User, resolve_user
from fairway.engine.kubelet.plan import Start
from fairway.engine.kubelet.record import ContainerRecord
from fairway.engine.kubelet.runtime import privileges
from fairway.engine.kubelet.runtime.model import ContainerSpec, Mount
from fairway.engine.kubelet.runtime.seccomp_profiles import BadProfile, applied, compile_profile
from fairway.engine.kubelet.tools import Tools
from fairway.kube.api import quantities
from fairway.kube.api.pods import Container, Pod


class Sandbox:
    """Where the container goes: the id and the address of the pod's sandbox."""

    def __init__(self, id: str, ip: str) -> None:
        self.id = id
        self.ip = ip


async def prepare(
    tools: Tools, pod: Pod, container: Container, image: Image, start: Start, sandbox: Sandbox
) -> ContainerSpec:
    """Everything that can be refused, before anything is made.  Raises StartRefused, ApiError, Unreachable."""
    identity = security.identity(pod, container, image.config.user)
    profile, program = _seccomp(tools, pod, container)
    variables = await _variables(tools, pod, container, sandbox.ip)
    made = Ingredients(
        id=container_id(pod.metadata.uid, container.name, start.attempt),
        attempt=start.attempt,
        sandbox=sandbox.id,
        image=image,
        user=_user(container, image, identity),
        identity=identity,
        variables=variables,
        mounts=(
            *_own_mounts(tools, pod, container, start.attempt),
            *tools.volumes.mounts_of(pod, container, variables),
        ),
        seccomp_profile=profile,
        seccomp_program=program,
        node_memory_bytes=quantities.whole(tools.allocatable.get("memory", 0)),
    )
    return container_spec(pod, container, made, tools.config)


def _seccomp(tools: Tools, pod: Pod, container: Container) -> tuple[str, str]:
    """A profile of the node's owner as text and as a program; empty ones for the other kinds.  Raises StartRefused."""
    may = security.confinement(pod, container, allow_privileged=tools.config.allow_privileged)
    if not may.localhost_profile:
        return "", ""
    path = tools.config.seccomp_dir / may.localhost_profile
    try:
        text = path.read_text()
        kept = privileges.kept(may.capabilities_add, may.capabilities_drop)
        return applied(text, kept), compile_profile(text, kept)
    except FileNotFoundError:
        message = f"cannot load seccomp profile {str(path)!r}: no such file or directory"
    except (OSError, BadProfile, privileges.UnknownCapability) as error:
        message = f"seccomp profile {str(path)!r} {error}"
    raise StartRefused("CreateContainerError", f'container "{container.name}": {message}')


def intent(spec: ContainerSpec, container: Container, image: Image, start: Start) -> ContainerRecord:
    """What is written down before the runtime is asked, so that a run is never lost."""
    return ContainerRecord(
        name=container.name,
        id=spec.id,
        attempt=start.attempt,
        sandbox=spec.sandbox,
        image=container.image,
        image_ref=image.repo_digest if image.digest else image.id,
        stop_signal=image.config.stop_signal,
        backoff=start.backoff,
        resources=container.resources,
    )


def make_folders(spec: ContainerSpec) -> None:
    """The folders that the runtime writes to.  Raises OSError."""
    for path in (spec.upper_dir, spec.work_dir, spec.merged_dir):
        Path(path).mkdir(parents=True, exist_ok=True)
    for path in (spec.log_path, spec.state_path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)


def termination_file(tools: Tools, pod_uid: str, container: str, attempt: int) -> Path:
    """Where a container leaves its last words."""
    return tools.config.pod_dir(pod_uid) / "containers" / container / f"{attempt}.message"


def write_etc_files(tools: Tools, pod: Pod, ip: str) -> None:
    """The pod's /etc/hosts, /etc/hostname and /etc/resolv.conf.  Raises OSError."""
    folder = tools.config.pod_dir(pod.metadata.uid) / "etc"
    folder.mkdir(parents=True, exist_ok=True)
    config = tools.config
    node_text = _read("/etc/resolv.conf") if etc_files.dns_policy(pod) == "Default" else ""
    own = etc_files.node_hosts(pod, _read("/etc/hosts")) if pod.spec.host_network else None
    (folder / "hosts").write_text(own or etc_files.hosts(pod, ip, config.cluster_domain))
    (folder / "hostname").write_text(etc_files.hostname(pod) + "\n")
    (folder / "resolv.conf").write_text(
        etc_files.resolv_conf(
            pod, cluster_dns=config.cluster_dns, cluster_domain=config.cluster_domain, node_text=node_text
        )
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except FileNotFoundError:
        return ""


async def _variables(tools: Tools, pod: Pod, container: Container, ip: str) -> dict[str, str]:
    namespace = pod.metadata.namespace
    sources = environment.Sources(
        config_maps=await tools.lookup.config_maps(namespace, environment.config_map_names(container)),
        secrets=await tools.lookup.secrets(namespace, environment.secret_names(container)),
        services=tools.services.values(),
        allocatable=tools.allocatable,
        ip=ip,
        host_ip=tools.config.node_ip,
    )
    return environment.environment(pod, container, sources)


def _user(container: Container, image: Image, identity: security.Identity) -> User:
    """The numbers for the kernel, looked up in the image's own files."""
    wanted = image.config.user if identity.uid is None else str(identity.uid)
    try:
        return resolve_user(wanted, image.layers)
    except (UnknownUser, OSError) as error:
        message = f'container "{container.name}": {error}'
        raise StartRefused("CreateContainerError", message) from error


def _own_mounts(tools: Tools, pod: Pod, container: Container, attempt: int) -> tuple[Mount, ...]:
    """The files of /etc that differ for each pod, unless a volume takes their place, and the termination message."""
    etc = tools.config.pod_dir(pod.metadata.uid) / "etc"
    message = termination_file(tools, pod.metadata.uid, container.name, attempt)
    message.parent.mkdir(parents=True, exist_ok=True)
    message.touch()
    message.chmod(0o666)
    taken = {mount.mount_path.rstrip("/") for mount in container.volume_mounts}
    pairs = {f"/etc/{path}": etc / path for path in ("hosts", "hostname", "resolv.conf")}
    pairs[container.termination_message_path] = message
    return tuple(Mount(source=str(source), target=target) for target, source in pairs.items() if target not in taken)


def moment(text: str | None) -> datetime | None:
    """A time as the runtime writes it."""
    return datetime.fromisoformat(text) if text else None
