"""A kubelet to watch: a real API server in memory, and waiting for what becomes of a pod."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fairway.engine.apiserver import ApiServer
from fairway.engine.apiserver import Config as ApiConfig
from fairway.engine.kubelet.config import Config
from fairway.engine.kubelet.controller import run
from fairway.engine.kubelet.fakes import FakeImages, FakeNetwork, FakeRuntime
from fairway.engine.kubelet.volumes import PlainMounts
from fairway.kube.api.resource import ENDPOINT_SLICES, EVENTS, PODS
from fairway.kube.client.client import ApiClient, PatchType
from fairway.kube.client.errors import NotFound
from fairway.toolkit.clock import Clock, SystemClock
from fairway.toolkit.http_client import HttpClient, unix_connector

Raw = dict[str, Any]
SECONDS = 60


class World:
    """An API server and what a kubelet needs; kubelets come and go."""

    def __init__(self, client: ApiClient, folder: Path) -> None:
        clock = SystemClock()
        self.client = client
        self.runtime: Any = FakeRuntime(clock)
        self.images: Any = FakeImages()
        self.network: Any = FakeNetwork()
        self.mounts: Any = PlainMounts()
        self.signals: Any = None
        self.config = Config(
            state_dir=folder / "state",
            run_dir=folder / "run",
            zygote_socket=folder / "zygote",
            server_socket=folder / "kubelet.sock",
            termination_drain_seconds=0.1,
        )

    @asynccontextmanager
    async def kubelet(self, clock: Clock | None = None) -> AsyncIterator[None]:
        """A kubelet that is killed at the end."""
        running = asyncio.create_task(
            run(
                self.client,
                self.config,
                clock or SystemClock(),
                runtime=self.runtime,
                images=self.images,
                network=self.network,
                mounts=self.mounts,
                signals=self.signals,
            )
        )
        try:
            yield
        finally:
            failed = running.done() and not running.cancelled() and running.exception()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            assert not failed, failed

    async def create(self, name: str = "web", **spec: Any) -> Raw:
        """A pod that is bound already."""
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": "fairway", "containers": [{"name": "app", "image": "app"}], **spec},
        }
        return await self.client.create(PODS, body)

    async def pod(self, name: str = "web") -> Raw:
        return await self.client.get(PODS, name, "default")

    async def until(self, check: Callable[[Raw], Any], name: str = "web") -> Raw:
        """The pod, once it is as expected; waits on the watch."""
        pod: Raw = {}
        try:
            async with asyncio.timeout(SECONDS):
                listed = await self.client.list(PODS, "default", fields=f"metadata.name={name}")
                for pod in listed.items:
                    if check(pod):
                        return pod
                async for event in self.client.watch(
                    PODS, "default", resource_version=listed.resource_version, fields=f"metadata.name={name}"
                ):
                    pod = event.object
                    if event.type in ("ADDED", "MODIFIED") and check(pod):
                        return pod
        except TimeoutError:
            pytest.fail(f"not in time: {pod.get('status')}; events: {await self.events()}")
        raise AssertionError("the watch ended")

    async def until_gone(self, name: str = "web") -> None:
        async with asyncio.timeout(SECONDS):
            listed = await self.client.list(PODS, "default", fields=f"metadata.name={name}")
            if not listed.items:
                return
            async for event in self.client.watch(
                PODS, "default", resource_version=listed.resource_version, fields=f"metadata.name={name}"
            ):
                if event.type == "DELETED":
                    return

    async def events(self) -> list[str]:
        items = (await self.client.list(EVENTS, "default")).items
        return [f"{each['type']} {each['reason']}: {each['message']}" for each in items]

    async def until_event(self, text: str) -> None:
        async with asyncio.timeout(SECONDS):
            while not any(text in event for event in await self.events()):
                await asyncio.sleep(0.02)

    async def publish(self, pod: Raw, *, ready: bool, terminating: bool = False) -> None:
        """What the EndpointSlice controller would write."""
        endpoint = {
            "addresses": [pod["status"]["podIP"]],
            "conditions": {"ready": ready, "serving": True, "terminating": terminating},
            "targetRef": {"kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]},
        }
        body = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "web-1", "namespace": "default"},
            "addressType": "IPv4",
            "endpoints": [endpoint],
            "ports": [],
        }
        try:
            await self.client.patch(
                ENDPOINT_SLICES, "web-1", {"endpoints": [endpoint]}, namespace="default", type=PatchType.MERGE
            )
        except NotFound:
            await self.client.create(ENDPOINT_SLICES, body)

    def only(self, program: str = "app") -> str:
        """The id of the one container that runs a program."""
        (found,) = self.runtime.running(program)
        return str(found)


@asynccontextmanager
async def api(folder: Path) -> AsyncIterator[ApiClient]:
    """A client of an API server that keeps everything in memory."""
    config = ApiConfig(
        state_dir=None,
        unix_socket=folder / "api.sock",
        kubelet_socket=folder / "kubelet.sock",
        service_account_admission=False,
    )
    server = ApiServer(config)
    await server.start()
    http = HttpClient(unix_connector(folder / "api.sock"), host_header="localhost", max_connections=32)
    try:
        yield ApiClient(http)
    finally:
        await http.aclose()
        await server.stop()


def condition(pod: Raw, type: str) -> str:
    return next((each["status"] for each in pod["status"].get("conditions", ()) if each["type"] == type), "")


def ready(pod: Raw) -> bool:
    return condition(pod, "Ready") == "True"


def container(pod: Raw, name: str = "app") -> Raw:
    every = (*pod["status"].get("initContainerStatuses", ()), *pod["status"].get("containerStatuses", ()))
    return next((each for each in every if each["name"] == name), {"state": {}, "lastState": {}})


def waiting(pod: Raw, name: str = "app") -> str:
    return str(container(pod, name)["state"].get("waiting", {}).get("reason", ""))


def restarts(pod: Raw, name: str = "app") -> int:
    return int(container(pod, name).get("restartCount", -1))
