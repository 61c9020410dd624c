"""The Node object of this machine and its heartbeat, the Lease."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from fairway.engine.kubelet.config import Config
from fairway.engine.kubelet.machine import Machine, Pressure, architecture, node_info
from fairway.engine.kubelet.reports import Reports
from fairway.engine.kubelet.waiting import happens_within
from fairway.kube.api.config import Node
from fairway.kube.api.meta import Condition, ObjectReference, micro_timestamp, timestamp
from fairway.kube.api.noun import decode
from fairway.kube.api.resource import LEASES, NODES
from fairway.kube.client.client import ApiClient, PatchType
from fairway.kube.client.errors import AlreadyExists, ApiError, NotFound, Unreachable
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

log = logs.get("kubelet")

_LEASE_NAMESPACE = "kube-node-lease"
_LEASE_SECONDS = 40
_RENEW_SECONDS = 10.0
_STATUS_SECONDS = 10.0
_STATUS_AT_LEAST_SECONDS = 300.0
_RETRY_SECONDS = 0.2
_RETRY_SECONDS_MAX = 7.0
_LIMITS = ("memory", "cpu", "pids")
_PRESSURES = (
    ("MemoryPressure", "memory", "Memory", "sufficient memory available", "insufficient memory available"),
    ("DiskPressure", "disk", "Disk", "no disk pressure", "disk pressure"),
    ("PIDPressure", "pids", "PID", "sufficient PID available", "insufficient PID available"),
)


class NodeAgent:
    """Registers the node, tells how it is, and renews its Lease."""

    def __init__(
        self,
        client: ApiClient,
        config: Config,
        clock: Clock,
        reports: Reports,
        machine: Machine,
        limits: tuple[str, ...],
        pressure: Callable[[], Pressure],
    ) -> None:
        self._client = client
        self._config = config
        self._clock = clock
        self._reports = reports
        self._machine = machine
        self._limits = limits
        self._pressure = pressure
        self._dirty = asyncio.Event()
        self._sent: dict[str, Any] = {}
        self._sent_at = 0.0

    def changed(self) -> None:
        """Write the status soon: something in it is different."""
        self._dirty.set()

    async def run(self) -> None:
        """Keep the Node and its Lease until cancelled."""
        reference = ObjectReference(kind="Node", name=self._config.node_name, uid=self._config.node_name)
        self._reports.emit(reference, "Normal", "Starting", "Starting kubelet.")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(self._status, _STATUS_SECONDS))
            tasks.create_task(self._repeat(self._renew, _RENEW_SECONDS))

    async def _repeat(self, work: Any, seconds: float) -> None:
        retry_seconds = _RETRY_SECONDS
        while True:
            try:
                await work()
                retry_seconds = _RETRY_SECONDS
                await happens_within(self._clock, seconds, *((self._dirty,) if work == self._status else ()))
                self._dirty.clear()
            except (ApiError, Unreachable, OSError) as error:
                log.warning("retry", object=f"Node/{self._config.node_name}", error=error, seconds=retry_seconds)
                await self._clock.sleep(retry_seconds)
                retry_seconds = min(retry_seconds * 2, _RETRY_SECONDS_MAX)

    async def _status(self) -> None:
        """Write the status when something in it changed, and every five minutes as a sign of life."""
        node = await self._node()
        status = self._wanted(node)
        now = self._clock.monotonic()
        if _without_heartbeats(status) == self._sent and now - self._sent_at < _STATUS_AT_LEAST_SECONDS:
            return
        await self._client.patch(
            NODES, self._config.node_name, {"status": status}, subresource="status", type=PatchType.STRATEGIC
        )
        self._sent, self._sent_at = _without_heartbeats(status), now

    async def _node(self) -> Node:
        """The Node as it is, made first if need be."""
        name = self._config.node_name
        try:
            return decode(Node, await self._client.get(NODES, name))
        except NotFound:
            pass
        labels = {
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": architecture(),
            "beta.kubernetes.io/os": "linux",
            "beta.kubernetes.io/arch": architecture(),
        }
        body = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": labels},
            "spec": {"podCIDR": self._config.pod_cidr, "podCIDRs": [self._config.pod_cidr]},
        }
        self._sent = {}
        try:
            raw = await self._client.create(NODES, body)
        except AlreadyExists:
            raw = await self._client.get(NODES, name)
        log.info("registered", node=name)
        return decode(Node, raw)

    def _wanted(self, node: Node) -> dict[str, Any]:
        now = self._clock.now()
        return {
            "capacity": dict(self._machine.capacity),
            "allocatable": dict(self._machine.allocatable),
            "addresses": [
                {"type": "InternalIP", "address": self._config.node_ip},
                {"type": "Hostname", "address": self._config.node_name},
            ],
            "conditions": self._conditions(node, now),
            "nodeInfo": node_info(self._config.version),
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        }

    def _conditions(self, node: Node, now: datetime) -> list[dict[str, Any]]:
        short = self._pressure()
        facts = []
        for kind, field, noun, fine, bad in _PRESSURES:
            is_short = bool(getattr(short, field))
            reason = f"KubeletHas{'Insufficient' if is_short else 'Sufficient'}{noun}"
            if field == "disk":
                reason = "KubeletHasDiskPressure" if is_short else "KubeletHasNoDiskPressure"
            facts.append((kind, "True" if is_short else "False", reason, f"kubelet has {bad if is_short else fine}"))
        facts.append(_limits_enforced(self._limits))
        facts.append(("Ready", "True", "KubeletReady", "kubelet is posting ready status"))
        return [_condition(node, now, *fact) for fact in facts]

    async def _renew(self) -> None:
        """Renew the Lease, made first if need be."""
        name = self._config.node_name
        spec = {
            "holderIdentity": name,
            "leaseDurationSeconds": _LEASE_SECONDS,
            "renewTime": micro_timestamp(self._clock.now()),
        }
        try:
            await self._client.patch(LEASES, name, {"spec": spec}, namespace=_LEASE_NAMESPACE)
        except NotFound:
            metadata = {"name": name, "namespace": _LEASE_NAMESPACE}
            body = {"apiVersion": LEASES.api_version, "kind": "Lease", "metadata": metadata, "spec": spec}
            await self._client.create(LEASES, body)


def _limits_enforced(limits: tuple[str, ...]) -> tuple[str, str, str, str]:
    """Whether resource limits of containers hold on this machine; this condition is Fairway's own."""
    missing = [name for name in _LIMITS if name not in limits]
    if not missing:
        return "LimitsEnforced", "True", "ControlGroupsUsable", f"limits of {', '.join(_LIMITS)} are enforced"
    why = "this machine lends us no control group for them, see `fairway doctor`"
    message = f"limits of {', '.join(missing)} are not enforced: {why}"
    return "LimitsEnforced", "False", "ControlGroupsMissing", message


def _condition(node: Node, now: datetime, type: str, status: str, reason: str, message: str) -> dict[str, Any]:
    old = next((each for each in node.status.conditions if each.type == type), Condition(type, ""))
    same = old.status == status and old.last_transition_time is not None
    return {
        "type": type,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": timestamp(now),
        "lastTransitionTime": timestamp(old.last_transition_time if same and old.last_transition_time else now),
    }


def _without_heartbeats(status: dict[str, Any]) -> dict[str, Any]:
    conditions = [{**each, "lastHeartbeatTime": None, "lastTransitionTime": None} for each in status["conditions"]]
    return {**status, "conditions": conditions}
