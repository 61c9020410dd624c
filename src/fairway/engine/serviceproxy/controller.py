"""The loop: whenever a Service or an EndpointSlice changes, bring the kernel to what they say."""

import asyncio

from fairway.engine.serviceproxy import connections, policies
from fairway.engine.serviceproxy.config import Config
from fairway.engine.serviceproxy.generations import Generations
from fairway.engine.serviceproxy.ir import Ruleset
from fairway.engine.serviceproxy.nftables import KernelNftables, Nftables
from fairway.engine.serviceproxy.plan import Change, NoChange, plan
from fairway.engine.serviceproxy.snapshot import Snapshot, owner, take
from fairway.engine.serviceproxy.translate import Problem, Translation, translate
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.resource import ENDPOINT_SLICES, SERVICES
from fairway.kube.api.services import EndpointSlice, Service
from fairway.kube.client.client import ApiClient
from fairway.kube.reconcile.cache import Cache
from fairway.kube.reconcile.events import EventRecorder
from fairway.kube.reconcile.reflector import Reflector, run_reflectors, wait_synced
from fairway.kube.reconcile.whole import Dirty, run_whole
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

ROOM = "serviceproxy"
log = logs.get(ROOM)


def slice_index(part: EndpointSlice) -> tuple[str, ...]:
    """The Service of a slice, as the value of the index `service`."""
    key = owner(part)
    return (str(key),) if key else ()


class ServiceProxy:
    """Holds the last picture, translation and applied ruleset between two passes."""

    def __init__(
        self,
        services: Cache[Service],
        slices: Cache[EndpointSlice],
        nftables: Nftables,
        config: Config,
        events: EventRecorder | None = None,
    ) -> None:
        self.dirty = Dirty()
        self._services = services
        self._slices = slices
        self._nftables = nftables
        self._config = config
        self._events = events
        self._changed: set[ObjectKey] = set(services.keys())
        self._snapshot: Snapshot = {}
        self._translation = Translation()
        self._applied: Ruleset | None = None
        self._reported: frozenset[Problem] = frozenset()
        services.subscribe(self._service_changed)
        slices.subscribe(self._slice_changed)

    async def once(self) -> float:
        """One pass; returns after how many seconds to look at the kernel again."""
        self._look()
        wanted = self._translation.ruleset
        applied = await self._in_force()
        self._applied = None  # unknown until the write below is through
        if applied is None:
            await self._nftables.load(wanted)
            forgotten = await self._nftables.forget_stale_flows(wanted)
            log.info("loaded", frontends=len(wanted.pools), flows_forgotten=forgotten)
        elif not isinstance(changes := plan(applied, wanted), NoChange):
            await self._change(changes, wanted)
        self._applied = wanted
        await self._report(self._translation.problems)
        return self._config.verify_seconds

    def _look(self) -> None:
        if self._changed:
            snapshot = take(self._snapshot, self._changed, self._services.get, self._slices_of)
            self._translation = translate(snapshot, self._translation)
            self._snapshot, self._changed = snapshot, set()

    async def _in_force(self) -> Ruleset | None:
        """The ruleset in the kernel, read back at the start and after somebody else wrote rules."""
        if self._applied is not None and self._nftables.untouched():
            return self._applied
        found = await self._nftables.read()
        if found is not None and self._applied is None:
            # An earlier life may have ended between changing the rules and dropping the flows.
            await self._nftables.forget_stale_flows(self._translation.ruleset)
        return found

    async def _change(self, changes: tuple[Change, ...], wanted: Ruleset) -> None:
        await self._nftables.apply(changes)
        forgotten = None
        if connections.leaves_flows(changes):
            forgotten = await self._nftables.forget_stale_flows(wanted, connections.gone(changes))
        log.info("changed", changes=len(changes), flows_forgotten=forgotten)

    async def _report(self, problems: tuple[Problem, ...]) -> None:
        """Tell each problem once, as a Warning on the Service that has it."""
        now = frozenset(problems)
        for problem in now - self._reported:
            if self._events:
                await self._events.record(problem.service, "Warning", problem.reason, problem.message)
        self._reported = now

    def _slices_of(self, key: ObjectKey) -> tuple[EndpointSlice, ...]:
        return self._slices.by_index("service", str(key))

    def _service_changed(self, key: ObjectKey, old: Service | None, new: Service | None) -> None:
        self._changed.add(key)
        self.dirty.mark()

    def _slice_changed(self, key: ObjectKey, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        for part in (old, new):
            if part and (service := owner(part)):
                self._changed.add(service)
                self.dirty.mark()


async def run(client: ApiClient, config: Config, clock: Clock, gate: policies.Gate | None = None) -> None:
    """Proxy, and enforce policies, until cancelled; the rules stay in force afterwards and are adopted by the next run.

    Pods that the kubelet sends to `gate` get in when the policies that select them are in force.
    """
    generations = Generations()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_proxy(client, config, generations, clock))
        tasks.create_task(policies.run(client, config, generations, gate or policies.Gate(), clock))


async def _proxy(client: ApiClient, config: Config, generations: Generations, clock: Clock) -> None:
    services = Reflector(client, SERVICES, Service, clock)
    slices = Reflector(client, ENDPOINT_SLICES, EndpointSlice, clock, indexes={"service": slice_index})
    nftables = KernelNftables(config, generations)
    proxy = ServiceProxy(services.cache, slices.cache, nftables, config, EventRecorder(client, "service-proxy", clock))
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run_reflectors(services, slices))
            # Half a picture must never replace the good rules of an earlier life.
            await wait_synced(services, slices)
            tasks.create_task(
                run_whole(ROOM, proxy.dirty, proxy.once, clock=clock, debounce_seconds=config.debounce_seconds)
            )
    finally:
        nftables.close()
