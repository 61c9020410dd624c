"""The loop: whenever a node or its lease changes, or has not for too long, say whether it is heard."""

import asyncio
from datetime import datetime

import msgspec

from fairway.engine.controllers.caches import Caches
from fairway.engine.controllers.node.plan import Plan, plan, unready
from fairway.engine.controllers.patches import seen_version
from fairway.kube.api.config import Lease, Node
from fairway.kube.api.meta import Condition, ObjectKey, timestamp
from fairway.kube.api.noun import encode
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import LEASES, NODES, PODS
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import Conflict, NotFound
from fairway.kube.reconcile.keyed import run_keyed
from fairway.kube.reconcile.reflector import Reflector, run_reflectors, wait_synced
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

ROOM = "node-controller"
LEASE_NAMESPACE = "kube-node-lease"
log = logs.get(ROOM)


class _Heard(msgspec.Struct, frozen=True):
    """What the lease said and when that was seen; `since_start` is false for what was there when we came."""

    renewed: datetime | None
    at_seconds: float
    since_start: bool


class NodeController:
    """Notes when each lease was last renewed by its own clock, so that a stop of this process is no silence."""

    def __init__(self, client: ApiClient, caches: Caches, leases: Reflector[Lease], clock: Clock) -> None:
        self.queue: WorkQueue[ObjectKey] = WorkQueue()
        self._client = client
        self._clock = clock
        self._nodes = caches.nodes.cache
        self._pods = caches.pods.cache
        self._leases = leases.cache
        self._heard: dict[str, _Heard] = {}
        self._nodes.subscribe(lambda key, old, new: self.queue.add(key))
        self._leases.subscribe(self._lease_changed)
        for node in self._nodes.values():
            self.queue.add(node.metadata.key)

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Look at one node; returns after how many seconds to look again."""
        node = self._nodes.get(key)
        if node is None:
            self._heard.pop(key.name, None)
            return None
        heard = self._note(key.name)
        silent_seconds = self._clock.monotonic() - heard.at_seconds
        decided = plan(node, silent_seconds, self._clock.now(), heard=heard.since_start)
        await self._write(node, decided)
        if decided.pods_unready:
            await asyncio.gather(*(self._unready(pod) for pod in self._pods.values() if pod.spec.node_name == key.name))
        return decided.again_seconds

    def _lease_changed(self, key: ObjectKey, old: Lease | None, new: Lease | None) -> None:
        before = self._heard.get(key.name)
        if self._note(key.name).since_start and not (before and before.since_start):
            self.queue.add(ObjectKey("", key.name))  # the first word of it: what is stored counts from now on

    def _note(self, name: str) -> _Heard:
        """When the node was last heard; a lease that was renewed since is heard now."""
        lease = self._leases.get(ObjectKey(LEASE_NAMESPACE, name))
        renewed = lease.spec.renew_time if lease else None
        heard = self._heard.get(name)
        if heard is None or heard.renewed != renewed:
            heard = self._heard[name] = _Heard(renewed, self._clock.monotonic(), heard is not None)
        return heard

    async def _write(self, node: Node, decided: Plan) -> None:
        name, version = node.metadata.name, seen_version(node.metadata)
        if decided.conditions is not None:
            body = {"metadata": version, "status": {"conditions": [self._raw(item) for item in decided.conditions]}}
            await self._client.patch(NODES, name, body, subresource="status")
            log.warning("silent", node=name)
        elif decided.taints is not None:
            taints = [encode(taint) for taint in decided.taints]
            await self._client.patch(NODES, name, {"metadata": version, "spec": {"taints": taints or None}})
            log.info("tainted", node=name, taints=",".join(taint.key for taint in decided.taints) or "none")

    @staticmethod
    def _raw(condition: Condition) -> dict[str, object]:
        """A node's conditions say when they were last heard, which is not what our noun keeps."""
        raw = encode(condition)
        if condition.last_transition_time is not None:
            raw.setdefault("lastHeartbeatTime", timestamp(condition.last_transition_time))
        return raw

    async def _unready(self, pod: Pod) -> None:
        conditions = unready(pod, self._clock.now())
        if conditions is None:
            return
        metadata = pod.metadata
        body = {
            "metadata": seen_version(metadata),
            "status": {"conditions": [encode(condition) for condition in conditions]},
        }
        try:
            await self._client.patch(PODS, metadata.name, body, namespace=metadata.namespace, subresource="status")
        except (NotFound, Conflict):
            self.queue.add_rate_limited(ObjectKey("", pod.spec.node_name))


async def run(client: ApiClient, caches: Caches, clock: Clock) -> None:
    """Control until cancelled; the caches must be synced."""
    leases = Reflector(client, LEASES, Lease, clock, namespace=LEASE_NAMESPACE)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_reflectors(leases))
        await wait_synced(leases)
        controller = NodeController(client, caches, leases, clock)
        tasks.create_task(run_keyed(ROOM, controller.queue, controller.reconcile))
