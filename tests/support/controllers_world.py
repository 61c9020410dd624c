"""A cluster for tests of controllers: a real API server in memory, and a node whose pods only pretend to run."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fairway.engine import controllers, scheduler
from fairway.engine.apiserver import ApiServer, Config
from fairway.kube.api.meta import ObjectKey, micro_timestamp, timestamp
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import (
    DEPLOYMENTS,
    EVENTS,
    LEASES,
    NODES,
    PODS,
    REPLICA_SETS,
    Resource,
)
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import ApiError, Conflict, NotFound
from fairway.kube.reconcile.keyed import run_keyed
from fairway.kube.reconcile.reflector import Reflector, run_reflectors
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit.clock import Clock, SystemClock
from fairway.toolkit.http_client import HttpClient, unix_connector

Raw = dict[str, Any]
NODE = "fairway"
BROKEN_IMAGE = "broken:1"
"""Pods of this image start and never become ready."""


class PretendKubelet:
    """Makes bound pods Running and Ready at once, and deleted ones go at once."""

    def __init__(self, client: ApiClient, *, speaks: bool = True) -> None:
        self._client = client
        self._speaks = speaks
        self._queue: WorkQueue[ObjectKey] = WorkQueue()
        self.pods = Reflector(client, PODS, Pod, SystemClock())
        self.most = 0
        self.fewest_ready: int | None = None
        self.counting = False
        self._addresses = iter(range(10, 60000))
        self.pods.cache.subscribe(self._changed)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run_reflectors(self.pods))
            tasks.create_task(run_keyed("pretend-kubelet", self._queue, self._sync, workers=8))
            if self._speaks:
                tasks.create_task(self._renew())

    async def _renew(self) -> None:
        """Be heard, however long a test takes: a silent node gets no pods."""
        while True:
            spec = {"holderIdentity": NODE, "renewTime": micro_timestamp(SystemClock().now())}
            lease = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "spec": spec}
            metadata = {"name": NODE, "namespace": "kube-node-lease"}
            await self._client.apply(LEASES, {**lease, "metadata": metadata}, field_manager="kubelet")
            await asyncio.sleep(10)

    def count_from_now(self) -> None:
        """Note the most pods and the fewest ready ones from here on."""
        self.counting, self.most, self.fewest_ready = True, 0, None
        self._count()

    def _changed(self, key: ObjectKey, old: Pod | None, new: Pod | None) -> None:
        self._queue.add(key)
        if self.counting:
            self._count()

    def _count(self) -> None:
        live = [pod for pod in self.pods.cache.values() if pod.metadata.deletion_timestamp is None]
        ready = sum(pod.ready for pod in live)
        self.most = max(self.most, len(live))
        self.fewest_ready = ready if self.fewest_ready is None else min(self.fewest_ready, ready)

    async def _sync(self, key: ObjectKey) -> None:
        pod = self.pods.cache.get(key)
        if pod is None or not pod.spec.node_name:
            return
        try:
            if pod.metadata.deletion_timestamp is not None:
                await self._client.delete(
                    PODS, key.name, namespace=key.namespace, uid=pod.metadata.uid, grace_period_seconds=0
                )
            elif pod.status.phase == "Pending":
                await self._start(pod)
        except (NotFound, Conflict):
            pass

    async def _start(self, pod: Pod) -> None:
        now = timestamp(SystemClock().now())
        ready = pod.spec.containers[0].image != BROKEN_IMAGE
        number = next(self._addresses)
        address = f"10.42.{number // 250}.{number % 250 + 1}"
        conditions = [
            {"type": kind, "status": "True", "lastTransitionTime": now} for kind in ("PodScheduled", "Initialized")
        ]
        conditions += [
            {"type": kind, "status": str(ready), "lastTransitionTime": now} for kind in ("Ready", "ContainersReady")
        ]
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": conditions}
        await self._client.patch(
            PODS, pod.metadata.name, {"status": status}, namespace=pod.metadata.namespace, subresource="status"
        )


class Cluster:
    """The API as tests use it."""

    def __init__(self, client: ApiClient, kubelet: PretendKubelet) -> None:
        self.client = client
        self.kubelet = kubelet

    async def until(self, look: Callable[[], Awaitable[Any]], wanted: Callable[[Any], object], what: str = "") -> Any:
        """What `look` gives, once it is what is wanted."""
        found: Any = None
        try:
            async with asyncio.timeout(60):
                while not wanted(found := await look()):
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"never came: {what}; last seen: {found}") from None
        return found

    async def get(self, resource: Resource, name: str, namespace: str = "default") -> Raw | None:
        try:
            return await self.client.get(resource, name, namespace if resource.namespaced else "")
        except NotFound:
            return None

    async def all(self, resource: Resource, namespace: str = "default", labels: str = "") -> tuple[Raw, ...]:
        return (await self.client.list(resource, namespace, labels=labels)).items

    async def deploy(self, name: str = "web", **spec: Any) -> Raw:
        return await self.client.create(DEPLOYMENTS, deployment(name, **spec))

    async def change(self, name: str, patch: Mapping[str, Any]) -> Raw:
        return await self.client.patch(DEPLOYMENTS, name, patch, namespace="default")

    async def rolled_out(self, name: str = "web") -> Raw:
        """The Deployment once its rollout is complete."""
        return await self.until(lambda: self.get(DEPLOYMENTS, name), _complete, f"rollout of {name}")  # type: ignore[no-any-return]

    async def replica_sets(self) -> dict[str, Raw]:
        """By the image of their pods."""
        found = await self.all(REPLICA_SETS)
        return {item["spec"]["template"]["spec"]["containers"][0]["image"]: item for item in found}

    async def told(self, reason: str, *messages: str) -> None:
        """Wait for just these Events; they come after what they are about."""
        await self.until(lambda: self.messages(reason), lambda found: found == list(messages), f"{reason} {messages}")

    async def messages(self, reason: str, namespace: str = "default") -> list[str]:
        return [event["message"] for event in await self.all(EVENTS, namespace) if event["reason"] == reason]


def _complete(found: Raw | None) -> bool:
    if found is None or found["status"].get("observedGeneration") != found["metadata"]["generation"]:
        return False
    status, replicas = found["status"], found["spec"]["replicas"]
    return all(status.get(key, 0) == replicas for key in ("replicas", "updatedReplicas", "availableReplicas"))


def deployment(name: str = "web", image: str = "nginx:1", **spec: Any) -> Raw:
    """A Deployment in `default`."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": image}]},
            },
            **spec,
        },
    }


def image(name: str) -> Raw:
    """A patch that changes the image of the first container."""
    return {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": name}]}}}}


async def make_node(client: ApiClient, name: str = NODE, **allocatable: str) -> None:
    """A node that is ready."""
    amounts = {"cpu": "8", "memory": "16Gi", "pods": "500", **allocatable}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}}
    await client.create(NODES, node)
    status = {
        "allocatable": amounts,
        "capacity": amounts,
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}],
    }
    await client.patch(NODES, name, {"status": status}, subresource="status")


@asynccontextmanager
async def cluster(
    folder: Path, *, with_controllers: bool = True, node_speaks: bool = True, clock: Clock | None = None
) -> AsyncIterator[Cluster]:
    """API server, controllers, scheduler and a node, until the end of the block; `clock`: of all of them."""
    path = folder / "api.sock"
    clock = clock or SystemClock()
    config = Config(state_dir=None, unix_socket=path, kubelet_socket=folder / "none", drain_seconds=0.1)
    server = ApiServer(config, clock=clock)
    await server.start()
    async with HttpClient(unix_connector(path), host_header="localhost") as http:
        client = ApiClient(http)
        kubelet = PretendKubelet(client, speaks=node_speaks)
        await make_node(client)
        rooms = [kubelet.run(), scheduler.run(client, clock)]
        if with_controllers:
            rooms.append(controllers.run(client, clock, root_ca=b"PEM", volumes_dir=folder / "volumes"))
        tasks = [asyncio.create_task(room) for room in rooms]
        try:
            yield Cluster(client, kubelet)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
    await server.stop()
    broken = [result for result in results if isinstance(result, Exception)]
    assert not broken, broken


__all__ = ["BROKEN_IMAGE", "NODE", "ApiError", "Cluster", "cluster", "deployment", "image", "make_node"]
