"""The loop: whenever a pod without a node appears, or something that could make room changes, decide."""

from typing import Any, NamedTuple

from fairway.engine.scheduler.claims import message, obstacle
from fairway.engine.scheduler.plan import Bind, Unschedulable, plan
from fairway.engine.scheduler.snapshot import take
from fairway.kube.api.config import Namespace, Node
from fairway.kube.api.meta import ObjectKey, ObjectReference, timestamp
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import PODS
from fairway.kube.api.statefulsets import PersistentVolumeClaim
from fairway.kube.api.storage import StorageClass, claims_of
from fairway.kube.client.client import ApiClient, PatchType
from fairway.kube.client.errors import Conflict, NotFound
from fairway.kube.reconcile.cache import Cache
from fairway.kube.reconcile.events import EventRecorder
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

ROOM = "default-scheduler"
RETRY_SECONDS = 300.0  # upstream looks at every unschedulable pod again after five minutes
log = logs.get("scheduler")


class Storage(NamedTuple):
    """What pods may have to wait for."""

    claims: Cache[PersistentVolumeClaim]
    classes: Cache[StorageClass]


class Scheduler:
    """Decides from caches and what it assumed since; a decision and its assumption are one step without a pause."""

    def __init__(
        self,
        client: ApiClient,
        pods: Cache[Pod],
        nodes: Cache[Node],
        namespaces: Cache[Namespace],
        storage: Storage,
        clock: Clock,
    ) -> None:
        self.queue: WorkQueue[ObjectKey] = WorkQueue()
        self._client = client
        self._clock = clock
        self._events = EventRecorder(client, ROOM, clock)
        self._pods = pods
        self._nodes = nodes
        self._namespaces = namespaces
        self._storage = storage
        self._assumed: dict[str, str] = {}
        self._waiting: dict[ObjectKey, None] = {}
        pods.subscribe(self._pod_changed)
        nodes.subscribe(self._node_changed)
        storage.claims.subscribe(self._claim_changed)
        storage.classes.subscribe(lambda key, old, new: self._retry_all())
        for pod in pods.values():
            self._consider(pod.metadata.key, pod)

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Bind one pod, or say why not; returns after how many seconds to try again."""
        pod = self._pods.get(key)
        if pod is None or not self._is_ours(pod):
            self._waiting.pop(key, None)
            return None
        places = take(self._nodes.values(), self._pods.values(), self._assumed)
        decided = self._obstacle(pod, len(places)) or plan(
            pod, places, {item.metadata.name: item.metadata.labels for item in self._namespaces.values()}
        )
        if isinstance(decided, Unschedulable):
            self._waiting[key] = None
            await self._refuse(pod, decided)
            return RETRY_SECONDS
        self._assumed[pod.metadata.uid] = decided.node
        await self._bind(pod, decided)
        return None

    async def _bind(self, pod: Pod, decided: Bind) -> None:
        metadata = pod.metadata
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata.name, "namespace": metadata.namespace, "uid": metadata.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": decided.node},
        }
        try:
            await self._client.create_subresource(PODS, metadata.name, "binding", binding, namespace=metadata.namespace)
        except (NotFound, Conflict):
            self._assumed.pop(metadata.uid, None)  # gone, or bound by somebody else: the watch tells
            return
        except BaseException:
            self._assumed.pop(metadata.uid, None)
            raise
        self._waiting.pop(metadata.key, None)
        log.info("bound", pod=metadata.key, node=decided.node)
        message = f"Successfully assigned {metadata.namespace}/{metadata.name} to {decided.node}"
        await self._events.record(reference(pod), "Normal", "Scheduled", message)

    async def _refuse(self, pod: Pod, decided: Unschedulable) -> None:
        await self._events.record(reference(pod), "Warning", "FailedScheduling", decided.message)
        current = pod.status.condition("PodScheduled")
        if current and (current.status, current.reason, current.message) == ("False", "Unschedulable", decided.message):
            return
        metadata = pod.metadata
        patch = {"metadata": {"uid": metadata.uid}, "status": {"conditions": [self._condition(pod, decided.message)]}}
        try:
            await self._client.patch(
                PODS,
                metadata.name,
                patch,
                namespace=metadata.namespace,
                subresource="status",
                type=PatchType.STRATEGIC,
            )
        except NotFound:
            return
        log.info("unschedulable", pod=metadata.key, reason=decided.message)

    def _condition(self, pod: Pod, message: str) -> dict[str, Any]:
        current = pod.status.condition("PodScheduled")
        since = current.last_transition_time if current and current.status == "False" else None
        return {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastProbeTime": None,
            "lastTransitionTime": timestamp(since or self._clock.now()),
        }

    def _obstacle(self, pod: Pod, nodes: int) -> Unschedulable | None:
        """What its claims have against it, wherever it would go."""
        names, namespace = claims_of(pod), pod.metadata.namespace
        if not names:
            return None
        found = {name: self._storage.claims.get(ObjectKey(namespace, name)) for name in names}
        claims = {name: claim for name, claim in found.items() if claim is not None}
        classes = {each.metadata.name: each for each in self._storage.classes.values()}
        neighbours = (other for other in self._pods.values() if other.metadata.namespace == namespace)
        why = obstacle(pod, claims, classes, neighbours)
        return Unschedulable(message(why, nodes)) if why else None

    # --- seeing

    def _claim_changed(
        self, key: ObjectKey, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None
    ) -> None:
        for waiting in self._waiting:
            pod = self._pods.get(waiting)
            if pod is not None and waiting.namespace == key.namespace and key.name in claims_of(pod):
                self.queue.add(waiting)

    def _pod_changed(self, key: ObjectKey, old: Pod | None, new: Pod | None) -> None:
        if new is None or new.spec.node_name:
            version = new or old
            if version is not None:
                self._assumed.pop(version.metadata.uid, None)
            self._waiting.pop(key, None)
        if new is not None:
            self._consider(key, new, old)
        if _freed(old, new):
            self._retry_all()
        elif _place_changed(old, new):
            self._retry_social()

    def _consider(self, key: ObjectKey, pod: Pod, old: Pod | None = None) -> None:
        """A pod that only learned why it cannot go anywhere is not looked at again for that."""
        if self._is_ours(pod) and (old is None or old.spec != pod.spec or key not in self._waiting):
            self.queue.add(key)

    def _node_changed(self, key: ObjectKey, old: Node | None, new: Node | None) -> None:
        """Heartbeats are no news; what a node offers and refuses is."""
        if old is None or new is None or _offer(old) != _offer(new):
            self._retry_all()

    def _retry_all(self) -> None:
        for key in self._waiting:
            self.queue.add(key)

    def _retry_social(self) -> None:
        """Only those that look for company."""
        for key in self._waiting:
            pod = self._pods.get(key)
            if pod is not None and (pod.spec.affinity or pod.spec.topology_spread_constraints):
                self.queue.add(key)

    def _is_ours(self, pod: Pod) -> bool:
        unassigned = not pod.spec.node_name and pod.metadata.uid not in self._assumed
        live = pod.metadata.deletion_timestamp is None and not pod.finished
        return unassigned and live and not pod.spec.scheduling_gates and pod.spec.scheduler_name == ROOM


def _freed(old: Pod | None, new: Pod | None) -> bool:
    """Whether a pod left a node."""
    was_there = old is not None and old.spec.node_name != "" and not old.finished
    return was_there and (new is None or new.finished)


def _place_changed(old: Pod | None, new: Pod | None) -> bool:
    """Whether a pod came to a node, or is another one to those that look for company by labels."""
    here = tuple(
        (version.spec.node_name, version.metadata.labels)
        if version and version.spec.node_name and not version.finished
        else None
        for version in (old, new)
    )
    return here[0] != here[1]


def _offer(node: Node) -> tuple[object, ...]:
    return node.metadata.labels, node.spec.taints, node.spec.unschedulable, node.status.allocatable


def reference(pod: Pod) -> ObjectReference:
    """The pod as events name it."""
    metadata = pod.metadata
    return ObjectReference(
        api_version="v1",
        kind="Pod",
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        resource_version=metadata.resource_version,
    )
