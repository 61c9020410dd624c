"""The whole room with a real API server and a real HAProxy."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fairway import edge as room
from fairway.engine.apiserver import ApiServer
from fairway.engine.apiserver import Config as ApiConfig
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.resource import ENDPOINT_SLICES, EVENTS, INGRESS_CLASSES, INGRESSES, SECRETS, SERVICES, Resource
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound
from fairway.toolkit.clock import SystemClock
from fairway.toolkit.haproxy import Process, find
from fairway.toolkit.http_client import HttpClient, unix_connector

RESOURCES = {
    resource.kind: resource for resource in (INGRESSES, INGRESS_CLASSES, SERVICES, ENDPOINT_SLICES, SECRETS, EVENTS)
}


PLACES = {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "edge.test"}]}


class Cluster:
    """An API, the room, and the front door."""

    def __init__(self, client: ApiClient, folder: Path, ask: Callable[..., Awaitable[Any]]) -> None:
        self.client = client
        self._http = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._https = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.http_port, self.https_port = self._http.getsockname()[1], self._https.getsockname()[1]
        self.config = room.Config(
            run_dir=folder / "run",
            state_dir=folder / "state",
            http_fd=self._http.fileno(),
            https_fd=self._https.fileno(),
            status_addresses=("192.0.2.1", "edge.test"),
            threads=1,
        )
        self.served = room.Served()
        self._ask = ask
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(room.run(self.client, self.config, SystemClock(), self.served))

    async def crash(self) -> None:
        """The room ends at once, as when its process is killed; HAProxy is not told."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def close(self) -> None:
        await self.crash()
        process = Process(find(), self.config.run_dir)
        await process.adopt()
        await process.stop()
        self._http.close()
        self._https.close()

    async def create(self, *raws: dict[str, Any]) -> None:
        for raw in raws:
            await self.client.create(self._resource(raw), raw)

    async def update(self, raw: dict[str, Any]) -> None:
        await self.client.apply(self._resource(raw), raw, field_manager="test")

    @staticmethod
    def _resource(raw: dict[str, Any]) -> Resource:
        return RESOURCES[raw["kind"]]

    async def status(self, name: str) -> Any:
        """Where an Ingress says that it is served; it says so when the pass that brought it there is over."""
        return (await self.client.get(INGRESSES, name, "default")).get("status", {}).get("loadBalancer")

    async def get(self, host: str) -> Any:
        return await self._ask(self.http_port, host)

    async def until(self, check: Callable[[], Awaitable[Any]]) -> Any:
        """The first true thing that `check` finds."""
        async with asyncio.timeout(60):
            while True:
                try:
                    if found := await check():
                        return found
                except (OSError, asyncio.IncompleteReadError, NotFound):
                    pass
                await asyncio.sleep(0.002)

    async def serves(self, host: str, *, pod: str = "", status: int = 200) -> Any:
        async def check() -> Any:
            answer = await self.get(host)
            return answer if answer.status == status and answer.pod == pod else None

        return await self.until(check)

    async def pid(self) -> int:
        process = Process(find(), self.config.run_dir)
        assert await process.adopt()
        found = process.pid
        process.release()
        assert found is not None
        return found


@pytest.fixture
async def cluster(tmp_path: Path, make: Any) -> AsyncIterator[Cluster]:
    async def ask(port: int, host: str) -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            request = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            return await make.exchange(reader, writer, request.encode())
        finally:
            writer.close()

    api = ApiServer(ApiConfig(state_dir=None, unix_socket=tmp_path / "api.sock", kubelet_socket=tmp_path / "none"))
    await api.start()
    async with HttpClient(unix_connector(tmp_path / "api.sock"), host_header="localhost") as http:
        started = Cluster(ApiClient(http), tmp_path, ask)
        started.start()
        yield started
        await started.close()
    await api.stop()


async def test_what_is_said_to_be_served_is(cluster: Cluster, pods: Any, make: Any) -> None:
    site, web = ObjectKey("default", "site"), ObjectKey("default", "web")
    old, new = await pods("old").start(), await pods("new").start("127.0.0.2")

    async def leads_to(address: str) -> bool:
        return cluster.served.addresses("site.test", site, web) == {address}

    await cluster.create(*make.service("web", old), make.ingress("site", ("site.test", "/", "Prefix", "web")))
    await cluster.until(lambda: leads_to(old[0]))
    assert (await cluster.get("site.test")).pod == "old"
    assert not cluster.served.certified("site.test")
    (later,) = make.service("web", new)[1:]
    later["metadata"]["name"] = f"web-{old[1]}"
    await cluster.update(later)
    await cluster.until(lambda: leads_to(new[0]))
    assert (await cluster.get("site.test")).pod == "new"
    await cluster.create(make.secret("site-tls", "site.test"))
    others = make.ingress("others", ("others.test", "/", "Prefix", "web"))
    others["spec"]["ingressClassName"] = "somebody-else"
    for raw in (
        make.ingress("site", ("site.test", "/", "Prefix", "web"), tls={"site-tls": ["site.test"]}),
        make.ingress("away", ("away.test", "/", "Prefix", "web"), annotations={"permanent-redirect": "https://a.test"}),
        others,
    ):
        del raw["metadata"]["creationTimestamp"]
        await cluster.update(raw)

    async def all_taken() -> bool:
        others, away = ObjectKey("default", "others"), ObjectKey("default", "away")
        return (
            cluster.served.certified("site.test")
            and cluster.served.leaves(others)
            and cluster.served.addresses("away.test", away, web) is None
        )

    await cluster.until(all_taken)
    assert not cluster.served.leaves(site)
    assert cluster.served.addresses("site.test", ObjectKey("default", "other"), web) == frozenset()


async def test_an_ingress_becomes_a_site_and_says_where_it_is(cluster: Cluster, pods: Any, make: Any) -> None:
    await cluster.until(lambda: cluster.client.get(INGRESS_CLASSES, "nginx"))
    await cluster.create(
        *make.service("web", await pods("web").start()), make.ingress("site", ("site.test", "/", "Prefix", "web"))
    )
    await cluster.serves("site.test", pod="web")

    async def status() -> Any:
        return await cluster.status("site")

    assert await cluster.until(status) == PLACES
    await cluster.client.delete(INGRESSES, "site", namespace="default")
    await cluster.serves("site.test", status=404)


async def test_mistakes_become_events_and_others_never_notice(cluster: Cluster, pods: Any, make: Any) -> None:
    await cluster.create(
        *make.service("web", await pods("web").start()),
        make.ingress("good", ("good.test", "/", "Prefix", "web")),
        make.ingress("bad", ("bad.test", "/", "Prefix", "missing"), tls={"none": ["bad.test"]}),
    )

    async def events() -> Any:
        found = (await cluster.client.list(EVENTS, "default")).items
        return {event["reason"]: event for event in found if event["involvedObject"]["name"] == "bad"}

    async def both() -> Any:
        found = await events()
        return found if len(found) == 2 else None

    found = await cluster.until(both)
    assert found["ServiceNotFound"]["message"] == "Service default/missing does not exist"
    assert found["SecretNotFound"]["type"] == "Warning"
    await cluster.serves("good.test", pod="web")
    await cluster.serves("bad.test", status=503)
    await cluster.create(*make.service("missing", await pods("late").start()))
    await cluster.serves("bad.test", pod="late")
    assert {event["count"] for event in (await events()).values()} == {1}


async def test_an_ingress_that_turns_bad_keeps_its_last_good_version(cluster: Cluster, pods: Any, make: Any) -> None:
    good = make.ingress("site", ("site.test", "/", "Prefix", "web"))
    del good["metadata"]["creationTimestamp"]
    await cluster.create(*make.service("web", await pods("web").start()))
    await cluster.update(good)
    await cluster.serves("site.test", pod="web")
    bad = make.ingress("site", ("other.test", "/", "Prefix", "web"), annotations={"proxy-read-timeout": "soon"})
    del bad["metadata"]["creationTimestamp"]
    await cluster.update(bad)

    async def event() -> Any:
        found = (await cluster.client.list(EVENTS, "default")).items
        return [event["message"] for event in found if event["reason"] == "InvalidAnnotation"]

    (message,) = await cluster.until(event)
    assert message.endswith("serving the last version that was right")
    await cluster.serves("site.test", pod="web")
    await cluster.serves("other.test", status=404)


async def test_a_killed_haproxy_is_back_at_once(cluster: Cluster, pods: Any, make: Any) -> None:
    await cluster.create(
        *make.service("web", await pods("web").start()), make.ingress("site", ("site.test", "/", "Prefix", "web"))
    )
    await cluster.serves("site.test", pod="web")
    before = await cluster.pid()
    os.kill(before, signal.SIGKILL)
    await cluster.serves("site.test", pod="web")
    assert await cluster.pid() != before


async def test_haproxy_serves_on_without_the_engine_and_the_next_one_adopts_it(
    cluster: Cluster, pods: Any, make: Any
) -> None:
    await cluster.create(
        *make.service("web", await pods("web").start()), make.ingress("site", ("site.test", "/", "Prefix", "web"))
    )
    await cluster.serves("site.test", pod="web")
    assert await cluster.until(lambda: cluster.status("site")) == PLACES
    before = await cluster.pid()
    await cluster.crash()
    assert (await cluster.get("site.test")).pod == "web"
    await cluster.create(make.ingress("new", ("new.test", "/", "Prefix", "web")))
    cluster.start()
    await cluster.serves("new.test", pod="web")
    assert await cluster.pid() == before


async def test_the_files_of_the_edge_are_for_nobody_else(cluster: Cluster, pods: Any, make: Any) -> None:
    await cluster.serves("site.test", status=404)
    await cluster.crash()  # or files come and go under our eyes
    for path in cluster.config.run_dir.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0 or path.name == "haproxy.pid", path
