"""Pod: spec and status as the scheduler, the kubelet and the workload controllers read them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from fairway.kube.api.meta import Condition, LocalObjectReference, ObjectMeta
from fairway.kube.api.noun import Noun


class ContainerPort(Noun, frozen=True):
    container_port: int
    name: str = ""
    protocol: str = "TCP"
    host_port: int = 0
    host_ip: str = msgspec.field(name="hostIP", default="")


class ObjectFieldSelector(Noun, frozen=True):
    field_path: str
    api_version: str = "v1"


class ResourceFieldSelector(Noun, frozen=True):
    resource: str
    container_name: str = ""
    divisor: str | int = "0"


class KeySelector(Noun, frozen=True):
    """A key of a ConfigMap or Secret."""

    key: str
    name: str = ""
    optional: bool = False


class EnvVarSource(Noun, frozen=True):
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None


class EnvVar(Noun, frozen=True):
    name: str
    value: str = ""
    value_from: EnvVarSource | None = None


class EnvFromReference(Noun, frozen=True):
    name: str = ""
    optional: bool = False


class EnvFromSource(Noun, frozen=True):
    prefix: str = ""
    config_map_ref: EnvFromReference | None = None
    secret_ref: EnvFromReference | None = None


class VolumeMount(Noun, frozen=True):
    name: str
    mount_path: str
    read_only: bool = False
    sub_path: str = ""
    sub_path_expr: str = ""


class HttpHeader(Noun, frozen=True):
    name: str
    value: str = ""


class HttpGetAction(Noun, frozen=True):
    port: int | str
    path: str = "/"
    host: str = ""
    scheme: str = "HTTP"
    http_headers: tuple[HttpHeader, ...] = ()


class TcpSocketAction(Noun, frozen=True):
    port: int | str
    host: str = ""


class ExecAction(Noun, frozen=True):
    command: tuple[str, ...] = ()


class GrpcAction(Noun, frozen=True):
    port: int
    service: str = ""


class SleepAction(Noun, frozen=True):
    seconds: int


class Probe(Noun, frozen=True):
    """A check of a container; defaults are Kubernetes'."""

    http_get: HttpGetAction | None = None
    tcp_socket: TcpSocketAction | None = None
    exec: ExecAction | None = None
    grpc: GrpcAction | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 1
    period_seconds: int = 10
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None


class LifecycleHandler(Noun, frozen=True):
    http_get: HttpGetAction | None = None
    tcp_socket: TcpSocketAction | None = None
    exec: ExecAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(Noun, frozen=True):
    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None


class ResourceRequirements(Noun, frozen=True):
    limits: Mapping[str, str | int | float] = {}
    requests: Mapping[str, str | int | float] = {}


class ContainerResizePolicy(Noun, frozen=True):
    resource_name: str
    restart_policy: str = "NotRequired"


class Capabilities(Noun, frozen=True):
    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class SeccompProfile(Noun, frozen=True):
    type: str
    localhost_profile: str = ""


class SecurityContext(Noun, frozen=True):
    """Container-level security settings; None means: take the pod's."""

    privileged: bool = False
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    read_only_root_filesystem: bool = False
    allow_privilege_escalation: bool | None = None
    capabilities: Capabilities | None = None
    seccomp_profile: SeccompProfile | None = None


class Sysctl(Noun, frozen=True):
    name: str
    value: str = ""


class PodSecurityContext(Noun, frozen=True):
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    fs_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    seccomp_profile: SeccompProfile | None = None
    sysctls: tuple[Sysctl, ...] = ()


class Container(Noun, frozen=True):
    name: str
    image: str = ""
    image_pull_policy: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    ports: tuple[ContainerPort, ...] = ()
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFromSource, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    resize_policy: tuple[ContainerResizePolicy, ...] = ()
    volume_mounts: tuple[VolumeMount, ...] = ()
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    security_context: SecurityContext | None = None
    termination_message_path: str = "/dev/termination-log"
    termination_message_policy: str = "File"
    restart_policy: str | None = None
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False


class EphemeralContainer(Container, frozen=True):
    """Added to a running pod to look at it; never restarted."""

    target_container_name: str = ""


class KeyToPath(Noun, frozen=True):
    key: str
    path: str
    mode: int | None = None


class EmptyDirVolume(Noun, frozen=True):
    medium: str = ""
    size_limit: str | int | None = None


class ConfigMapVolume(Noun, frozen=True):
    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int = 0o644
    optional: bool = False


class SecretVolume(Noun, frozen=True):
    secret_name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int = 0o644
    optional: bool = False


class HostPathVolume(Noun, frozen=True):
    path: str
    type: str = ""


class DownwardFile(Noun, frozen=True):
    path: str
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    mode: int | None = None


class DownwardVolume(Noun, frozen=True):
    items: tuple[DownwardFile, ...] = ()
    default_mode: int = 0o644


class Volume(Noun, frozen=True):
    """A volume; exactly one source is set. Sources that no room reads yet stay raw."""

    name: str
    empty_dir: EmptyDirVolume | None = None
    config_map: ConfigMapVolume | None = None
    secret: SecretVolume | None = None
    host_path: HostPathVolume | None = None
    downward_api: DownwardVolume | None = msgspec.field(name="downwardAPI", default=None)
    projected: Mapping[str, Any] | None = None
    persistent_volume_claim: Mapping[str, Any] | None = None


class Toleration(Noun, frozen=True):
    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


class HostAlias(Noun, frozen=True):
    ip: str
    hostnames: tuple[str, ...] = ()


class DnsOption(Noun, frozen=True):
    name: str
    value: str | None = None


class PodDnsConfig(Noun, frozen=True):
    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[DnsOption, ...] = ()


class ReadinessGate(Noun, frozen=True):
    condition_type: str


class SchedulingGate(Noun, frozen=True):
    name: str


class PodSpec(Noun, frozen=True):
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    ephemeral_containers: tuple[EphemeralContainer, ...] = ()
    volumes: tuple[Volume, ...] = ()
    node_name: str = ""
    node_selector: Mapping[str, str] = {}
    affinity: Mapping[str, Any] | None = None
    topology_spread_constraints: tuple[Mapping[str, Any], ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    restart_policy: str = "Always"
    termination_grace_period_seconds: int = 30
    active_deadline_seconds: int | None = None
    service_account_name: str = ""
    automount_service_account_token: bool | None = None
    scheduler_name: str = "default-scheduler"
    scheduling_gates: tuple[SchedulingGate, ...] = ()
    hostname: str = ""
    subdomain: str = ""
    host_network: bool = False
    host_pid: bool = msgspec.field(name="hostPID", default=False)
    host_ipc: bool = msgspec.field(name="hostIPC", default=False)
    host_aliases: tuple[HostAlias, ...] = ()
    dns_policy: str = "ClusterFirst"
    dns_config: PodDnsConfig | None = None
    enable_service_links: bool = True
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    security_context: PodSecurityContext = PodSecurityContext()
    readiness_gates: tuple[ReadinessGate, ...] = ()
    priority: int | None = None
    priority_class_name: str = ""
    share_process_namespace: bool = False
    overhead: Mapping[str, str | int | float] = {}


class ContainerStateWaiting(Noun, frozen=True):
    reason: str = ""
    message: str = ""


class ContainerStateRunning(Noun, frozen=True):
    started_at: datetime | None = None


class ContainerStateTerminated(Noun, frozen=True):
    exit_code: int = 0
    signal: int | None = None
    reason: str = ""
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    container_id: str = msgspec.field(name="containerID", default="")


class ContainerState(Noun, frozen=True):
    """Exactly one of the three is set."""

    waiting: ContainerStateWaiting | None = None
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None


class ContainerStatus(Noun, frozen=True):
    name: str
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    image: str = ""
    image_id: str = msgspec.field(name="imageID", default="")
    container_id: str = msgspec.field(name="containerID", default="")


class PodStatus(Noun, frozen=True):
    phase: str = ""
    conditions: tuple[Condition, ...] = ()
    reason: str = ""
    message: str = ""
    host_ip: str = msgspec.field(name="hostIP", default="")
    pod_ip: str = msgspec.field(name="podIP", default="")
    start_time: datetime | None = None
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    ephemeral_container_statuses: tuple[ContainerStatus, ...] = ()
    qos_class: str = ""
    observed_generation: int | None = None

    def condition(self, type: str) -> Condition | None:
        """The condition of that type, if it is there."""
        return next((condition for condition in self.conditions if condition.type == type), None)


class Pod(Noun, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def ready(self) -> bool:
        condition = self.status.condition("Ready")
        return condition is not None and condition.status == "True"

    @property
    def finished(self) -> bool:
        return self.status.phase in ("Succeeded", "Failed")


class PodTemplateSpec(Noun, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
