"""The sandbox of one pod: volumes first, then namespaces, then the address."""

from datetime import datetime, timedelta

import msgspec

from fairway.engine.kubelet.container_status import pod_name
from fairway.engine.kubelet.containers import sandbox_id
from fairway.engine.kubelet.errors import SandboxProblem, VolumePending, VolumeProblem
from fairway.engine.kubelet.etc_files import hostname
from fairway.engine.kubelet.ledger import Ledger
from fairway.engine.kubelet.record import PodRecord
from fairway.engine.kubelet.security import check_pod
from fairway.engine.kubelet.starting import write_etc_files
from fairway.engine.kubelet.sysctls import wanted
from fairway.engine.kubelet.tools import Tools
from fairway.kube.api.pods import Pod
from fairway.toolkit import logs

log = logs.get("kubelet")

_MOUNT_SECONDS_MIN = 0.5
_MOUNT_SECONDS_MAX = 122.0
_RETRY_SECONDS = 10.0
_PENDING_SECONDS = 5.0  # the change that it waits for wakes it anyway


class Sandboxes:
    """Makes and removes the sandbox; `alive` says whether there is one, `retry_at` when to try again."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._mount_failures = 0
        self.alive = False
        self.retry_at: datetime | None = None

    async def create(self, pod: Pod, ledger: Ledger) -> None:
        """Make the sandbox; what stands in the way becomes an event.  Raises OSError, ApiError, Unreachable."""
        try:
            check_pod(pod)
            await self._tools.volumes.prepare(pod)
        except VolumePending:
            self.retry_at = self._tools.clock.now() + timedelta(seconds=_PENDING_SECONDS)
            return
        except VolumeProblem as problem:
            message = f'MountVolume.SetUp failed for volume "{problem.volume}" : {problem.message}'
            self._failed(pod, "FailedMount", message, self._mount_delay_seconds())
            return
        except SandboxProblem as problem:
            self.failed(pod, problem.message)
            return
        self._mount_failures = 0
        await self._replace(pod, ledger)

    async def _replace(self, pod: Pod, ledger: Ledger) -> None:
        old = ledger.record
        if old.sandbox:
            message = "Pod sandbox changed, it will be killed and re-created."
            self._tools.reports.normal(pod, "SandboxChanged", message)
            await self._take_down(old)
        name = sandbox_id(old.uid, old.sandboxes)
        record = msgspec.structs.replace(old, sandbox=name, sandboxes=old.sandboxes + 1, ip="")
        ledger.save(record)
        tools, spec = self._tools, pod.spec
        await tools.runtime.create_sandbox(
            name,
            hostname(pod),
            host_network=spec.host_network,
            share_processes=spec.share_process_namespace,
            sysctls=wanted(pod),
        )
        ip = tools.config.node_ip if spec.host_network else await tools.network.attach(name)
        if not spec.host_network:
            await tools.admit(pod, ip)
        write_etc_files(self._tools, pod, ip)
        ledger.save(msgspec.structs.replace(ledger.record, ip=ip))
        self.retry_at = None
        self.alive = True
        log.info("sandboxed", pod=pod_name(pod), ip=ip)

    async def remove(self, ledger: Ledger) -> None:
        """Take it down.  Raises OSError."""
        await self._take_down(ledger.record)
        self.alive = False
        ledger.save(msgspec.structs.replace(ledger.record, sandbox="", ip=""))

    def failed(self, pod: Pod, message: str) -> None:
        """Report that there is no sandbox and try again later."""
        self._failed(pod, "FailedCreatePodSandBox", f"Failed to create pod sandbox: {message}", _RETRY_SECONDS)

    async def _take_down(self, record: PodRecord) -> None:
        if record.ip and record.ip != self._tools.config.node_ip:
            await self._tools.network.detach(record.sandbox, record.ip)
        await self._tools.runtime.remove_sandbox(record.sandbox)

    def _failed(self, pod: Pod, reason: str, message: str, retry_seconds: float) -> None:
        self._tools.reports.warning(pod, reason, message)
        self.retry_at = self._tools.clock.now() + timedelta(seconds=retry_seconds)

    def _mount_delay_seconds(self) -> float:
        """Upstream's delay between attempts to mount: half a second, doubling to about two minutes."""
        self._mount_failures += 1
        return float(min(_MOUNT_SECONDS_MIN * 2 ** (self._mount_failures - 1), _MOUNT_SECONDS_MAX))
