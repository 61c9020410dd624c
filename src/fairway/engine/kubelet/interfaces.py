"""What the kubelet needs from the runtime, the pod network and the image service."""

import socket
from collections.abc import Callable, Mapping
from typing import Protocol

from fairway.engine.kubelet.images import Credential, Image, Policy
from fairway.engine.kubelet.runtime.model import ContainerSpec, ContainerState, ExecResult, Limits, SandboxState
from fairway.engine.kubelet.runtime.sessions import Session
from fairway.kube.api.pods import Pod
from fairway.toolkit.oci.reference import Reference


class Runtime(Protocol):
    """Containers and the sandboxes they share; both live on while the engine restarts."""

    @property
    def limits_enforced(self) -> tuple[str, ...]: ...
    async def create_sandbox(
        self,
        id: str,
        hostname: str,
        *,
        host_network: bool = False,
        share_processes: bool = False,
        sysctls: tuple[tuple[str, str], ...] = (),
    ) -> SandboxState: ...
    async def remove_sandbox(self, id: str) -> None: ...
    async def list_sandboxes(self) -> tuple[SandboxState, ...]: ...
    async def start(self, spec: ContainerSpec) -> ContainerState: ...
    async def signal(self, id: str, signal_number: int) -> None: ...
    async def resize(self, id: str, own: Limits, shared: Limits) -> None: ...
    async def remove(self, id: str) -> None: ...
    async def list(self) -> tuple[ContainerState, ...]: ...
    def subscribe(self, callback: Callable[[str], None]) -> None: ...
    async def exec(
        self,
        id: str,
        args: tuple[str, ...],
        env: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> ExecResult: ...
    async def open_command(
        self, id: str, args: tuple[str, ...], env: Mapping[str, str] | None = None, *, tty: bool, stdin: bool
    ) -> Session: ...
    async def attach(self, id: str, *, stdin: bool, stdout: bool, stderr: bool) -> Session: ...
    async def pod_socket(self, sandbox_id: str, family: int) -> socket.socket: ...


class PodNetwork(Protocol):
    """Addresses and links of sandboxes."""

    async def setup_node(self) -> None: ...
    async def attach(self, sandbox_id: str) -> str: ...
    async def detach(self, sandbox_id: str, ip: str) -> None: ...


class Admit(Protocol):
    """Called with a pod and its new address before its containers start; returns when they may.  Raises OSError."""

    async def __call__(self, pod: Pod, address: str, /) -> None: ...


async def admit_all(pod: Pod, address: str, /) -> None:
    """Every pod may start at once."""


class Images(Protocol):
    """Images by reference and pull policy; raises ImageError."""

    async def ensure(self, reference: str, policy: Policy, credentials: tuple[Credential, ...] = ()) -> Image: ...
    async def may_pull(self, wanted: Reference, credentials: tuple[Credential, ...]) -> bool: ...
    def list(self) -> tuple[Image, ...]: ...
    def remove(self, reference: str) -> bool: ...
