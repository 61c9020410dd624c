"""The loop: whenever a budget, one of its pods or what they belong to changes, count again."""

from fairway.engine.controllers.caches import BY_NAMESPACE, Caches
from fairway.engine.controllers.patches import seen_version, status_patch
from fairway.engine.controllers.poddisruptionbudget.plan import Plan, Scale, Snapshot, plan
from fairway.engine.controllers.references import object_reference
from fairway.kube.api.meta import ObjectKey, OwnerReference
from fairway.kube.api.pods import Pod
from fairway.kube.api.policies import PodDisruptionBudget
from fairway.kube.api.resource import POD_DISRUPTION_BUDGETS, PODS
from fairway.kube.api.selectors import from_object
from fairway.kube.api.statefulsets import StatefulSet
from fairway.kube.api.workloads import Deployment, ReplicaSet
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound
from fairway.kube.reconcile.events import EventRecorder
from fairway.kube.reconcile.keyed import run_keyed
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit.clock import Clock

ROOM = "controllermanager"
_STATUS = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")


class DisruptionController:
    """Reads caches, decides with `plan`, and reports."""

    def __init__(self, client: ApiClient, caches: Caches, clock: Clock) -> None:
        self.queue: WorkQueue[ObjectKey] = WorkQueue()
        self._client = client
        self._clock = clock
        self._events = EventRecorder(client, ROOM, clock)
        self._told: dict[ObjectKey, frozenset[str]] = {}
        self._budgets = caches.budgets.cache
        self._pods = caches.pods.cache
        self._replica_sets = caches.replica_sets.cache
        self._deployments = caches.deployments.cache
        self._stateful_sets = caches.stateful_sets.cache
        self._budgets.subscribe(lambda key, old, new: self.queue.add(key))
        self._pods.subscribe(self._pod_changed)
        self._deployments.subscribe(lambda key, old, new: self._add_all(key.namespace))
        self._replica_sets.subscribe(lambda key, old, new: self._add_all(key.namespace))
        self._stateful_sets.subscribe(lambda key, old, new: self._add_all(key.namespace))
        for budget in self._budgets.values():
            self.queue.add(budget.metadata.key)

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Count and report; returns after how many seconds to look again if nothing happens."""
        budget = self._budgets.get(key)
        if budget is None:
            self._told.pop(key, None)
            return None
        pods = tuple(pod for pod in self._pods.by_index(BY_NAMESPACE, key.namespace) if _selects(budget, pod))
        owners = {owner.uid: owner for pod in pods if (owner := pod.metadata.controller)}
        scales = {uid: self._scale(key.namespace, owner) for uid, owner in owners.items()}
        decided = plan(Snapshot(budget, pods, scales, self._clock.now()))
        await self._tell(budget, decided)
        await self._report(budget, decided)
        return decided.again_seconds

    def _scale(self, namespace: str, owner: OwnerReference) -> Scale | None:
        """What the controller of a pod wants; for a ReplicaSet of a Deployment what that wants."""
        key = ObjectKey(namespace, owner.name)
        if owner.kind == "StatefulSet":
            return _scale_of(self._stateful_sets.get(key), owner.uid)
        if owner.kind != "ReplicaSet":
            return None
        replica_set = self._replica_sets.get(key)
        above = replica_set.metadata.controller if replica_set else None
        if above is not None and above.kind == "Deployment":
            return _scale_of(self._deployments.get(ObjectKey(namespace, above.name)), above.uid)
        return _scale_of(replica_set, owner.uid)

    async def _report(self, budget: PodDisruptionBudget, decided: Plan) -> None:
        if decided.status == budget.status:
            return
        metadata = budget.metadata
        gone = {name: None for name in budget.status.disrupted_pods if name not in decided.status.disrupted_pods}
        status = status_patch(decided.status, **dict.fromkeys(_STATUS, 0))
        status["disruptedPods"] = {**gone, **(status["disruptedPods"] or {})} or None
        patch = {"metadata": seen_version(metadata), "status": status}
        try:
            await self._client.patch(
                POD_DISRUPTION_BUDGETS, metadata.name, patch, namespace=metadata.namespace, subresource="status"
            )
        except NotFound:
            pass  # deleted meanwhile: nobody reads it any more

    async def _tell(self, budget: PodDisruptionBudget, decided: Plan) -> None:
        """Each thing once, until it has been otherwise."""
        before = self._told.get(budget.metadata.key, frozenset())
        for item in decided.news:
            if item.reason not in before:
                reference = object_reference(POD_DISRUPTION_BUDGETS, budget.metadata)
                await self._events.record(reference, item.type, item.reason, item.message)
        self._told[budget.metadata.key] = frozenset(item.reason for item in decided.news)
        for pod in decided.undeleted:
            text = f"Pod was expected by PDB {budget.metadata.key} to be deleted but it wasn't"
            await self._events.record(object_reference(PODS, pod.metadata), "Warning", "NotDeleted", text)

    def _pod_changed(self, key: ObjectKey, old: Pod | None, new: Pod | None) -> None:
        for budget in self._budgets.by_index(BY_NAMESPACE, key.namespace):
            if any(pod is not None and _selects(budget, pod) for pod in (old, new)):
                self.queue.add(budget.metadata.key)

    def _add_all(self, namespace: str) -> None:
        for budget in self._budgets.by_index(BY_NAMESPACE, namespace):
            self.queue.add(budget.metadata.key)


def _scale_of(obj: Deployment | ReplicaSet | StatefulSet | None, uid: str) -> Scale:
    """One that is gone wants nothing."""
    return Scale(uid, obj.spec.replicas if obj else 0)


def _selects(budget: PodDisruptionBudget, pod: Pod) -> bool:
    selector = budget.spec.selector
    return selector is not None and from_object(selector).matches(pod.metadata.labels)


async def run(client: ApiClient, caches: Caches, clock: Clock) -> None:
    """Control until cancelled; the caches must be synced."""
    controller = DisruptionController(client, caches, clock)
    await run_keyed(ROOM, controller.queue, controller.reconcile)
