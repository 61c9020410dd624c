"""What the kubelet asks the runtime for, and what the runtime reports back."""

from typing import Literal

import msgspec


class Mount(msgspec.Struct, frozen=True):
    """One mount in the container; `source` is a file or folder of the node, unused for a tmpfs."""

    source: str
    target: str
    read_only: bool = False
    kind: Literal["bind", "tmpfs"] = "bind"
    size_bytes: int | None = None


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything needed to start one container.

    `rootfs_layers` are overlay lower folders, topmost first. `uid`, `gid` of None mean root and the primary group
    that the image's /etc/passwd gives the user. An empty `sandbox` joins the node's own network. `pid_target` is the
    id of a running container whose processes this one sees. `stdin_once` ends the input with its first giver.
    `oci_runtime` is the program that makes the container, none for our own code.
    `pod_limits` are those that the containers of the pod share, in the order memory, CPU quota, CPU shares, processes.
    A `custom` filter is given twice: as a profile (JSON) for OCI runtimes, and as a program (BPF in base64) for ours.
    """

    id: str
    rootfs_layers: tuple[str, ...]
    upper_dir: str
    work_dir: str
    merged_dir: str
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    cwd: str = "/"
    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] = ()
    mounts: tuple[Mount, ...] = ()
    hostname: str = ""
    log_path: str
    state_path: str
    sandbox: str
    cgroup: str = ""
    memory_limit_bytes: int | None = None
    cpu_quota_us: int | None = None
    cpu_shares: int | None = None
    pids_limit: int | None = None
    pod_limits: tuple[int | None, int | None, int | None, int | None] | None = None
    oom_score_adj: int | None = None
    privileged: bool = False
    capabilities_add: tuple[str, ...] = ()
    capabilities_drop: tuple[str, ...] = ()
    read_only_root: bool = False
    no_new_privileges: bool = True
    seccomp: Literal["default", "unconfined", "custom"] = "default"
    seccomp_profile: str = ""
    seccomp_program: str = ""
    oci_runtime: str = ""
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False
    pid_target: str = ""


class ContainerState(msgspec.Struct, frozen=True, kw_only=True):
    """One container as last recorded by its shim; times are RFC 3339 with nanoseconds, in UTC.

    `failed` means that the program never ran: reason StartError, exit code 128, as containerd reports it.
    `reason` of an ended container: Completed, Error, OOMKilled, StartError, or ContainerStatusUnknown when its shim
    was killed before it could write the end.
    """

    id: str
    status: Literal["created", "running", "exited", "failed"]
    pid: int | None = None
    started_at: str | None = None
    finished_at: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    reason: str = ""
    message: str = ""


class SandboxState(msgspec.Struct, frozen=True, kw_only=True):
    """The namespaces that the containers of one pod share; `ip` is empty until the pod network is attached."""

    id: str
    ip: str = ""
    netns_path: str


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits to change while containers run; None leaves one alone. Quotas are per 100 ms."""

    memory_bytes: int | None = None
    cpu_quota_us: int | None = None
    cpu_shares: int | None = None


class ExecResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a command inside a container ended; a command killed by signal n has exit code 128 + n."""

    exit_code: int
    stdout: bytes
    stderr: bytes
