"""The loop: whenever a policy, a pod or a namespace changes, bring the kernel to what they say."""

import asyncio

from fairway.engine.serviceproxy.config import Config
from fairway.engine.serviceproxy.generations import Generations
from fairway.engine.serviceproxy.policies.gate import Gate
from fairway.engine.serviceproxy.policies.ir import InForce
from fairway.engine.serviceproxy.policies.nftables import KernelNftables, Nftables
from fairway.engine.serviceproxy.policies.plan import NoChange, plan
from fairway.engine.serviceproxy.policies.snapshot import Member, member, take
from fairway.engine.serviceproxy.policies.translate import Translation, translate
from fairway.kube.api.config import Namespace
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.networkpolicies import NetworkPolicy
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import NAMESPACES, NETWORK_POLICIES, PODS
from fairway.kube.client.client import ApiClient
from fairway.kube.reconcile.cache import Cache
from fairway.kube.reconcile.reflector import Reflector, run_reflectors, wait_synced
from fairway.kube.reconcile.whole import Dirty, run_whole
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

ROOM = "networkpolicy"
log = logs.get(ROOM)


class Policies:
    """Holds the pods, the last translation and what is in force between two passes."""

    def __init__(
        self,
        policies: Cache[NetworkPolicy],
        pods: Cache[Pod],
        namespaces: Cache[Namespace],
        nftables: Nftables,
        verify_seconds: float,
        gate: Gate,
    ) -> None:
        self.dirty = Dirty()
        self._policies = policies
        self._namespaces = namespaces
        self._nftables = nftables
        self._verify_seconds = verify_seconds
        self._gate = gate
        self._members: dict[ObjectKey, Member] = {}
        self._looked = False
        self._translation = Translation()
        self._applied: InForce | None = None
        for pod in pods.values():
            self._pod_changed(pod.metadata.key, None, pod)
        policies.subscribe(self._mark)
        namespaces.subscribe(self._namespace_changed)
        pods.subscribe(self._pod_changed)
        gate.listen(self._mark)

    async def once(self) -> float:
        """One pass; returns after how many seconds to look at the kernel again."""
        waiting = self._gate.waiting()
        if not self._looked:
            members = {**self._members, **waiting}
            snapshot = take(self._policies.values(), members, self._namespaces.values())
            self._translation = translate(snapshot, self._translation)
            self._looked = True
        await self._enforce()
        self._gate.opened(waiting)
        return self._verify_seconds

    async def _enforce(self) -> None:
        ruleset = self._translation.ruleset
        untouched = self._applied is not None and self._nftables.untouched()
        applied = self._applied if untouched else await self._nftables.read()
        self._applied = None  # unknown until the write below is through
        if applied is None:
            await self._nftables.load(ruleset)
            log.info("loaded", chains=len(ruleset.chains), isolated=len(ruleset.wanted.isolated))
        elif not isinstance(changes := plan(applied, ruleset), NoChange):
            await self._nftables.apply(changes)
            log.info("changed", changes=len(changes), isolated=len(ruleset.wanted.isolated))
        self._applied = ruleset.wanted

    def _mark(self, *_: object) -> None:
        self._looked = False
        self.dirty.mark()

    def _namespace_changed(self, key: ObjectKey, old: Namespace | None, new: Namespace | None) -> None:
        if (old and old.metadata.labels) != (new and new.metadata.labels):
            self._mark()

    def _pod_changed(self, key: ObjectKey, old: Pod | None, new: Pod | None) -> None:
        """Most changes of a pod are about its status and concern no policy."""
        self._gate.shown(key, old, new)
        facts = member(new)
        if facts == self._members.get(key):
            return
        if facts:
            self._members[key] = facts
        else:
            del self._members[key]
        self._mark()


async def run(client: ApiClient, config: Config, generations: Generations, gate: Gate, clock: Clock) -> None:
    """Enforce until cancelled; the rules stay in force afterwards and are adopted by the next run."""
    policies = Reflector(client, NETWORK_POLICIES, NetworkPolicy, clock)
    pods = Reflector(client, PODS, Pod, clock)
    namespaces = Reflector(client, NAMESPACES, Namespace, clock)
    nftables = KernelNftables(config.policy_table, config.name_server, generations)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run_reflectors(policies, pods, namespaces))
            # Half a picture must never replace the good rules of an earlier life.
            await wait_synced(policies, pods, namespaces)
            room = Policies(policies.cache, pods.cache, namespaces.cache, nftables, config.verify_seconds, gate)
            tasks.create_task(
                run_whole(ROOM, room.dirty, room.once, clock=clock, debounce_seconds=config.debounce_seconds)
            )
    finally:
        nftables.close()
