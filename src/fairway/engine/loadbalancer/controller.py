"""The loop: Services and pods → snapshot → translate → sockets → plan → HAProxy → status."""

import asyncio
from collections.abc import Mapping

from fairway.engine.loadbalancer import ir, status
from fairway.engine.loadbalancer.config import Config
from fairway.engine.loadbalancer.haproxy import Haproxy, unprivileged
from fairway.engine.loadbalancer.ir import Place, Problem, Route, Wanted
from fairway.engine.loadbalancer.plan import NoChange, plan
from fairway.engine.loadbalancer.relay import Relay
from fairway.engine.loadbalancer.snapshot import Snapshot, has_host_ports, is_outside, take
from fairway.engine.loadbalancer.sockets import Sockets
from fairway.engine.loadbalancer.translate import Options, reference, translate
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import PODS, SERVICES
from fairway.kube.api.services import Service
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound
from fairway.kube.reconcile.cache import Cache
from fairway.kube.reconcile.events import EventRecorder
from fairway.kube.reconcile.reflector import Reflector, run_reflectors, wait_synced
from fairway.kube.reconcile.whole import Dirty, run_whole
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

ROOM = "loadbalancer"
log = logs.get(ROOM)
_LOOK_SECONDS = 0.25
_DEBOUNCE_SECONDS = 0.02  # ports that come together cost one reload


class LoadBalancer:
    """Holds what one pass leaves for the next."""

    def __init__(
        self, client: ApiClient, services: Cache[Service], pods: Cache[Pod], config: Config, events: EventRecorder
    ) -> None:
        self.dirty = Dirty()
        self.tcp = Sockets("TCP", config.tcp, config.own_ports)
        self.udp = Sockets("UDP", config.udp, {})
        self.haproxy = Haproxy(config, self.tcp)
        self.relay = Relay(config.run_dir / "udp", self.udp, unprivileged())
        self._client = client
        self._services = services
        self._pods = pods
        self._config = config
        self._events = events
        self._options = Options(config.node_address, config.pool)
        self._swept: frozenset[Place] | None = None
        self._reported: frozenset[Problem] = frozenset()
        services.subscribe(self._service_changed)
        pods.subscribe(self._pod_changed)

    async def once(self) -> float | None:
        """One pass; returns after how many seconds to try again what could not be had."""
        snapshot, wanted = await self._obtain()
        await self._balance(ir.of_protocol(wanted.routes, "TCP"))
        udp = ir.of_protocol(wanted.routes, "UDP")
        if await self.relay.apply(udp):
            log.info("relayed", places=len(udp))
        await self._give_back(frozenset(wanted.routes))
        await self._tell(snapshot, wanted)
        return self._config.retry_seconds if snapshot.unavailable else None

    async def _balance(self, wanted: Mapping[Place, Route]) -> None:
        if self.haproxy.running is not None and not self.haproxy.alive():
            self.haproxy.forget()
        change = plan(self.haproxy.running, wanted)
        if not isinstance(change, NoChange):
            await self.haproxy.apply(change, wanted)
            log.info("changed", how=type(change).__name__, places=len(wanted))

    async def _give_back(self, wanted: frozenset[Place]) -> None:
        if wanted == self._swept:
            return
        for sockets in (self.tcp, self.udp):
            await sockets.release_others(wanted)
        self._swept = wanted

    async def keep_alive(self) -> None:
        """Ask for a pass whenever the process ends unasked."""
        while True:
            if self.haproxy.alive():
                await self.haproxy.ended()
            else:
                await asyncio.sleep(_LOOK_SECONDS)  # none is wanted yet, or a pass is about to start one
            if self.haproxy.running and not self.haproxy.alive():
                log.warning("ended", what="haproxy")
                self.dirty.mark()
                await asyncio.sleep(_LOOK_SECONDS)

    async def keep_relaying(self) -> None:
        """Ask for a pass whenever the relay ends unasked."""
        while True:
            await self.relay.ended()
            log.warning("ended", what="relay")
            self.dirty.mark()

    async def _obtain(self) -> tuple[Snapshot, Wanted]:
        """Open what is wanted; what cannot be opened is left out, and the rest thought over again."""
        unavailable: dict[Place, str] = {}
        while True:
            snapshot = take(self._services.values(), self._pods.values(), unavailable)
            wanted = translate(snapshot, self._options)
            failed = {place: reason for place in wanted.routes if (reason := await self._open(place))}
            if not failed:
                return snapshot, wanted
            unavailable |= failed

    async def _open(self, place: Place) -> str:
        return await (self.tcp if place.protocol == "TCP" else self.udp).open(place)

    async def _tell(self, snapshot: Snapshot, wanted: Wanted) -> None:
        for service, ingress in status.changes(snapshot.services, wanted, self._config.published):
            await self._set_ingress(service, ingress)
        now = frozenset(wanted.problems)
        for problem in now - self._reported:
            await self._events.record(problem.regarding, "Warning", problem.reason, problem.message)
        self._reported = now

    async def _set_ingress(self, service: Service, ingress: list[dict[str, object]]) -> None:
        metadata = service.metadata
        patch = {"status": {"loadBalancer": {"ingress": ingress or None}}}
        try:
            await self._client.patch(SERVICES, metadata.name, patch, namespace=metadata.namespace, subresource="status")
        except NotFound:
            return
        if ingress:
            regarding = reference("Service", metadata)
            await self._events.record(regarding, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")

    def _service_changed(self, key: ObjectKey, old: Service | None, new: Service | None) -> None:
        if any(service and is_outside(service) for service in (old, new)):
            self.dirty.mark()

    def _pod_changed(self, key: ObjectKey, old: Pod | None, new: Pod | None) -> None:
        if any(pod and has_host_ports(pod) for pod in (old, new)):
            self.dirty.mark()


async def run(client: ApiClient, config: Config, clock: Clock) -> None:
    """Serve until cancelled; HAProxy then goes on alone, and the next `run` adopts it."""
    services = Reflector(client, SERVICES, Service, clock)
    pods = Reflector(client, PODS, Pod, clock)
    events = EventRecorder(client, "service-controller", clock)
    balancer = LoadBalancer(client, services.cache, pods.cache, config, events)
    await balancer.haproxy.adopt()
    await balancer.relay.adopt()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_reflectors(services, pods))
        # Half a picture must never close a port that is in use.
        await wait_synced(services, pods)
        tasks.create_task(
            run_whole(ROOM, balancer.dirty, balancer.once, clock=clock, debounce_seconds=_DEBOUNCE_SECONDS)
        )
        tasks.create_task(balancer.keep_alive())
        tasks.create_task(balancer.keep_relaying())
