"""The loop over the pods of this node."""

import asyncio
import shutil
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from fairway.engine.kubelet import record as records
from fairway.engine.kubelet.config import Config
from fairway.engine.kubelet.eviction.images import ImageCollector
from fairway.engine.kubelet.eviction.manager import EvictionManager
from fairway.engine.kubelet.eviction.measure import signals as look_at_machine
from fairway.engine.kubelet.eviction.plan import Eviction, has_disk_limits
from fairway.engine.kubelet.eviction.snapshot import PodUsage, Signals
from fairway.engine.kubelet.eviction.usage import measure as measure_pods
from fairway.engine.kubelet.image_access import ImageAccess
from fairway.engine.kubelet.images import ImageService
from fairway.engine.kubelet.interfaces import Admit, Images, PodNetwork, Runtime, admit_all
from fairway.engine.kubelet.lookup import Lookup
from fairway.engine.kubelet.machine import measure
from fairway.engine.kubelet.metrics import Metrics, Target
from fairway.engine.kubelet.network import PodNetwork as RealNetwork
from fairway.engine.kubelet.node import NodeAgent
from fairway.engine.kubelet.pulls import Pulls
from fairway.engine.kubelet.record import PodRecord
from fairway.engine.kubelet.references import uses
from fairway.engine.kubelet.reports import Reports
from fairway.engine.kubelet.rotation import INDEX, Rotation, pods_of
from fairway.engine.kubelet.runtime.probing import choose
from fairway.engine.kubelet.server import LogFile, NoLog, Server
from fairway.engine.kubelet.states import States
from fairway.engine.kubelet.stopping import Stopper
from fairway.engine.kubelet.streaming.endpoints import Place, Streaming
from fairway.engine.kubelet.streaming.protocols import Refusal
from fairway.engine.kubelet.tools import Tools
from fairway.engine.kubelet.volumes import Claims, Mounts, SystemMounts, Tokens, Volumes
from fairway.engine.kubelet.worker import PodKey, PodWorker
from fairway.kube.api.config import ConfigMap, Secret
from fairway.kube.api.meta import ObjectKey, ObjectMeta
from fairway.kube.api.pods import Container, Pod, PodSpec
from fairway.kube.api.resource import (
    CONFIG_MAPS,
    ENDPOINT_SLICES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    SECRETS,
    SERVICES,
)
from fairway.kube.api.services import EndpointSlice, Service
from fairway.kube.api.statefulsets import PersistentVolumeClaim
from fairway.kube.client.client import ApiClient
from fairway.kube.reconcile.events import EventRecorder
from fairway.kube.reconcile.keyed import run_keyed
from fairway.kube.reconcile.reflector import Reflector, run_reflectors, wait_synced
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock
from fairway.toolkit.http_client import Dialer, dial

log = logs.get("kubelet")
_WORKERS = 8


async def run(
    client: ApiClient,
    config: Config,
    clock: Clock,
    *,
    runtime: Runtime | None = None,
    images: Images | None = None,
    network: PodNetwork | None = None,
    connect: Dialer = dial,
    mounts: Mounts | None = None,
    signals: Callable[[], Signals] | None = None,
    admit: Admit = admit_all,
) -> None:
    """Be the node until cancelled.  Raises OSError when its folders or sockets cannot be made, NoRuntime.

    `connect` opens the connections of image pulls.  Runtime, images, network and mounts are the real ones unless given.
    `admit` is waited for between a pod's address and its first container.
    """
    kubelet = Kubelet(
        client,
        config,
        clock,
        runtime=runtime or await choose(config.runtime, config.run_dir, config.zygote_socket),
        images=images or ImageService(config.state_dir, connect),
        network=network or RealNetwork(config.run_dir, config.pod_cidr, config.node_ip),
        mounts=mounts or SystemMounts(),
        signals=signals or partial(look_at_machine, config.state_dir),
        admit=admit,
    )
    await kubelet.run()


class Kubelet:
    """One node."""

    def __init__(
        self,
        client: ApiClient,
        config: Config,
        clock: Clock,
        *,
        runtime: Runtime,
        images: Images,
        network: PodNetwork,
        mounts: Mounts,
        signals: Callable[[], Signals],
        admit: Admit,
    ) -> None:
        reflector = partial(Reflector, client, clock=clock)
        fields = f"spec.nodeName={config.node_name}"
        self._pods: Reflector[Pod] = reflector(PODS, Pod, fields=fields)
        self._config_maps: Reflector[ConfigMap] = reflector(CONFIG_MAPS, ConfigMap)
        self._secrets: Reflector[Secret] = reflector(SECRETS, Secret)
        self._services: Reflector[Service] = reflector(SERVICES, Service)
        self._claims: Reflector[PersistentVolumeClaim] = reflector(PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim)
        self._slices: Reflector[EndpointSlice] = reflector(ENDPOINT_SLICES, EndpointSlice, indexes={INDEX: pods_of})
        self._queue: WorkQueue[PodKey] = WorkQueue()
        self._workers: dict[str, PodWorker] = {}
        machine = measure(config.state_dir, config.pods_max)
        lookup = Lookup(client, self._config_maps.cache, self._secrets.cache)
        reports = Reports(EventRecorder(client, "kubelet", clock, host=config.node_name))
        states = States(runtime, clock)
        rotation = Rotation(self._slices.cache, clock, config.termination_drain_seconds)
        self._tools = Tools(
            config=config,
            clock=clock,
            client=client,
            runtime=runtime,
            network=network,
            states=states,
            stopper=Stopper(runtime, states, rotation, reports, clock),
            volumes=Volumes(
                config, lookup, mounts, clock, machine.allocatable, Tokens(client, clock), Claims(client, config)
            ),
            pulls=Pulls(images, lookup, reports, clock, ImageAccess(client, config.own_registry, images.may_pull)),
            lookup=lookup,
            reports=reports,
            services=self._services.cache,
            allocatable=machine.allocatable,
            neighbours=self._neighbours,
            admit=admit,
        )
        self._evictions = EvictionManager(
            config,
            clock,
            reports,
            ImageCollector(images, self._used_images, clock),
            signals=signals,
            usages=self._usages,
            evict=self._evict,
            changed=lambda: self._node.changed(),
        )
        limits = runtime.limits_enforced
        self._node = NodeAgent(client, config, clock, reports, machine, limits, self._evictions.pressure)
        self._metrics = Metrics(clock, self._measured)
        self._server = Server(
            config, clock, self._find_log, Streaming(runtime, self._find_place), self._metrics, machine
        )

    async def run(self) -> None:
        """Join the cluster, take over what runs already, then keep every pod as it should be."""
        self._tools.config.state_dir.mkdir(parents=True, exist_ok=True)
        await self._tools.network.setup_node()
        try:
            await self._work()
        finally:
            await asyncio.gather(*(worker.close() for worker in self._workers.values()))

    async def _work(self) -> None:
        reflectors = (self._pods, self._config_maps, self._secrets, self._services, self._slices, self._claims)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run_reflectors(*reflectors))
            tasks.create_task(self._tools.reports.run())
            tasks.create_task(self._node.run())
            tasks.create_task(self._server.run())
            await wait_synced(*reflectors)
            await self._adopt()
            tasks.create_task(self._tools.states.run())
            tasks.create_task(self._metrics.run())
            tasks.create_task(self._evictions.run())
            self._subscribe()
            await run_keyed("kubelet", self._queue, self._reconcile, workers=_WORKERS)

    def _subscribe(self) -> None:
        self._pods.cache.subscribe(self._pod_changed)
        self._config_maps.cache.subscribe(lambda key, old, new: self._source_changed("ConfigMap", key))
        self._secrets.cache.subscribe(lambda key, old, new: self._source_changed("Secret", key))
        self._claims.cache.subscribe(lambda key, old, new: self._source_changed("PersistentVolumeClaim", key))
        for pod in self._pods.cache.values():
            self._queue.add(_key(pod))

    def _pod_changed(self, key: ObjectKey, old: Pod | None, new: Pod | None) -> None:
        for pod in {_key(each) for each in (old, new) if each is not None}:
            self._queue.add(pod)

    def _source_changed(self, kind: str, key: ObjectKey) -> None:
        for pod in self._pods.cache.values():
            worker = self._workers.get(pod.metadata.uid)
            if worker is not None and pod.metadata.namespace == key.namespace and uses(pod, kind, key.name):
                worker.sources_changed()

    async def _reconcile(self, key: PodKey) -> float | None:
        pod = self._pods.cache.get(ObjectKey(key.namespace, key.name))
        if pod is not None and pod.metadata.uid == key.uid:
            return await self._worker(pod).sync(pod)
        worker = self._workers.get(key.uid)
        if worker is not None:
            await worker.sync_gone()
            if worker.closed:
                del self._workers[key.uid]
                log.info("removed", pod=key)
        return None

    def _worker(self, pod: Pod) -> PodWorker:
        uid = pod.metadata.uid
        if uid not in self._workers:
            record = PodRecord(uid=uid, namespace=pod.metadata.namespace, name=pod.metadata.name)
            self._workers[uid] = self._new_worker(pod, record)
        return self._workers[uid]

    def _new_worker(self, pod: Pod, record: PodRecord) -> PodWorker:
        key = _key(pod)
        return PodWorker(self._tools, pod, record, lambda: self._queue.add(key))

    def _find_log(self, key: ObjectKey, container: str, previous: bool) -> LogFile:
        pod = self._pods.cache.get(key)
        worker = self._workers.get(pod.metadata.uid) if pod is not None else None
        if worker is None:
            raise NoLog(404, f'pod "{key.name}" not found')
        return worker.log_file(container, previous=previous)

    def _measured(self) -> tuple[Target, ...]:
        return tuple(target for worker in self._workers.values() for target in worker.measured())

    def _used_images(self) -> frozenset[str]:
        """Every image that a pod of this node needs, or that a container was made from."""
        pods = [pod.spec for pod in self._pods.cache.values() if not pod.finished]
        wanted = {each.image for spec in pods for each in (*spec.containers, *spec.init_containers)}
        return frozenset(wanted | {name for worker in self._workers.values() for name in worker.images()})

    def _neighbours(self, uid: str) -> Iterable[Pod]:
        return (
            pod for other, worker in self._workers.items() if other != uid and (pod := worker.granted()) is not None
        )

    async def _usages(self, everything: bool) -> tuple[PodUsage, ...]:
        """What running pods use: all of them, or only those whose use of the disk is limited."""
        running = [found for worker in self._workers.values() if (found := worker.running()) is not None]
        wanted = [each for each in running if everything or has_disk_limits(each.pod)]
        return await asyncio.to_thread(measure_pods, self._tools.config, wanted) if wanted else ()

    async def _evict(self, eviction: Eviction) -> None:
        worker = self._workers.get(eviction.pod.metadata.uid)
        if worker is not None and worker.running() is not None:
            worker.evict(eviction.message)

    def _find_place(self, key: ObjectKey, container: str) -> Place:
        pod = self._pods.cache.get(key)
        worker = self._workers.get(pod.metadata.uid) if pod is not None else None
        if worker is None:
            raise Refusal(404, f'pod "{key.name}" not found')
        return worker.place(container)

    async def _adopt(self) -> None:
        """Match what runs with what is written down and with the API; end what belongs to nobody."""
        await self._tools.states.relist()
        alive = {sandbox.id: sandbox.ip for sandbox in await self._tools.runtime.list_sandboxes()}
        kept = tuple(self._load())
        await self._remove_strangers(kept, alive)
        for record in kept:
            pod = self._pods.cache.get(ObjectKey(record.namespace, record.name))
            if pod is None or pod.metadata.uid != record.uid:
                pod = _remains(record)
            worker = self._new_worker(pod, record)
            worker.adopt(sandbox_alive=record.sandbox in alive)
            self._workers[record.uid] = worker
            self._queue.add(_key(pod))
        log.info("adopted", pods=len(kept), containers=len(self._tools.states.ids()), sandboxes=len(alive))

    def _load(self) -> Iterable[PodRecord]:
        for folder in sorted((self._tools.config.state_dir / "pods").glob("*")):
            record = records.load(folder)
            if record is not None:
                yield record
            else:
                self._tools.volumes.discard(folder.name)

    async def _remove_strangers(self, kept: tuple[PodRecord, ...], alive: Mapping[str, str]) -> None:
        """Containers and sandboxes that no record names, and writable layers of containers that are gone."""
        containers = {each.id for record in kept for each in record.containers}
        for stranger in set(self._tools.states.ids()) - containers:
            await self._tools.runtime.remove(stranger)
            self._tools.states.forget(stranger)
        for stranger in alive.keys() - {record.sandbox for record in kept}:
            await self._tools.network.detach(stranger, alive[stranger])
            await self._tools.runtime.remove_sandbox(stranger)
        for folder in (self._tools.config.state_dir / "containers").glob("*"):
            if folder.name not in containers:
                shutil.rmtree(folder, ignore_errors=True)


def _key(pod: Pod) -> PodKey:
    return PodKey(pod.metadata.namespace, pod.metadata.name, pod.metadata.uid)


def _remains(record: PodRecord) -> Pod:
    """As much of a pod as a record tells: enough to end it."""
    return Pod(
        metadata=ObjectMeta(name=record.name, namespace=record.namespace, uid=record.uid),
        spec=PodSpec(containers=tuple(Container(name=each.name, image=each.image) for each in record.containers)),
    )
